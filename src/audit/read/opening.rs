//! What the first record of a segment says of those before it.

use serde::Deserialize;

use crate::audit::tree::Hash;

/// `unmapped` of a record `segment`, as far as it tells where the log goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Opening {
    /// The roots of the tree over all before it.
    pub tree: Vec<Hash>,
    /// The records from this number on are void, up to this one.
    pub trusted: u64,
    /// The roots of the tree of so many records, where some are void.
    pub trusted_tree: Option<Vec<Hash>>,
    /// So many were signed, where that is more than can be trusted.
    pub signed: Option<u64>,
}

#[derive(Deserialize)]
struct First {
    unmapped: Opening,
}

impl Opening {
    /// None if it says nothing that can be read.
    pub fn of(record: &[u8]) -> Option<Self> {
        let first: Option<First> = serde_json::from_slice(record).ok();
        first.map(|first| first.unmapped)
    }
}
