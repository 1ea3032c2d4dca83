//! The details that the gateway itself sends: of `google/rpc/error_details.proto`, and its own.

use prost::Message;
use prost_types::Any;
use tonic_types::pb;

use crate::proto::prebuildgateway::v1::Verdict;

/// What every type URL of a detail begins with; the rest is the message's full name.
pub const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// A detail, which knows its name (`tonic-types` does not generate `prost::Name`).
pub trait Detail: Message + Sized {
    const NAME: &'static str;

    fn to_any(&self) -> Any {
        Any { type_url: format!("{TYPE_URL_PREFIX}{}", Self::NAME), value: self.encode_to_vec() }
    }

    /// Whether `any` holds this message. What stands before the last slash says only where its type can be looked up.
    fn is(any: &Any) -> bool {
        any.type_url.rsplit_once('/').is_some_and(|(_, name)| name == Self::NAME)
    }
}

impl Detail for pb::ErrorInfo {
    const NAME: &'static str = "google.rpc.ErrorInfo";
}

impl Detail for pb::BadRequest {
    const NAME: &'static str = "google.rpc.BadRequest";
}

impl Detail for pb::QuotaFailure {
    const NAME: &'static str = "google.rpc.QuotaFailure";
}

impl Detail for pb::RetryInfo {
    const NAME: &'static str = "google.rpc.RetryInfo";
}

impl Detail for pb::Help {
    const NAME: &'static str = "google.rpc.Help";
}

impl Detail for Verdict {
    const NAME: &'static str = "prebuildgateway.v1.Verdict";
}
