//! Which metadata crosses the gateway: what a list names, and nothing else.

use http::{HeaderMap, HeaderName, HeaderValue};

use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};

#[cfg(test)]
mod tests;

/// Upstream's retry control; it always reaches the caller.
const RETRY_CONTROL: [&str; 4] = ["retry-after", "retry-after-ms", "ratelimit-retryafter", "x-should-retry"];

/// What belongs to a connection, a protocol or the gateway itself, and so must not be chosen by anybody else. Who calls,
/// from where and for whom is the gateway's to say: upstream must not be told otherwise under the org's credential.
const RESERVED: [&str; 31] = [
    "accept",
    "accept-encoding",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "etag",
    "expires",
    "forwarded",
    "host",
    "keep-alive",
    "last-modified",
    "location",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "www-authenticate",
    "x-dropped-fields",
    "x-org-id",
    "x-organization-id",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "tracestate",
];
const RESERVED_PREFIXES: [&str; 11] = [
    "content-",
    "grpc-",
    "connect-",
    "proxy-",
    "x-forwarded-",
    "sec-",
    "access-control-",
    "impersonate-",
    "x-original-",
    "x-remote-",
    ":",
];

/// Connect sends trailing metadata of a unary call as headers with this prefix.
pub const TRAILER_PREFIX: &str = "trailer-";

/// The names that may cross, in one direction.
#[derive(Clone, Debug, Default)]
pub struct AllowList(Vec<HeaderName>);

/// A name that cannot be on a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    #[error("`{0}` is not a header name")]
    Name(String),
    #[error("`{0}` belongs to the protocol or the gateway")]
    Reserved(String),
}

/// Adds metadata whose names may stand there already. (`HeaderMap::extend` would replace them.)
pub fn append(headers: &mut HeaderMap, more: HeaderMap) {
    let mut last = None;
    for (name, value) in more {
        last = name.or(last);
        if let Some(name) = &last {
            headers.append(name.clone(), value);
        }
    }
}

impl AllowList {
    /// A list of metadata names.
    ///
    /// # Errors
    /// A name that is malformed, or that the protocols or the gateway keep for themselves.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, AllowListError> {
        let parse = |name: &str| {
            let parsed: HeaderName = name.parse().map_err(|_| AllowListError::Name(name.to_owned()))?;
            let taken = RESERVED.contains(&parsed.as_str())
                || RESERVED_PREFIXES.iter().any(|prefix| parsed.as_str().starts_with(prefix));
            if taken { Err(AllowListError::Reserved(name.to_owned())) } else { Ok(parsed) }
        };
        // In the order of the list, each name once: a value must not cross twice.
        let mut list = Vec::new();
        for name in names {
            let name = parse(name)?;
            if !list.contains(&name) {
                list.push(name);
            }
        }
        Ok(Self(list))
    }

    /// The list for responses: `names` and upstream's retry control.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn for_responses<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, AllowListError> {
        Self::new(names.into_iter().chain(RETRY_CONTROL))
    }

    /// The headers that an answer may have by this list: leading metadata by its name, trailing with the prefix.
    pub fn response_headers(&self) -> impl Iterator<Item = HeaderName> {
        let trailing = |name: &HeaderName| HeaderName::try_from(format!("{TRAILER_PREFIX}{name}")).ok();
        self.0.iter().flat_map(move |name| [Some(name.clone()), trailing(name)]).flatten()
    }

    /// The metadata that may cross; all values of a name, in order.
    pub fn filter(&self, headers: &HeaderMap) -> HeaderMap {
        self.pick(headers, "")
    }

    /// The trailing metadata that may cross, without the prefix that Connect gives it.
    pub fn filter_trailers(&self, headers: &HeaderMap) -> HeaderMap {
        self.pick(headers, TRAILER_PREFIX)
    }

    /// Both, the leading first: an error has one place for them.
    pub fn filter_all(&self, headers: &HeaderMap) -> HeaderMap {
        let mut picked = self.filter(headers);
        self.pick_into(headers, TRAILER_PREFIX, &mut picked);
        picked
    }

    fn pick(&self, headers: &HeaderMap, prefix: &str) -> HeaderMap {
        let mut picked = HeaderMap::new();
        self.pick_into(headers, prefix, &mut picked);
        picked
    }

    fn pick_into(&self, headers: &HeaderMap, prefix: &str, picked: &mut HeaderMap) {
        for name in &self.0 {
            let values = match prefix {
                "" => headers.get_all(name),
                prefix => headers.get_all(format!("{prefix}{name}")),
            };
            for value in values.iter().filter(|value| is_sound(name, value)) {
                picked.append(name.clone(), value.clone());
            }
        }
    }
}

/// Binary metadata that is not base64 breaks gRPC clients; it is left out.
fn is_sound(name: &HeaderName, value: &HeaderValue) -> bool {
    let is_base64 = |part: &[u8]| STANDARD.decode(part).is_ok() || STANDARD_NO_PAD.decode(part).is_ok();
    !name.as_str().ends_with("-bin")
        || value.as_bytes().split(|byte| *byte == b',').all(|part| is_base64(part.trim_ascii()))
}
