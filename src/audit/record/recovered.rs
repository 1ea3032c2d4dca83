//! The end of a call that a crash has left without one.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::{AuditStage, ascii, event};
use crate::{audit::line, call::RequestId, error::Code};

/// As its intent has it, but for what is known now: that nobody knows whether upstream has seen it. None if this is no
/// record of a call.
pub(in crate::audit) fn recovered(sequence: u64, intent: &[u8], now: SystemTime) -> Option<line::Draft> {
    let mut event: Map<String, Value> = serde_json::from_slice(intent).ok()?;
    let uid = event.get("api")?.get("request")?.get("uid")?.as_str()?;
    let request = RequestId::try_from(uid.to_owned()).ok()?;
    event.remove("metadata");
    let Value::Object(mut unmapped) = event.remove("unmapped")? else { return None };
    for first in ["prev", "stage"] {
        unmapped.remove(first);
    }
    unmapped.insert("time".to_owned(), humantime::format_rfc3339_micros(now).to_string().into());
    unmapped.insert("intent".to_owned(), sequence.into());
    unmapped.insert("forwarded".to_owned(), "maybe".into());
    let unknown = crate::error::code_name(Code::Unknown);
    event.insert("time".to_owned(), event::millis(now).into());
    event.insert("severity_id".to_owned(), event::severity(AuditStage::Recovered, None).into());
    event.insert("status_id".to_owned(), event::status(AuditStage::Recovered, None).into());
    event.insert("status_code".to_owned(), unknown.into());
    let response = json!({"code": Code::Unknown as i32, "message": unknown});
    event.get_mut("api")?.as_object_mut()?.insert("response".to_owned(), response);
    let mut tail = format!(r#""stage":"{}","#, AuditStage::Recovered.as_str()).into_bytes();
    tail.extend(ascii::members(&unmapped));
    tail.push(b',');
    tail.extend(ascii::members(&event));
    Some(line::Draft { stage: AuditStage::Recovered, request: Some(request), ends: 1, tail })
}
