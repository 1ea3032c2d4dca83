//! What was removed by the rules of retention, and not otherwise.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{Bad, Hash, Reason};

/// What the records `pruned` say, and what is there.
#[derive(Debug, Default)]
pub(super) struct Pruned {
    /// The root of the tree that each segment of the log begins with.
    begins: BTreeMap<u64, Hash>,
    /// The records before this one are not there, and are not void.
    base: u64,
    /// The records before this one are removed by a record that no checkpoint stands behind yet.
    said: u64,
    /// The same, where one does: nobody without the key can have written it.
    signed: u64,
}

#[derive(Deserialize)]
struct Record {
    unmapped: Removed,
}

#[derive(Deserialize)]
struct Removed {
    size: u64,
    root: String,
}

impl Pruned {
    pub(super) fn begin(&mut self, first: u64, root: Hash) {
        self.begins.insert(first, root);
    }

    pub(super) fn base(&mut self, trusted: u64) {
        self.base = trusted;
    }

    pub(super) fn take(&mut self, sequence: u64, record: &[u8]) -> Result<(), Reason> {
        let removed: Record = serde_json::from_slice(record).map_err(|_| Reason::Field("size"))?;
        let Removed { size, root } = removed.unmapped;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).map(Hash::from_bytes);
        let root = root.ok_or(Reason::Field("root"))?;
        if size > sequence || self.begins.get(&size).is_some_and(|own| *own != root) {
            return Err(Reason::Pruned);
        }
        self.said = self.said.max(size);
        Ok(())
    }

    pub(super) fn sign(&mut self) {
        self.signed = self.said;
    }

    /// Whether what is before the oldest segment was pruned, as far as it is not void.
    pub(super) fn finish(&self) -> Result<(), Bad> {
        if self.base <= self.signed { Ok(()) } else { Err((self.base - 1, Reason::Unpruned)) }
    }
}
