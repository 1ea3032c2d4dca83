//! A request message, from the caller's codec to protobuf, with what the schema does not know of it.

use std::error::Error as StdError;

use bytes::Bytes;
use http::{Method, request::Parts};
use http_body_util::LengthLimitError;
use tonic_types::pb::{BadRequest, bad_request::FieldViolation};

use super::{paging, protocol::Codec};
use crate::{
    call::UnknownField,
    connect::json::{Drift, Duplicates, ReadError, ReadProblem, to_wire, unknown_fields},
    error::{Error, Reason},
    rpc::MethodSpec,
};

#[cfg(test)]
mod tests;

/// What stands in place of a name that could hold anything.
const UNNAMED: &str = "?";

/// A request message as protobuf. It is not canonical yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) wire: Bytes,
    pub(super) unknown: Vec<Unknown>,
}

/// A field that the schema does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// For the caller, who wrote it: `spec.timeuot`, `spec.#17`. Made of dots and names only.
    pub(super) path: String,
    /// For the record: `spec.?`, `spec.#17`. A JSON key may hold anything, a secret too.
    pub(super) place: String,
    /// The JSON key as it is; only its hash goes anywhere.
    name: Option<String>,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are not the method's request message. Of JSON, the known part of the path to the fault is named.
    pub(super) fn read(method: &MethodSpec, codec: Codec, bytes: Bytes) -> Result<Self, Error> {
        let schema = (method.schema)();
        let input = method.input().ok_or_else(|| Error::refuse(Reason::Internal))?;
        match codec {
            Codec::Proto => {
                let unknown = unknown_fields(schema, input, &bytes)
                    .map_err(|error| Error::refuse(Reason::MalformedMessage).with_source(error))?;
                Ok(Self { wire: bytes, unknown: unknown.into_iter().map(Unknown::number).collect() })
            }
            Codec::Json => {
                let (wire, drift) = to_wire(schema, input, &bytes, Duplicates::Reject).map_err(malformed)?;
                // A request that asks for what nobody knows must not become one that asks for something else.
                if !drift.enums.is_empty() {
                    return Err(unknown_enum(&drift));
                }
                let fields = drift.fields.iter();
                let unknown: Vec<_> = fields.map(|item| Unknown::key(&item.path, &item.name)).collect();
                // What is not told apart any more may be such a name, too.
                if drift.rest > 0 {
                    return Err(unknown_field(&unknown));
                }
                Ok(Self { wire, unknown })
            }
        }
    }

    /// The message with the page that the URL asks for.
    ///
    /// # Errors
    /// As [`paging::merge`].
    pub(super) fn with_page(mut self, method: &MethodSpec, head: &Parts) -> Result<Self, Error> {
        if head.method == Method::POST {
            self.wire = paging::merge(method, &head.uri, self.wire)?;
        }
        Ok(self)
    }
}

impl Unknown {
    /// As records have it.
    pub(super) fn seen(&self) -> UnknownField {
        UnknownField { place: self.place.clone(), name: self.name.clone() }
    }

    fn number(path: String) -> Self {
        Self { place: path.clone(), path, name: None }
    }

    fn key(parent: &str, name: &str) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let plain = if !name.is_empty() && name.bytes().all(is_plain) { name } else { UNNAMED };
        let below = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        Self { path: below(plain), place: below(UNNAMED), name: Some(name.to_owned()) }
    }
}

/// A body that did not come whole: it is too long, or its caller went away.
pub(super) fn unread(error: Box<dyn StdError + Send + Sync>) -> Error {
    let reason = if error.is::<LengthLimitError>() { Reason::MessageTooLarge } else { Reason::CallerGone };
    Error::refuse(reason).with_source(error)
}

/// Every unknown field, for `requests.unknown_fields = "reject"`.
pub(super) fn unknown_field(unknown: &[Unknown]) -> Error {
    let violations = unknown.iter().map(|unknown| {
        violation(&unknown.path, "is not a field of this request", Reason::UnknownField.as_str())
    });
    Error::refuse(Reason::UnknownField)
        .with_rule("requests.unknown_fields")
        .with_detail(&BadRequest { field_violations: violations.collect() })
}

/// One field, or query parameter, that cannot be read.
pub(super) fn malformed_field(field: &str, description: &str) -> Error {
    let field_violations = vec![violation(field, description, Reason::MalformedMessage.as_str())];
    Error::refuse(Reason::MalformedMessage).with_detail(&BadRequest { field_violations })
}

fn malformed(error: ReadError) -> Error {
    let refusal = match (error.path.as_str(), error.problem) {
        ("", ReadProblem::Syntax | ReadProblem::Truncated | ReadProblem::Utf8) => {
            Error::refuse(Reason::MalformedMessage)
        }
        (path, problem) => malformed_field(path, &problem.to_string()),
    };
    refusal.with_source(error)
}

fn unknown_enum(drift: &Drift) -> Error {
    let violations = drift
        .enums
        .iter()
        .map(|item| violation(&item.path, "is not a value of this enum", Reason::MalformedMessage.as_str()));
    Error::refuse(Reason::MalformedMessage)
        .with_detail(&BadRequest { field_violations: violations.collect() })
}

fn violation(field: &str, description: &str, reason: &str) -> FieldViolation {
    FieldViolation {
        field: field.to_owned(),
        description: description.to_owned(),
        reason: reason.to_owned(),
        ..FieldViolation::default()
    }
}
