//! Log URLs lead to hosts that the operator knows, or nowhere.
//!
//! Clients fetch `status.log_url` with the token that `CreatePrebuildLogsToken` gave them: whoever can set it can have
//! that token, and send the client's requests anywhere. Another URL is taken out of the answer; the call succeeds.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use http::uri::{Scheme, Uri};
use serde_json::Error as JsonError;

use super::Base;
use crate::{
    call::{Call, Reply},
    connect::json::{Duplicates, items, member, to_json, to_wire},
    error::{Error, Reason},
    policy::Permitted,
    rpc::{Field, Kind, MessageSchema, MethodSpec, Schema},
    stack::{Next, Stage},
    telemetry::Metrics,
};

#[cfg(test)]
mod tests;

/// As the proto has it.
const FIELD: &str = "log_url";
/// Before a name: any number of labels, one at least.
const BELOW: &str = "*.";

/// The stage.
#[derive(Clone, Debug)]
pub struct LogUrls {
    hosts: LogHosts,
    metrics: Metrics,
}

/// The hosts that a log URL may name.
#[derive(Clone, Debug)]
pub struct LogHosts(Arc<[Box<str>]>);

/// The text is no host, nor a pattern of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a host in lower case like logs.example.com, or *.example.com for all below it; no scheme, port or path"
)]
pub struct NotAHost;

impl LogHosts {
    /// Upstream's own host, those below it, and `others`.
    ///
    /// # Errors
    /// One of the others is no host.
    pub fn new(base: &Base, others: &[String]) -> Result<Self, NotAHost> {
        let own = base.address().to_ascii_lowercase();
        let mut hosts = vec![own.clone().into_boxed_str()];
        if own.parse::<IpAddr>().is_err() {
            hosts.push(format!("{BELOW}{own}").into_boxed_str());
        }
        for other in others {
            let name = other.strip_prefix(BELOW).unwrap_or(other);
            let is_address = name == other && name.parse::<IpAddr>().is_ok();
            if !is_address && !is_name(name) {
                return Err(NotAHost);
            }
            hosts.push(other.as_str().into());
        }
        Ok(Self(hosts.into()))
    }

    /// Whether the URL leads to one of the hosts, whoever reads it. What two readers could take for two hosts (a user
    /// name, a backslash, an escape) leads nowhere.
    fn admit(&self, url: &str) -> bool {
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let Some(uri) = url.parse::<Uri>().ok().filter(|_| is_plain) else { return false };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return false };
        if authority.as_str().contains(['@', '%']) {
            return false;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let is_safe = *scheme == Scheme::HTTPS || (*scheme == Scheme::HTTP && is_loopback(&host));
        is_safe && self.0.iter().any(|known| matches(known, &host))
    }
}

/// As they are written.
impl std::fmt::Display for LogHosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl LogUrls {
    pub fn new(hosts: LogHosts, metrics: Metrics) -> Self {
        Self { hosts, metrics }
    }

    /// The reply without the URLs that lead elsewhere.
    fn clear(&self, method: &'static MethodSpec, reply: Reply) -> Result<Reply, Error> {
        let urls = reply.seen.objects.iter().map(|object| object.log_url.as_str());
        let withheld = urls.filter(|url| !url.is_empty() && !self.hosts.admit(url)).count();
        if withheld == 0 {
            return Ok(reply);
        }
        self.metrics.log_urls_withheld(method, withheld);
        let invalid = || Error::refuse(Reason::UpstreamInvalidResponse);
        let (schema, output) = ((method.schema)(), method.output().ok_or_else(invalid)?);
        let text = std::str::from_utf8(&reply.json).map_err(|error| invalid().with_source(error))?;
        let json = match self.edit(schema, output, text) {
            Ok(json) => json,
            // A null where a message may be, for instance. Written anew it is plain.
            Err(_) => method
                .recode(&reply.wire)
                .ok()
                .and_then(|wire| to_json(schema, output, &wire).ok())
                .and_then(|json| self.edit(schema, output, std::str::from_utf8(&json).ok()?).ok())
                .ok_or_else(invalid)?,
        };
        let (wire, _) = to_wire(schema, output, json.as_bytes(), Duplicates::Reject)
            .map_err(|error| invalid().with_source(error))?;
        let seen = method.view(&wire).map_err(|error| invalid().with_source(error))?;
        Ok(Reply { json: json.into(), wire, seen, ..reply })
    }

    /// The text of a message without the URLs that lead elsewhere.
    fn edit(&self, schema: &Schema, message: &MessageSchema, text: &str) -> Result<String, JsonError> {
        let mut text = Cow::Borrowed(text);
        for field in message.fields.iter().filter(|field| leads_to_url(schema, field)) {
            let edited =
                member(&text, field, |old| old.map(|old| self.edit_field(schema, field, old)).transpose())?;
            text = edited.into();
        }
        Ok(text.into_owned())
    }

    fn edit_field<'t>(
        &self,
        schema: &Schema,
        field: &Field,
        text: &'t str,
    ) -> Result<Cow<'t, str>, JsonError> {
        let Kind::Message(index) = field.kind else {
            let url: Option<String> = serde_json::from_str(text)?;
            let is_good = url.is_none_or(|url| self.hosts.admit(&url));
            return Ok(if is_good { text.into() } else { "\"\"".into() });
        };
        let message = schema.message_at(index);
        let edited = match field.repeated {
            true => items(text, |_, item| self.edit(schema, message, item).map(|item| Some(item.into()))),
            false => self.edit(schema, message, text),
        };
        edited.map(Cow::Owned)
    }
}

/// Whether the field is a log URL, or a message that has one somewhere. No message of the API holds itself.
fn leads_to_url(schema: &Schema, field: &Field) -> bool {
    match field.kind {
        Kind::Message(index) => {
            schema.message_at(index).fields.iter().any(|field| leads_to_url(schema, field))
        }
        Kind::Scalar(_) | Kind::Enum(_) | Kind::Map(_) => field.name == FIELD,
    }
}

/// Letters, digits and hyphens between dots; two labels or `localhost` would be a rule of taste.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.split('.').all(is_label)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn matches(known: &str, host: &str) -> bool {
    match known.strip_prefix('*') {
        // The suffix begins with its dot.
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => known == host,
    }
}

impl Stage<Permitted<Call>> for LogUrls {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        let method = call.get().method;
        self.clear(method, next.run(call).await?)
    }
}
