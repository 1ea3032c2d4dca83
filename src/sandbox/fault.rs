//! Failures on demand: what the header [`FAULT_HEADER`] says, and what that makes of an answer.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use humantime_serde::re::humantime;
use serde_json::{Value, json};

use super::refusal::{Code, Refusal};

/// The request header that asks for a failure:
///
/// ```text
/// x-sandbox-fault: directive *( "," directive )      directive = name [ "=" value ], each at most once
///
/// delay=250ms         wait before anything is done, at most 60s
/// delay-after=250ms   do it, then wait, at most 60s
/// reset               do nothing and reset the TCP connection, without an answer
/// reset-after         do it, then reset
/// status=503          answer with this HTTP status, 200 to 599; do nothing
/// code=unavailable    answer with this Connect error; do nothing
/// redirect            answer 307 with a Location that would work here; do nothing
/// execute             with status, code or redirect: do it all the same
/// body=KIND           html, empty, notjson (text that claims to be JSON), truncated (half of the answer)
/// cut                 announce the whole body, send half and close (HTTP/2: reset the stream)
/// retry-after=7       add this header, in seconds
/// unknown-field[=x]   put a field that no schema has into every object of the answer
/// unknown-enum[=X]    name a phase that no schema has
/// ```
///
/// Alone, `status` has an empty body; with `code` it replaces that error's own status.
pub const FAULT_HEADER: &str = "x-sandbox-fault";

/// Long enough for every deadline that a test would wait for.
const MAX_DELAY: Duration = Duration::from_secs(60);

const HTML: &str = "<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>";
const NOT_JSON: &str = "upstream says: this is no JSON";
const UNKNOWN_FIELD: &str = "sandboxNovelty";
const UNKNOWN_ENUM: &str = "PREBUILD_PHASE_HIBERNATING";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is to go wrong; by default nothing.
#[derive(Debug, Default)]
pub(super) struct Fault {
    pub(super) delay: Duration,
    pub(super) delay_after: Duration,
    pub(super) reset: bool,
    pub(super) reset_after: bool,
    status: Option<StatusCode>,
    code: Option<Code>,
    redirect: bool,
    execute: bool,
    body: Option<Spoiled>,
    cut: bool,
    retry_after: Option<u32>,
    unknown_field: Option<String>,
    unknown_enum: Option<String>,
}

/// What truly came of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing was done.
    Untouched,
    /// It is no call: another path, method or content type.
    Plain(StatusCode, &'static str),
    Done(Value),
    Refused(Refusal),
}

/// An answer as it goes out.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Half of the body is sent and then the connection ends.
    pub(super) cut: bool,
}

#[derive(Clone, Copy, Debug)]
enum Spoiled {
    Html,
    Empty,
    NotJson,
    Truncated,
}

impl Fault {
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut fault = Self::default();
        let mut names = Vec::new();
        for line in headers.get_all(FAULT_HEADER) {
            let line = line.to_str().map_err(|_| malformed("it is not ASCII"))?;
            for directive in line.split(',').map(str::trim) {
                let (name, value) = directive.split_once('=').unzip();
                let name = name.unwrap_or(directive);
                if names.contains(&name) {
                    return Err(malformed(&format!("{name:?} stands twice")));
                }
                names.push(name);
                fault
                    .add(name, value)
                    .ok_or_else(|| malformed(&format!("{directive:?} is not understood")))?;
            }
        }
        Ok(fault)
    }

    /// Whether the call is carried out.
    pub(super) fn executes(&self) -> bool {
        let replaced = self.status.is_some() || self.code.is_some() || self.redirect;
        !self.reset && (self.execute || !replaced)
    }

    /// The answer to a request for `path`, from what truly came of it.
    pub(super) fn spoil(&self, path: &str, outcome: Outcome) -> Reply {
        let mut reply = match outcome {
            _ if self.code.is_some() || self.redirect || self.status.is_some() => self.replacement(path),
            Outcome::Untouched => Reply::empty(),
            Outcome::Plain(status, text) => Reply::text(status, text),
            Outcome::Done(value) => Reply::ok(&self.novel(value)),
            Outcome::Refused(refusal) => Reply::from_refusal(&refusal),
        };
        reply.status = self.status.unwrap_or(reply.status);
        if let Some(spoiled) = self.body {
            reply.spoil(spoiled);
        }
        if let Some(seconds) = self.retry_after {
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        reply.cut = self.cut;
        reply
    }

    fn replacement(&self, path: &str) -> Reply {
        match self.code {
            Some(code) => Reply::from_refusal(&Refusal::plain(code, "the sandbox was asked to fail")),
            None if self.redirect => Reply::redirect(path),
            None => Reply::empty(),
        }
    }

    fn add(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match (name, value) {
            ("delay", Some(value)) => self.delay = delay(value)?,
            ("delay-after", Some(value)) => self.delay_after = delay(value)?,
            ("reset", None) => self.reset = true,
            ("reset-after", None) => self.reset_after = true,
            ("execute", None) => self.execute = true,
            ("redirect", None) => self.redirect = true,
            ("cut", None) => self.cut = true,
            ("status", Some(value)) => self.status = Some(status(value)?),
            ("code", Some(value)) => self.code = Some(Code::named(value)?),
            ("body", Some(value)) => self.body = Some(Spoiled::named(value)?),
            ("retry-after", Some(value)) => self.retry_after = Some(value.parse().ok()?),
            ("unknown-field", value) => self.unknown_field = Some(value.unwrap_or(UNKNOWN_FIELD).to_owned()),
            ("unknown-enum", value) => self.unknown_enum = Some(value.unwrap_or(UNKNOWN_ENUM).to_owned()),
            _ => return None,
        }
        Some(())
    }

    fn novel(&self, mut value: Value) -> Value {
        if self.unknown_field.is_some() || self.unknown_enum.is_some() {
            self.renew(&mut value);
        }
        value
    }

    // As deep as the sandbox's own answers, which are four levels.
    fn renew(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.renew(item)),
            Value::Object(fields) => {
                fields.values_mut().for_each(|field| self.renew(field));
                if let (Some(name), Some(phase)) = (&self.unknown_enum, fields.get_mut("phase")) {
                    *phase = Value::from(name.as_str());
                }
                if let Some(name) = &self.unknown_field {
                    fields.insert(name.clone(), json!({ "nested": [1, 2.5, "text", null, true] }));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

impl Spoiled {
    fn named(name: &str) -> Option<Self> {
        match name {
            "html" => Some(Self::Html),
            "empty" => Some(Self::Empty),
            "notjson" => Some(Self::NotJson),
            "truncated" => Some(Self::Truncated),
            _ => None,
        }
    }
}

impl Reply {
    pub(super) fn from_refusal(refusal: &Refusal) -> Self {
        // Every code's status is a valid one.
        let status = StatusCode::from_u16(refusal.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, JSON, refusal.to_json().into())
    }

    fn text(status: StatusCode, text: &'static str) -> Self {
        Self::new(
            status,
            HeaderValue::from_static("text/plain; charset=utf-8"),
            Bytes::from_static(text.as_bytes()),
        )
    }

    fn ok(value: &Value) -> Self {
        Self::new(StatusCode::OK, JSON, value.to_string().into())
    }

    fn empty() -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new(), cut: false }
    }

    fn redirect(path: &str) -> Self {
        // Any prefix is accepted: whoever follows is carried out, and seen.
        let location = HeaderValue::try_from(format!("/redirected{path}"));
        let mut reply = Self { status: StatusCode::TEMPORARY_REDIRECT, ..Self::empty() };
        reply.headers.extend(location.ok().map(|location| (LOCATION, location)));
        reply
    }

    fn new(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Self {
        Self { status, headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]), body, cut: false }
    }

    fn spoil(&mut self, spoiled: Spoiled) {
        let (content_type, body) = match spoiled {
            Spoiled::Html => (HeaderValue::from_static("text/html"), Bytes::from_static(HTML.as_bytes())),
            Spoiled::Empty => (JSON, Bytes::new()),
            Spoiled::NotJson => (JSON, Bytes::from_static(NOT_JSON.as_bytes())),
            Spoiled::Truncated => (JSON, self.body.slice(..self.body.len() / 2)),
        };
        self.headers.insert(CONTENT_TYPE, content_type);
        self.body = body;
    }
}

fn delay(value: &str) -> Option<Duration> {
    humantime::parse_duration(value).ok().filter(|delay| *delay <= MAX_DELAY)
}

/// A final one; hyper answers the informational ones by itself.
fn status(value: &str) -> Option<StatusCode> {
    value.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()))
}

fn malformed(why: &str) -> Refusal {
    Refusal::plain(Code::INVALID_ARGUMENT, format!("malformed {FAULT_HEADER} header: {why}"))
}
