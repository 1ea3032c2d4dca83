//! The `google.rpc` details of an error, the same for every protocol.

use std::collections::HashMap;

use prost::Message as _;
use tonic_types::pb;

use super::retry::MAX_WAIT;
use crate::{
    call::Context,
    error::{DOMAIN, Detail as _, Error, Reason, Retry},
};

/// `ErrorInfo` first, where the gateway speaks; then what the stage or upstream said, as far as it fits into `room`
/// bytes; then how long to wait. Without a `context` the `ErrorInfo` is left out.
pub(super) fn details(error: &Error, context: Option<&Context>, mut room: usize) -> Vec<prost_types::Any> {
    let info = error.reason.zip(context).map(|(reason, context)| info(reason, error, context));
    let said = error.details.iter().any(pb::RetryInfo::is);
    let wait = match error.retry {
        Retry::After(wait) if !said => Some(
            pb::RetryInfo { retry_delay: prost_types::Duration::try_from(wait.min(MAX_WAIT)).ok() }.to_any(),
        ),
        Retry::After(_) | Retry::Unsaid | Retry::Never | Retry::Now => None,
    };
    let fits = |any: &&prost_types::Any| {
        let left = room.checked_sub(any.encoded_len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    info.into_iter().chain(error.details.iter().filter(fits).cloned()).chain(wait).collect()
}

/// The entries of a map have no order of their own, and one refusal must not differ from another by it: they are written
/// one after the other, as parts of one message (protobuf, "Last One Wins").
fn info(reason: Reason, error: &Error, context: &Context) -> prost_types::Any {
    let policy = context.policy().map(|version| ("policy", version.to_string()));
    let rule = error.rule.as_deref().map(|rule| ("rule", rule.to_owned()));
    let entries = [policy, Some(("request_id", context.id().to_string())), rule];
    let head = pb::ErrorInfo {
        reason: reason.as_str().to_owned(),
        domain: DOMAIN.to_owned(),
        metadata: HashMap::new(),
    };
    let mut any = head.to_any();
    for (name, value) in entries.into_iter().flatten() {
        let metadata = HashMap::from([(name.to_owned(), value)]);
        any.value.extend(pb::ErrorInfo { metadata, ..Default::default() }.encode_to_vec());
    }
    any
}
