//! Reads ahead of what judges: on a core of its own, with what costs there the most, the hashing of the records.

use std::sync::mpsc::SyncSender;

use super::{Hash, Line, ReadError, Segment};

/// Bytes that are handed over at once: many records, and little to wait for.
const BATCH: usize = 256 << 10;
/// Batches that may be ahead. Memory is bounded whatever the log is.
pub(super) const AHEAD: usize = 4;

/// Records of one segment that follow each other.
pub(super) struct Batch {
    /// Its index.
    pub(super) segment: usize,
    /// The number of the first record, if each has the one that it should have.
    pub(super) first: u64,
    bytes: Vec<u8>,
    /// Where each ends, and its leaf hash.
    records: Vec<(usize, Hash)>,
    /// Of the last one of a segment.
    pub(super) end: Option<End>,
}

/// How what counts of a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Clean,
    /// Within a record.
    Torn,
    /// With a line that is longer than a record may be.
    TooLong,
}

impl Batch {
    fn new(segment: usize, first: u64) -> Self {
        Self { segment, first, bytes: Vec::with_capacity(BATCH), records: Vec::new(), end: None }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (&[u8], Hash)> {
        let mut begin = 0;
        self.records.iter().map(move |(end, leaf)| {
            let record = &self.bytes[begin..*end];
            begin = *end;
            (record, *leaf)
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.records.len() as u64
    }
}

/// Reads the segments until nobody wants more of them.
pub(super) fn read(segments: &[Segment], batches: &SyncSender<Result<Batch, ReadError>>) {
    for index in 0..segments.len() {
        match read_segment(segments, index, batches) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                // Nobody may be left to hear it.
                let _gone = batches.send(Err(error));
                return;
            }
        }
    }
}

/// Whether more is wanted.
fn read_segment(
    segments: &[Segment],
    index: usize,
    batches: &SyncSender<Result<Batch, ReadError>>,
) -> Result<bool, ReadError> {
    let segment = &segments[index];
    let mut lines = segment.lines()?;
    let mut batch = Batch::new(index, segment.first);
    loop {
        let next = batch.first + batch.count();
        if batch.bytes.len() >= BATCH {
            if batches.send(Ok(batch)).is_err() {
                return Ok(false);
            }
            batch = Batch::new(index, next);
        }
        batch.end = match segment.is_void(next) {
            true => Some(End::Clean),
            false => match lines.next()? {
                Line::Record(record) => {
                    batch.bytes.extend_from_slice(record);
                    batch.records.push((batch.bytes.len(), Hash::leaf(record)));
                    None
                }
                Line::TooLong => Some(End::TooLong),
                Line::Torn => Some(End::Torn),
                Line::End => Some(End::Clean),
            },
        };
        if batch.end.is_some() {
            return Ok(batches.send(Ok(batch)).is_ok());
        }
    }
}
