//! Every call has a deadline: the caller's, cut to the maximum, or the default (promise P9).

use std::time::{Duration, Instant};

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{HttpRequest, HttpResponse, Protocol};
use crate::{
    call::{Context, Deadline, Recorder},
    error::{Error, Reason, Retry, Sent},
    rpc::Class,
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// Below the 60 s after which the official SDKs give up by themselves.
const DEFAULT: Duration = Duration::from_secs(30);
/// No call of this API takes minutes; whoever asks for more holds a place in vain.
const MAX: Duration = Duration::from_secs(300);
/// gRPC allows at most eight digits.
const MAX_GRPC_DIGITS: usize = 8;
/// Connect allows at most ten.
const MAX_CONNECT_DIGITS: usize = 10;

/// `[deadline]`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// For callers that set none.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub default: Duration,
    /// Longer deadlines are cut to this.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max: Duration,
}

/// The layer.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines(pub Config);

/// The timeout is not of the form that the protocol's specification gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed timeout")]
pub struct MalformedTimeout;

impl Default for Config {
    fn default() -> Self {
        Self { default: DEFAULT, max: MAX }
    }
}

impl Config {
    /// How long the caller waits.
    ///
    /// # Errors
    /// A malformed or repeated timeout: it is never taken for "no deadline".
    pub fn timeout(self, protocol: Protocol, headers: &HeaderMap) -> Result<Duration, MalformedTimeout> {
        let mut values = headers.get_all(protocol.timeout_header()).iter();
        let Some(value) = values.next() else { return Ok(self.default.min(self.max)) };
        if values.next().is_some() {
            return Err(MalformedTimeout);
        }
        let value = value.to_str().unwrap_or_default();
        let timeout = match protocol {
            Protocol::Grpc(_) | Protocol::GrpcWeb(..) | Protocol::Unknown => grpc(value),
            Protocol::Connect(_) => digits(value, MAX_CONNECT_DIGITS).map(Duration::from_millis),
        };
        timeout.map(|timeout| timeout.min(self.max))
    }
}

/// `TimeoutValue TimeoutUnit`, at most eight digits and one of `HMSmun` (gRPC over HTTP/2, "Timeout").
fn grpc(value: &str) -> Result<Duration, MalformedTimeout> {
    let (value, unit) = value.split_at_checked(value.len().saturating_sub(1)).ok_or(MalformedTimeout)?;
    let number = digits(value, MAX_GRPC_DIGITS)?;
    match unit {
        "H" => Ok(Duration::from_secs(number * 3600)),
        "M" => Ok(Duration::from_secs(number * 60)),
        "S" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_millis(number)),
        "u" => Ok(Duration::from_micros(number)),
        "n" => Ok(Duration::from_nanos(number)),
        _ => Err(MalformedTimeout),
    }
}

/// One to so many digits, and nothing else.
fn digits(value: &str, most: usize) -> Result<u64, MalformedTimeout> {
    let well_formed = (1..=most).contains(&value.len()) && value.bytes().all(|digit| digit.is_ascii_digit());
    well_formed.then(|| value.parse().ok()).flatten().ok_or(MalformedTimeout)
}

impl Stage<HttpRequest> for Deadlines {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        mut request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let protocol = request.extensions().get::<Protocol>().copied().unwrap_or(Protocol::Unknown);
        let timeout = self.0.timeout(protocol, request.headers())?;
        // An expired call is not begun.
        if timeout.is_zero() {
            return Err(Error::refuse(Reason::DeadlineExceeded));
        }
        let deadline = Instant::now() + timeout;
        request.extensions_mut().insert(Deadline::at(deadline));
        let context = request.extensions().get::<Context>().cloned();
        let result = tokio::time::timeout_at(deadline.into(), next.run(request)).await;
        result.unwrap_or_else(|_| Err(passed(context.as_ref())))
    }
}

/// A call that has reached the call plane may have been sent, and a mutation then goes on without its caller: who
/// tries again may do the work twice (promise P2).
fn passed(context: Option<&Context>) -> Error {
    let error = Error::refuse(Reason::DeadlineExceeded);
    context.inspect(|context| context.set_expired());
    let call = context.filter(|context| !context.claim(Recorder::WirePlane));
    match call.and_then(Context::method) {
        None => error,
        Some(method) if method.class == Class::Read => error.with_sent(Sent::Maybe),
        Some(_) => error.with_sent(Sent::Maybe).with_retry(Retry::Never),
    }
}

impl From<MalformedTimeout> for Error {
    fn from(malformed: MalformedTimeout) -> Self {
        Self::refuse(Reason::MalformedTimeout).with_source(malformed)
    }
}
