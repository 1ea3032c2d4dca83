//! What is left of the caller's rates, on answers and refusals alike: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10), and how long to wait once one is used up. On gRPC they are metadata.

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::HttpResponse;
use crate::{
    call::Context,
    error::{Code, Origin},
    rule::{Rate, Remaining},
};

#[cfg(test)]
mod tests;

/// `"rates.org.all";q=100;w=2`: the burst, and the seconds that it takes to come back.
pub(super) const POLICY: &str = "ratelimit-policy";
/// `"rates.org.all";r=42;t=1`: what is left of it, and the seconds until all of it is.
pub(super) const LEFT: &str = "ratelimit";
/// Whole seconds, beside `retry-after`: the name that clients of the upstream's own limits look for.
const RETRY_AFTER: &str = "ratelimit-retryafter";

/// The scarcest ones: more say nothing more of what to do next, and headers have little room (8 KiB with many clients, of
/// which each takes some 80 bytes).
const MAX_SHOWN: usize = 4;

/// Writes what the context knows of the caller's rates.
pub(super) fn tell(context: &Context, response: &mut HttpResponse) {
    let remaining = context.remaining();
    let shown = || remaining.iter().take(MAX_SHOWN);
    let lists = [
        (
            POLICY,
            list(shown(), |item| (("q", item.rate.burst.get().into()), ("w", seconds(window(item.rate))))),
        ),
        (LEFT, list(shown(), |item| (("r", item.calls.into()), ("t", seconds(item.full_in))))),
    ];
    for (name, list) in lists {
        if let Some(list) = list {
            response.headers_mut().insert(HeaderName::from_static(name), list);
        }
    }
}

/// Says `retry-after` once more to who was refused for too much.
pub(super) fn mark(code: Code, origin: Origin, metadata: &mut HeaderMap) {
    if let (Code::ResourceExhausted, Origin::Gateway) = (code, origin)
        && let Some(wait) = metadata.get(header::RETRY_AFTER).cloned()
    {
        metadata.insert(HeaderName::from_static(RETRY_AFTER), wait);
    }
}

/// A structured field (RFC 9651): a list of strings with two parameters each; none, if there is nothing to list.
fn list<'r>(
    items: impl Iterator<Item = &'r Remaining>,
    parameters: impl Fn(&Remaining) -> ((&'static str, u64), (&'static str, u64)),
) -> Option<HeaderValue> {
    let mut text = String::new();
    for item in items.filter(|item| is_plain(item.rule.as_str())) {
        let ((first, count), (second, time)) = parameters(item);
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}\"{}\";{first}={count};{second}={time}", item.rule);
    }
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

/// Whether a name needs no escapes as a string of a structured field. Those of rates are words with dots.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// What it takes for all of the burst to come back.
fn window(rate: Rate) -> Duration {
    let nanos = rate.per.as_nanos() * u128::from(rate.burst.get()) / u128::from(rate.calls.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).max(Duration::from_nanos(1))
}

/// Rounded up: what is promised for then is there.
fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}
