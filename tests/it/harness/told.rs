//! What a status tells a caller, by name.

use std::time::Duration;

use prost::Message as _;
use tonic::Status;
use tonic_types::pb;

/// Reads the details and marks of a status.
pub(crate) trait Told {
    /// Every detail: type and bytes.
    fn all_details(&self) -> Vec<(String, Vec<u8>)>;

    fn detail<M: prost::Message + Default>(&self, name: &str) -> Option<M> {
        let url = format!("type.googleapis.com/google.rpc.{name}");
        let found = self.all_details().into_iter().find(|(type_url, _)| *type_url == url)?;
        Some(M::decode(&found.1[..]).unwrap())
    }

    /// `ErrorInfo.reason`, if the gateway itself speaks.
    fn reason(&self) -> Option<String> {
        let info: pb::ErrorInfo = self.detail("ErrorInfo")?;
        (info.domain == "prebuild-gateway").then_some(info.reason)
    }

    /// `RetryInfo.retry_delay`
    fn wait(&self) -> Option<Duration> {
        let info: pb::RetryInfo = self.detail("RetryInfo")?;
        Some(info.retry_delay?.try_into().unwrap())
    }

    /// `BadRequest`: the fields that are wrong.
    fn fields(&self) -> Vec<String> {
        let bad: pb::BadRequest = self.detail("BadRequest").unwrap_or_default();
        bad.field_violations.into_iter().map(|violation| violation.field).collect()
    }

    /// `grpc-retry-pushback-ms`
    fn pushback(&self) -> Option<&str>;

    /// `x-request-id`
    fn id(&self) -> String;
}

impl Told for Status {
    fn all_details(&self) -> Vec<(String, Vec<u8>)> {
        let status = pb::Status::decode(self.details()).unwrap();
        if !status.details.is_empty() {
            assert_eq!((status.code, &*status.message), (self.code() as i32, self.message()), "one truth");
        }
        status.details.into_iter().map(|any| (any.type_url, any.value)).collect()
    }

    fn pushback(&self) -> Option<&str> {
        Some(self.metadata().get("grpc-retry-pushback-ms")?.to_str().unwrap())
    }

    fn id(&self) -> String {
        super::request_id(self.metadata())
    }
}
