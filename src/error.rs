//! What a call ends in when it does not end in a reply.
//!
//! Every stage has errors in its own words; at its edge they become an [`Error`], which knows nothing of a protocol.
//! Only `front::render` turns one into bytes. Public text is constant, what is internal stays a source.

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use http::HeaderMap;
use prost_types::Any;
pub use tonic::Code;

mod detail;
mod reason;

pub use detail::{Detail, TYPE_URL_PREFIX};
pub use reason::Reason;

/// `google.rpc.ErrorInfo.domain` of every refusal that the gateway itself makes.
pub const DOMAIN: &str = "prebuild-gateway";

/// The one error of the crate: a status with what the caller, the audit log and the retry marks need to know.
#[derive(Debug)]
pub struct Error {
    /// The gRPC status code.
    pub code: Code,
    /// Who says no.
    pub origin: Origin,
    /// Set where the gateway speaks; becomes `google.rpc.ErrorInfo` with [`DOMAIN`].
    pub reason: Option<Reason>,
    /// Which rule or limit refused; becomes `ErrorInfo.metadata["rule"]`.
    pub rule: Option<Cow<'static, str>>,
    /// Shown to the caller: constant, or the upstream's own message.
    pub message: Cow<'static, str>,
    /// `google.rpc` details, passed on whole.
    pub details: Vec<Any>,
    /// Whether a further try makes sense (promise P8).
    pub retry: Retry,
    /// How far the call got.
    pub sent: Sent,
    /// Response metadata that upstream sent along with its error, already filtered by the allow list. Boxed, so that
    /// the `Result` of every stage stays small.
    pub metadata: Box<HeaderMap>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Who an error comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller's request is at fault.
    Caller,
    /// The gateway refuses or fails.
    Gateway,
    /// Upstream answered, and this is its answer.
    Upstream,
}

/// Whether a further try makes sense. It is told to gRPC callers as `grpc-retry-pushback-ms` and to Connect callers as
/// `x-should-retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing is said; the code speaks for itself.
    Unsaid,
    /// A further try could do the work twice, or is pointless.
    Never,
    /// Nothing was forwarded: a further try is safe now.
    Now,
    /// A further try is welcome after this time.
    After(Duration),
}

/// How far a call got on its way to upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No byte of it left the gateway.
    No,
    /// It may have been executed.
    Maybe,
    /// Upstream answered it.
    Yes,
}

impl Error {
    /// A refusal or failure of the gateway itself, with the code and text that belong to `reason`.
    pub fn refuse(reason: Reason) -> Self {
        Self {
            code: reason.code(),
            origin: reason.origin(),
            reason: Some(reason),
            rule: None,
            message: Cow::Borrowed(reason.message()),
            details: Vec::new(),
            retry: reason.retry(),
            sent: reason.sent(),
            metadata: Box::default(),
            source: None,
        }
    }

    /// Upstream's own answer.
    pub fn upstream(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            origin: Origin::Upstream,
            reason: None,
            rule: None,
            message: message.into(),
            details: Vec::new(),
            retry: Retry::Unsaid,
            sent: Sent::Yes,
            metadata: Box::default(),
            source: None,
        }
    }

    /// Names the rule that refused.
    pub fn with_rule(mut self, rule: impl Into<Cow<'static, str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Adds a `google.rpc` detail.
    pub fn with_detail(mut self, detail: &impl Detail) -> Self {
        self.details.push(detail.to_any());
        self
    }

    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    pub fn with_sent(mut self, sent: Sent) -> Self {
        self.sent = sent;
        self
    }

    /// Keeps the internal cause for logs; it is never shown to a caller.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The name of a status code, as `google.rpc.Code` spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
