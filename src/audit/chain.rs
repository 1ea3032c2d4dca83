//! Where the next record goes: its number, the hash before it, and the tree over all before it.

use std::collections::{BTreeMap, HashMap};

use super::{
    line::{self, Draft, Place},
    tree::{Frontier, Hash},
};
use crate::{call::RequestId, telemetry::metrics::AuditStage};

/// The end of a log.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    log: String,
    tree: Frontier,
    prev: Hash,
}

/// Intents that have no end yet.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenIntents {
    by_request: HashMap<RequestId, u64>,
    by_sequence: BTreeMap<u64, RequestId>,
    /// The first record of the segment that is written.
    segment: u64,
    /// Ends in it of intents that stand before it: few. If it is lost, the intents are open again.
    ended: Vec<(u64, Draft)>,
}

impl Chain {
    /// Of a log in which there is nothing.
    pub(super) fn new(log: impl Into<String>) -> Self {
        Self { log: log.into(), tree: Frontier::default(), prev: Hash::default() }
    }

    /// Goes on behind records of which there is this tree, the last of them with this hash.
    pub(super) fn resume(log: impl Into<String>, tree: Frontier, prev: Hash) -> Self {
        Self { log: log.into(), tree, prev }
    }

    /// The sequence number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.tree.size()
    }

    pub(super) fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// The leaf hash of the record before.
    pub(super) fn prev(&self) -> Hash {
        self.prev
    }

    /// Gives the record its place.
    pub(super) fn add(&mut self, tail: &[u8], lines: &mut Vec<u8>) {
        let place = Place { log: &self.log, sequence: self.next(), prev: self.prev };
        let leaf = line::write(place, tail, lines);
        self.push(leaf);
    }

    /// A record that is there already, if this is its place.
    pub(super) fn follow(&mut self, record: &[u8], read: &line::Read<'_>) -> bool {
        let is_next = (read.metadata.sequence, read.unmapped.prev) == (self.next(), self.prev)
            && read.metadata.log_name == self.log;
        if is_next {
            self.push(Hash::leaf(record));
        }
        is_next
    }

    fn push(&mut self, leaf: Hash) {
        self.tree.push(leaf);
        self.prev = leaf;
    }
}

impl OpenIntents {
    pub(super) fn len(&self) -> u64 {
        self.by_sequence.len() as u64
    }

    /// The sequence number of the oldest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.by_sequence.keys().next().copied()
    }

    /// Whether this ends one of them.
    pub(super) fn is_end(&self, draft: &Draft) -> bool {
        draft.stage != AuditStage::Intent
            && draft.request.is_some_and(|request| self.by_request.contains_key(&request))
    }

    /// A segment begins: what is before it does not depend on it.
    pub(super) fn begin(&mut self, segment: u64) {
        self.segment = segment;
        self.ended.clear();
    }

    /// The segment that was written is lost, and with it these ends of intents that are not.
    pub(super) fn lose(&mut self) -> Vec<Draft> {
        let ended = std::mem::take(&mut self.ended);
        for (sequence, end) in &ended {
            self.open(*sequence, end.request);
        }
        ended.into_iter().map(|(_, end)| end).collect()
    }

    /// The record is in the log.
    pub(super) fn note(&mut self, sequence: u64, draft: &Draft) {
        let Some(request) = draft.request else { return };
        match draft.stage {
            AuditStage::Intent => self.open(sequence, Some(request)),
            AuditStage::Outcome | AuditStage::Reject | AuditStage::Recovered => {
                if let Some(intent) = self.by_request.remove(&request) {
                    self.by_sequence.remove(&intent);
                    if intent < self.segment {
                        self.ended.push((intent, draft.clone()));
                    }
                }
            }
            AuditStage::Segment
            | AuditStage::Aggregate
            | AuditStage::Gap
            | AuditStage::Checkpoint
            | AuditStage::Pruned
            | AuditStage::Shutdown => {}
        }
    }

    fn open(&mut self, sequence: u64, request: Option<RequestId>) {
        let Some(request) = request else { return };
        self.by_request.insert(request, sequence);
        self.by_sequence.insert(sequence, request);
    }
}
