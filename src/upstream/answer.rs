//! What upstream's answer means to the caller: the translation matrix, as one pure function.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use prost::Message as _;
use tonic_types::pb;

use crate::{
    call::{Line, Reply},
    connect::{
        error::{ErrorBody, code_of_status, parse},
        json::{Drift, DriftItem, Duplicates, to_json, to_wire},
        metadata::AllowList,
    },
    error::{Code, DOMAIN, Detail as _, Error, Reason, Retry, Sent},
    rpc::{Class, MethodSpec},
    telemetry::metrics::{UpstreamFault, shown_name},
};

#[cfg(test)]
mod tests;

/// Header by which gen-1 SDKs are told whether to try again; the gateway decides that for mutations.
const SHOULD_RETRY: &str = "x-should-retry";
const RETRY_AFTER_MS: &str = "retry-after-ms";
const RETRY_AFTER: &str = "retry-after";
const RATE_LIMIT_RETRY_AFTER: &str = "ratelimit-retryafter";
/// A message travels in a header, percent-encoded, and once more in `grpc-status-details-bin`; gRPC clients take 8 KiB
/// of headers by default, and one that gets more loses the code as well.
const MAX_MESSAGE: usize = 1024;

/// A complete answer, or one whose body broke off.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whose credential the request bore, if any.
    pub(super) bearer: Option<Bearer>,
    /// What it came on.
    pub(super) line: Line,
    pub(super) body: Result<Bytes, BodyError>,
}

/// Who is known to upstream by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// The gateway, by the org's credential.
    Gateway,
    /// Whoever has brought the token.
    Caller,
}

/// Why there is no whole body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the answer is larger than the limit")]
    TooLarge,
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What an answer is worth: the caller's part, and what the operator should count.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) result: Result<Reply, Error>,
    pub(super) fault: Option<UpstreamFault>,
    pub(super) drift: Drift,
}

/// A 200 that is not what the contract says.
#[derive(Debug, thiserror::Error)]
enum Invalid {
    #[error("the content type is not application/json")]
    ContentType,
    #[error("the method's row names an unknown message")]
    Schema,
    #[error("the body is not the response message")]
    Json(#[from] crate::connect::json::ReadError),
    #[error("the body is not the response message")]
    Wire(#[from] prost::DecodeError),
    #[error("the body cannot be written anew")]
    Text(#[from] crate::connect::json::WriteError),
}

/// Reads an answer to a call of `method`.
pub(super) fn read(method: &'static MethodSpec, answer: Answer, allowed: &AllowList) -> Verdict {
    let Answer { status, headers, bearer, line, body } = answer;
    let body = match body {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            return fault(UpstreamFault::TooLarge, invalid(BodyError::TooLarge));
        }
        Err(broken) => return fault(UpstreamFault::Reset, no_answer(method, broken)),
    };
    if status == StatusCode::OK {
        return match reply(method, &headers, body, allowed) {
            Ok((reply, drift)) => Verdict { result: Ok(Reply { line, ..reply }), fault: None, drift },
            Err(reason) => fault(UpstreamFault::Invalid, invalid(reason)),
        };
    }
    if status.is_redirection() {
        return fault(UpstreamFault::Redirect, Error::refuse(Reason::UpstreamRedirect));
    }
    if !status.is_client_error() && !status.is_server_error() {
        return fault(UpstreamFault::Invalid, Error::refuse(Reason::UpstreamInvalidResponse));
    }
    let said = is_json(&headers).then(|| parse(&body)).flatten();
    let code = said.as_ref().and_then(|said| said.code);
    let is_unknown = status == StatusCode::UNAUTHORIZED || code == Some(Code::Unauthenticated);
    match bearer.filter(|_| is_unknown) {
        // Whatever else it says: upstream does not know the org's credential, and the caller's own was fine.
        Some(Bearer::Gateway) => {
            return fault(UpstreamFault::Status, Error::refuse(Reason::UpstreamCredential));
        }
        // Like any stranger; upstream is well.
        Some(Bearer::Caller) => {
            let error = Error::refuse(Reason::Unauthenticated).with_sent(Sent::Yes);
            return Verdict { result: Err(error), fault: None, drift: Drift::default() };
        }
        None => {}
    }
    let fault = code.is_none().then_some(UpstreamFault::Status);
    let mut error = error(method, status, said.unwrap_or_default());
    if code.is_none() && status == StatusCode::TOO_MANY_REQUESTS && names_a_wait(&headers) {
        error.code = Code::ResourceExhausted;
    }
    *error.metadata = allowed.filter_all(&headers);
    if method.class != Class::Read {
        // Upstream's word on retries never overrides the gateway's (promise P8).
        error.metadata.remove(SHOULD_RETRY);
    }
    mark_retry(method, &headers, &mut error);
    Verdict { result: Err(error), fault, drift: Drift::default() }
}

/// What a call gets that was sent and has no answer at all.
pub(super) fn no_answer(
    method: &MethodSpec,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    match method.class {
        // Upstream's word, not ours: our own `UNAVAILABLE` would say that nothing was forwarded.
        Class::Read => Error::upstream(Code::Unavailable, "upstream gave no usable answer")
            .with_sent(Sent::Maybe)
            .with_source(source),
        Class::Mutate | Class::Secret => Error::refuse(Reason::UpstreamOutcomeUnknown).with_source(source),
    }
}

fn fault(fault: UpstreamFault, error: Error) -> Verdict {
    Verdict { result: Err(error), fault: Some(fault), drift: Drift::default() }
}

fn invalid(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::refuse(Reason::UpstreamInvalidResponse).with_source(source)
}

fn reply(
    method: &'static MethodSpec,
    headers: &HeaderMap,
    json: Bytes,
    allowed: &AllowList,
) -> Result<(Reply, Drift), Invalid> {
    if !is_json(headers) {
        return Err(Invalid::ContentType);
    }
    let output = method.output().ok_or(Invalid::Schema)?;
    let (wire, drift) = to_wire((method.schema)(), output, &json, Duplicates::LastWins)?;
    // The text holds what each repeated field was before, too, and only its last value is judged.
    let json = match drift.repeats {
        0 => json,
        _ => to_json((method.schema)(), output, &method.recode(&wire)?)?.into(),
    };
    let seen = method.view(&wire)?;
    let (metadata, trailers) = (allowed.filter(headers), allowed.filter_trailers(headers));
    Ok((Reply { json, wire, seen, drift: named(&drift), metadata, trailers, line: Line::default() }, drift))
}

/// What is unknown, by name: `status.novelty` for a field, `status.phase=NEWS` for an enum value.
fn named(drift: &Drift) -> Vec<String> {
    let dot = |path: &str| if path.is_empty() { "" } else { "." };
    let field = |item: &DriftItem| format!("{}{}{}", item.path, dot(&item.path), shown_name(&item.name));
    let value = |item: &DriftItem| format!("{}={}", item.path, shown_name(&item.name));
    drift.fields.iter().map(field).chain(drift.enums.iter().map(value)).collect()
}

/// `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// A status that is no success.
fn error(method: &MethodSpec, status: StatusCode, said: ErrorBody) -> Error {
    // A proxy in between that fails or gives up waiting says nothing of whether the work behind it was done.
    let is_open = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
    if said.code.is_none() && is_open && method.class != Class::Read {
        return Error::refuse(Reason::UpstreamOutcomeUnknown);
    }
    let message = match said.message.is_empty() && said.code.is_none() {
        true => format!("upstream answered with HTTP status {}", status.as_u16()),
        false => bounded(said.message),
    };
    // A code that is missing or new takes nothing from the rest of what upstream says.
    let mut error = Error::upstream(said.code.unwrap_or_else(|| code_of_status(status)), message);
    error.details = said.details;
    error.details.retain(|any| !speaks_for_us(any));
    error
}

/// At most [`MAX_MESSAGE`] bytes.
fn bounded(mut message: String) -> String {
    let end = (0..=MAX_MESSAGE.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message.truncate(end.unwrap_or_default());
    message
}

/// An `ErrorInfo` with the gateway's own domain: under it only the gateway may say that nothing was forwarded.
fn speaks_for_us(any: &prost_types::Any) -> bool {
    pb::ErrorInfo::is(any) && pb::ErrorInfo::decode(&any.value[..]).is_ok_and(|info| info.domain == DOMAIN)
}

/// A wait that upstream asks for is passed on. Without one, a mutation that was sent is not to be tried again
/// (promise P8): it may have been executed, or will fail again.
fn mark_retry(method: &MethodSpec, headers: &HeaderMap, error: &mut Error) {
    if error.retry == Retry::Never {
        return;
    }
    error.retry = match retry_info(error).or_else(|| retry_after(headers)) {
        Some(wait) => Retry::After(wait),
        None if method.class != Class::Read => Retry::Never,
        None => Retry::Unsaid,
    };
}

/// Who says when to come again throttles; a bare 429 is `unavailable`, as Connect has it.
fn names_a_wait(headers: &HeaderMap) -> bool {
    [RETRY_AFTER_MS, RETRY_AFTER, RATE_LIMIT_RETRY_AFTER].iter().any(|name| headers.contains_key(*name))
}

/// `google.rpc.RetryInfo` among the details.
fn retry_info(error: &Error) -> Option<Duration> {
    let any = error.details.iter().find(|any| pb::RetryInfo::is(any))?;
    let delay = pb::RetryInfo::decode(&any.value[..]).ok()?.retry_delay?;
    delay.try_into().ok()
}

/// `Retry-After-Ms`, `Retry-After` in seconds (RFC 9110, section 10.2.3), or the Terraform provider's header.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number(RETRY_AFTER_MS)
        .map(Duration::from_millis)
        .or_else(|| number(RETRY_AFTER).map(Duration::from_secs))
        .or_else(|| number(RATE_LIMIT_RETRY_AFTER).map(Duration::from_secs))
}
