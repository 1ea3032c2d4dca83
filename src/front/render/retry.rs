//! Whether a further try makes sense, as each protocol says it (promise P8).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    error::{Code, Error, Retry, Sent},
    rpc::{Class, MethodSpec},
};

pub(super) const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
pub(super) const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Above the rule by status, for the SDKs of the first generation, which retry mutations, too.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The pushback is a signed 32-bit number (gRFC A6). A client that cannot read it would give up.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(i32::MAX as u64);

/// `grpc-retry-pushback-ms`: milliseconds, or -1 for "never" (gRFC A6). `retry-after`: whole seconds, rounded up.
pub(super) fn mark_grpc(retry: Retry, metadata: &mut HeaderMap) {
    match retry {
        Retry::Unsaid | Retry::Now => {}
        Retry::Never => {
            metadata.insert(RETRY_PUSHBACK, HeaderValue::from_static("-1"));
        }
        Retry::After(wait) => {
            metadata.insert(RETRY_PUSHBACK, HeaderValue::from(millis(wait)));
            metadata.entry(RETRY_AFTER).or_insert_with(|| seconds(wait));
        }
    }
}

/// `x-should-retry`, and how long to wait in `retry-after` and `retry-after-ms`.
pub(super) fn mark_connect(error: &Error, method: Option<&MethodSpec>, metadata: &mut HeaderMap) {
    if let Some(should) = should_retry(error, method) {
        metadata.insert(SHOULD_RETRY, HeaderValue::from_static(if should { "true" } else { "false" }));
    }
    if let Retry::After(wait) = error.retry
        && !metadata.contains_key(RETRY_AFTER)
    {
        metadata.entry(RETRY_AFTER_MS).or_insert_with(|| HeaderValue::from(millis(wait)));
        metadata.insert(RETRY_AFTER, seconds(wait));
    }
}

/// `None` where nothing is to be said: upstream's own mark stays as it came.
fn should_retry(error: &Error, method: Option<&MethodSpec>) -> Option<bool> {
    let is_mutation = method.is_some_and(|method| method.class != Class::Read);
    let is_conflict = matches!(error.code, Code::AlreadyExists | Code::Aborted);
    match (error.sent, error.retry) {
        // These clients take 409 for a passing trouble.
        _ if is_conflict => Some(false),
        (_, Retry::Never) => Some(false),
        // Even after a wait that upstream asks for: the work may have been done.
        (Sent::Maybe | Sent::Yes, _) if is_mutation => Some(false),
        (Sent::No, Retry::Now | Retry::After(_)) => Some(true),
        (Sent::No, Retry::Unsaid) | (Sent::Maybe | Sent::Yes, _) => None,
    }
}

fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(millis(wait).div_ceil(1000))
}

/// At least one: 0 would mean "at once".
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.min(MAX_WAIT).as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
}
