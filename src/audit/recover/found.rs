//! The intents without an end, among the records that are read.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::unix::fs::FileExt as _,
};

use super::{super::segment::Named, AuditStage, line::Read};
use crate::call::RequestId;

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) segment: usize,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    intents: BTreeMap<u64, (RequestId, Spot)>,
    ends: HashMap<RequestId, u64>,
}

impl Found {
    pub(super) fn note(&mut self, read: &Read<'_>, spot: Spot) {
        let Some(request) = read.request() else { return };
        let sequence = read.metadata.sequence;
        if read.is(AuditStage::Intent) {
            self.intents.insert(sequence, (request, spot));
        } else if [AuditStage::Outcome, AuditStage::Reject, AuditStage::Recovered]
            .into_iter()
            .any(|stage| read.is(stage))
        {
            self.ends.entry(request).or_insert(sequence);
        }
    }

    /// What stands from `trusted` on does not count: nobody was told that it was there.
    pub(super) fn void(&mut self, trusted: u64) {
        self.intents.split_off(&trusted);
        self.ends.retain(|_, sequence| *sequence < trusted);
    }

    pub(super) fn open(self, segments: &[Named]) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut open = Vec::new();
        for (sequence, (request, spot)) in self.intents {
            if self.ends.contains_key(&request) {
                continue;
            }
            let mut record = vec![0; spot.length];
            if let Some(segment) = segments.get(spot.segment) {
                super::open(&segment.path)?.read_exact_at(&mut record, spot.offset)?;
                open.push((sequence, record));
            }
        }
        Ok(open)
    }
}
