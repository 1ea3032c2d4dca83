//! Errors on the Connect wire: code names, HTTP statuses and the JSON body
//! (<https://connectrpc.com/docs/protocol#error-end-stream>).

use std::sync::LazyLock;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::StatusCode;
use prost_types::Any;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::json::to_json;
use crate::{
    error::{Code, TYPE_URL_PREFIX},
    rpc::Schema,
};

#[cfg(test)]
mod tests;

/// Servers write details without padding; some libraries pad all the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `google.rpc`: the details that, beside the gateway's own, are also written for people.
static DETAILS: LazyLock<Schema> =
    LazyLock::new(|| Schema::from_descriptors(tonic_types::pb::FILE_DESCRIPTOR_SET));

/// What an error body says. Everything may be missing or of an unknown kind; what cannot be read is left out, and takes
/// nothing else with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorBody {
    pub code: Option<Code>,
    pub message: String,
    pub details: Vec<Any>,
}

/// An error body on its way out.
#[derive(Serialize)]
struct Written<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<WrittenDetail<'a>>,
}

#[derive(Serialize)]
struct WrittenDetail<'a> {
    #[serde(rename = "type")]
    name: &'a str,
    value: String,
    /// The same for people; clients read `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawDetail {
    #[serde(rename = "type")]
    name: String,
    value: String,
}

/// Reads an error body. `None` if the bytes are no JSON object.
pub fn parse(body: &[u8]) -> Option<ErrorBody> {
    let raw: Raw<'_> = serde_json::from_slice(body).ok()?;
    let detail = |item: &&RawValue| {
        let detail: RawDetail = read(item)?;
        let value = BASE64.decode(detail.value).ok()?;
        // Connect writes the bare name; a URL is what `Any` has, and some servers send it.
        let type_url = match detail.name.contains('/') {
            true => detail.name,
            false => format!("{TYPE_URL_PREFIX}{}", detail.name),
        };
        Some(Any { type_url, value })
    };
    let details = raw.details.map(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()));
    let details = details.and_then(Result::ok).unwrap_or_default();
    Some(ErrorBody {
        code: raw.code.and_then(read::<String>).as_deref().and_then(code),
        message: raw.message.and_then(read).unwrap_or_default(),
        details: details.iter().filter_map(detail).collect(),
    })
}

/// Writes an error body: `None` for `Ok`, which is no error.
pub fn write(code: Code, message: &str, details: &[Any]) -> Option<Vec<u8>> {
    let details = details.iter().map(|any| WrittenDetail {
        name: full_name(any),
        value: BASE64.encode(&any.value),
        debug: debug(any),
    });
    serde_json::to_vec(&Written { code: name(code)?, message, details: details.collect() }).ok()
}

fn full_name(any: &Any) -> &str {
    any.type_url.rsplit_once('/').map_or(&any.type_url, |(_, name)| name)
}

fn debug(any: &Any) -> Option<Box<RawValue>> {
    let schemas: [&Schema; 2] = [&DETAILS, Schema::gitpod()];
    let (schema, message) =
        schemas.into_iter().find_map(|schema| Some((schema, schema.message(full_name(any))?)))?;
    let json = to_json(schema, message, &any.value).ok()?;
    RawValue::from_string(String::from_utf8(json).ok()?).ok()
}

/// `None` for a value of another kind.
fn read<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

macro_rules! codes {
    ($($code:ident = $name:literal, $status:literal;)*) => {
        /// The code that a Connect name stands for.
        pub fn code(name: &str) -> Option<Code> {
            match name {
                $($name => Some(Code::$code),)*
                _ => None,
            }
        }

        /// The Connect name of a code; `None` for `Ok`, which is no error.
        pub const fn name(code: Code) -> Option<&'static str> {
            match code {
                Code::Ok => None,
                $(Code::$code => Some($name),)*
            }
        }

        /// The HTTP status that goes with a code.
        pub const fn http_status(code: Code) -> u16 {
            match code {
                Code::Ok => 200,
                $(Code::$code => $status,)*
            }
        }
    };
}

codes! {
    Cancelled = "canceled", 499;
    Unknown = "unknown", 500;
    InvalidArgument = "invalid_argument", 400;
    DeadlineExceeded = "deadline_exceeded", 504;
    NotFound = "not_found", 404;
    AlreadyExists = "already_exists", 409;
    PermissionDenied = "permission_denied", 403;
    ResourceExhausted = "resource_exhausted", 429;
    FailedPrecondition = "failed_precondition", 400;
    Aborted = "aborted", 409;
    OutOfRange = "out_of_range", 400;
    Unimplemented = "unimplemented", 501;
    Internal = "internal", 500;
    Unavailable = "unavailable", 503;
    DataLoss = "data_loss", 500;
    Unauthenticated = "unauthenticated", 401;
}

/// The code that an HTTP status stands for where no usable error body says more.
pub fn code_of_status(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}
