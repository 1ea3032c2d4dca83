//! A record as the log has it: what every line begins with, and reading it back. `docs/audit-log.md` describes it.

use std::{borrow::Cow, io::Write as _};

use serde::Deserialize;

use super::tree::Hash;
use crate::{call::RequestId, telemetry::metrics::AuditStage};

#[cfg(test)]
mod tests;

/// Of this format; another one is for a reader that knows it.
const LOG_VERSION: &str = "1";
/// <https://schema.ocsf.io/1.6.0/classes/api_activity>
const OCSF_VERSION: &str = "1.6.0";
const PRODUCT: &str = concat!(
    r#"{"name":"prebuild-gateway","vendor_name":"prebuild-gateway","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
);

/// A record whose place in the log is not known yet.
#[derive(Clone, Debug)]
pub struct Draft {
    pub stage: AuditStage,
    /// Joins the records of one call; none where there is no call.
    pub request: Option<RequestId>,
    /// Ends of calls that are told nowhere if this is not: of an intent none, as its end follows.
    pub ends: u64,
    /// What [`write`] takes.
    pub tail: Vec<u8>,
}

/// What the gateway itself reads of a record.
#[derive(Clone, Debug, Deserialize)]
pub struct Read<'a> {
    pub metadata: Metadata<'a>,
    #[serde(borrow)]
    pub unmapped: Unmapped<'a>,
    #[serde(borrow, default)]
    pub api: Api<'a>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Metadata<'a> {
    pub sequence: u64,
    #[serde(borrow)]
    pub log_name: Cow<'a, str>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Unmapped<'a> {
    pub prev: Hash,
    #[serde(borrow)]
    pub stage: Cow<'a, str>,
    /// Of a segment: see there.
    #[serde(default)]
    pub tree: Vec<Hash>,
    #[serde(default)]
    pub trusted: u64,
    #[serde(default)]
    pub trusted_tree: Vec<Hash>,
    #[serde(default)]
    pub open_from: u64,
    /// Of a checkpoint: the signed note.
    #[serde(borrow, default)]
    pub checkpoint: Option<Cow<'a, str>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Api<'a> {
    #[serde(borrow, default)]
    pub request: Request<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Request<'a> {
    #[serde(borrow, default)]
    pub uid: Cow<'a, str>,
}

/// A record's place in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The instance whose log it is.
    pub log: &'a str,
    pub sequence: u64,
    /// The leaf hash of the record before.
    pub prev: Hash,
}

/// Appends the record to `lines`, and says what its leaf hash is. `tail` is the rest of the object behind
/// `unmapped.prev`, from `"stage":` on: it is made where the record is made, long before its place is known.
pub fn write(place: Place<'_>, tail: &[u8], lines: &mut Vec<u8>) -> Hash {
    let Place { log, sequence, prev } = place;
    let begin = lines.len();
    // To memory, which does not fail. The instance's name has no character that JSON escapes.
    let _ = write!(
        lines,
        r#"{{"metadata":{{"sequence":{sequence},"log_name":"{log}","log_version":"{LOG_VERSION}","product":{PRODUCT},"version":"{OCSF_VERSION}"}},"unmapped":{{"prev":"{prev}","#
    );
    lines.extend_from_slice(tail);
    let leaf = Hash::leaf(&lines[begin..]);
    lines.push(b'\n');
    leaf
}

/// Reads a record; none if it is not one of a log in this format.
pub fn read(record: &[u8]) -> Option<Read<'_>> {
    serde_json::from_slice(record).ok()
}

impl Read<'_> {
    pub fn is(&self, stage: AuditStage) -> bool {
        self.unmapped.stage == stage.as_str()
    }

    /// The call that it is about.
    pub fn request(&self) -> Option<RequestId> {
        RequestId::try_from(self.api.request.uid.clone().into_owned()).ok()
    }
}
