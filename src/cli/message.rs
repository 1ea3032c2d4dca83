//! Request messages as people write them, in JSON.

use bytes::Bytes;

use crate::{
    connect::json::{Duplicates, to_wire},
    rpc::MethodSpec,
};

/// The request as it is sent.
///
/// # Errors
/// What is wrong with it. A misspelt field is wrong, too: it would be a call that means something else.
pub(super) fn read(method: &'static MethodSpec, json: &str) -> Result<Bytes, String> {
    let input = method.input().ok_or("no such message")?;
    let (wire, drift) = to_wire((method.schema)(), input, json.as_bytes(), Duplicates::Reject)
        .map_err(|error| format!("the request is no {}: {error}", method.input))?;
    match drift.fields.iter().chain(&drift.enums).next() {
        Some(unknown) => Err(format!("{} has no `{}`", method.input, unknown.name)),
        None => Ok(wire),
    }
}
