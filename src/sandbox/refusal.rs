//! Connect errors: codes, their HTTP status, and details as a real service packs them.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};
use tonic_types::pb::{BadRequest, ErrorInfo, bad_request::FieldViolation};

/// `google.rpc.ErrorInfo.domain` of the sandbox's errors: never the gateway's, so that one can be told from the other.
pub const DOMAIN: &str = "sandbox.gitpod.v1";

/// A Connect error code and the HTTP status that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub name: &'static str,
    pub status: u16,
}

/// What a call ends in when it is not carried out.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    message: String,
    details: Vec<Detail>,
}

/// Every violation of one request.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<(String, String)>);

#[derive(Clone, Debug)]
struct Detail {
    kind: &'static str,
    value: Vec<u8>,
    debug: Value,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Value>,
}

impl Code {
    pub const CANCELED: Self = Self::new("canceled", 499);
    pub const UNKNOWN: Self = Self::new("unknown", 500);
    pub const INVALID_ARGUMENT: Self = Self::new("invalid_argument", 400);
    pub const DEADLINE_EXCEEDED: Self = Self::new("deadline_exceeded", 504);
    pub const NOT_FOUND: Self = Self::new("not_found", 404);
    pub const ALREADY_EXISTS: Self = Self::new("already_exists", 409);
    pub const PERMISSION_DENIED: Self = Self::new("permission_denied", 403);
    pub const RESOURCE_EXHAUSTED: Self = Self::new("resource_exhausted", 429);
    pub const FAILED_PRECONDITION: Self = Self::new("failed_precondition", 400);
    pub const ABORTED: Self = Self::new("aborted", 409);
    pub const OUT_OF_RANGE: Self = Self::new("out_of_range", 400);
    pub const UNIMPLEMENTED: Self = Self::new("unimplemented", 501);
    pub const INTERNAL: Self = Self::new("internal", 500);
    pub const UNAVAILABLE: Self = Self::new("unavailable", 503);
    pub const DATA_LOSS: Self = Self::new("data_loss", 500);
    pub const UNAUTHENTICATED: Self = Self::new("unauthenticated", 401);

    /// All that Connect knows.
    pub const ALL: [Self; 16] = [
        Self::CANCELED,
        Self::UNKNOWN,
        Self::INVALID_ARGUMENT,
        Self::DEADLINE_EXCEEDED,
        Self::NOT_FOUND,
        Self::ALREADY_EXISTS,
        Self::PERMISSION_DENIED,
        Self::RESOURCE_EXHAUSTED,
        Self::FAILED_PRECONDITION,
        Self::ABORTED,
        Self::OUT_OF_RANGE,
        Self::UNIMPLEMENTED,
        Self::INTERNAL,
        Self::UNAVAILABLE,
        Self::DATA_LOSS,
        Self::UNAUTHENTICATED,
    ];

    const fn new(name: &'static str, status: u16) -> Self {
        Self { name, status }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name == name)
    }
}

impl Refusal {
    /// An error without details.
    pub(super) fn plain(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// An error that states its reason in a `google.rpc.ErrorInfo`.
    pub(super) fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let info = ErrorInfo { reason: reason.to_owned(), domain: DOMAIN.to_owned(), ..ErrorInfo::default() };
        let debug = json!({ "reason": reason, "domain": DOMAIN });
        Self::plain(code, message).with("google.rpc.ErrorInfo", info.encode_to_vec(), debug)
    }

    /// The same answer for what is absent and for what is another organization's.
    pub(super) fn not_found(what: &'static str) -> Self {
        Self::new(Code::NOT_FOUND, "NOT_FOUND", format!("{what} not found"))
    }

    /// The request is not what it should be, at one place.
    pub(super) fn invalid(field: &str, description: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(field, description);
        Self::violations(violations)
    }

    fn violations(Violations(violations): Violations) -> Self {
        let message = violations.iter().map(|(field, text)| format!("{field}: {text}")).collect::<Vec<_>>();
        let debug: Vec<_> =
            violations.iter().map(|(field, text)| json!({ "field": field, "description": text })).collect();
        let field_violations = violations
            .into_iter()
            .map(|(field, description)| FieldViolation { field, description, ..FieldViolation::default() })
            .collect();
        Self::plain(Code::INVALID_ARGUMENT, format!("validation error: {}", message.join("; "))).with(
            "google.rpc.BadRequest",
            BadRequest { field_violations }.encode_to_vec(),
            json!({ "fieldViolations": debug }),
        )
    }

    fn with(mut self, kind: &'static str, value: Vec<u8>, debug: Value) -> Self {
        self.details.push(Detail { kind, value, debug });
        self
    }

    /// The JSON error body.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let details = self.details.iter().map(Detail::to_json).collect();
        let body = Body { code: self.code.name, message: &self.message, details };
        // Strings, numbers and maps with string keys always serialize.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl Violations {
    pub(super) fn add(&mut self, field: &str, description: impl Into<String>) {
        self.0.push((field.to_owned(), description.into()));
    }

    pub(super) fn into_result(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::violations(self)) }
    }
}

impl Detail {
    fn to_json(&self) -> Value {
        json!({ "type": self.kind, "value": STANDARD_NO_PAD.encode(&self.value), "debug": self.debug })
    }
}
