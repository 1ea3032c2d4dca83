//! A record as the log has it: what every line begins with, and reading it back. `docs/audit-log.md` describes it.

use std::io::Write as _;

use super::tree::Hash;

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
