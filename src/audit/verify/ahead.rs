//! Reads ahead of what judges: one thread hashes the records, another one parses them. These cost the most, and need
//! nothing of the records before.

use std::{
    borrow::Cow,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::Scope,
};

use serde::Deserialize;

use super::{Hash, Line, ReadError, Segment};

/// Bytes that are handed over at once: many records, and little to wait for.
const BATCH: usize = 256 << 10;
/// Batches that may wait for each of what comes next. Memory is bounded whatever the log is.
const AHEAD: usize = 4;

/// Records of one segment that follow each other.
pub(super) struct Batch {
    hashed: Hashed,
    /// The call that each is about: see [`Record::call`].
    calls: Vec<Option<Box<str>>>,
}

/// The same, not parsed yet.
struct Hashed {
    segment: usize,
    first: u64,
    bytes: Vec<u8>,
    /// Where each ends, and its leaf hash.
    records: Vec<(usize, Hash)>,
    end: Option<End>,
}

/// A line of a segment.
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) leaf: Hash,
    /// The request id, empty where it has none. None if the record is no JSON.
    pub(super) call: Option<&'a str>,
}

/// Of a record no more than is needed: what is passed over costs half.
#[derive(Deserialize)]
struct Parsed<'a> {
    #[serde(borrow, default)]
    api: Api<'a>,
}

#[derive(Default, Deserialize)]
struct Api<'a> {
    #[serde(borrow, default)]
    request: Request<'a>,
}

#[derive(Default, Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
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
    fn parse(hashed: Hashed) -> Self {
        let calls = hashed.records().map(|(record, _)| call(record)).collect();
        Self { hashed, calls }
    }

    /// The index of their segment.
    pub(super) fn segment(&self) -> usize {
        self.hashed.segment
    }

    /// The number of the first record, if each has the one that it should have.
    pub(super) fn first(&self) -> u64 {
        self.hashed.first
    }

    pub(super) fn count(&self) -> u64 {
        self.hashed.count()
    }

    /// Of the last one of a segment.
    pub(super) fn end(&self) -> Option<End> {
        self.hashed.end
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let records = self.hashed.records().zip(&self.calls);
        records.map(|((bytes, leaf), call)| Record { bytes, leaf, call: call.as_deref() })
    }
}

impl Hashed {
    fn new(segment: usize, first: u64) -> Self {
        Self { segment, first, bytes: Vec::with_capacity(BATCH), records: Vec::new(), end: None }
    }

    fn records(&self) -> impl Iterator<Item = (&[u8], Hash)> {
        let mut begin = 0;
        self.records.iter().map(move |(end, leaf)| {
            let record = &self.bytes[begin..*end];
            begin = *end;
            (record, *leaf)
        })
    }

    fn count(&self) -> u64 {
        self.records.len() as u64
    }
}

/// Reads the segments until nobody wants more of them.
pub(super) fn read<'scope>(
    segments: &'scope [Segment],
    scope: &'scope Scope<'scope, '_>,
) -> Receiver<Result<Batch, ReadError>> {
    let (to_parse, hashed) = sync_channel(AHEAD);
    let (to_judge, parsed) = sync_channel(AHEAD);
    scope.spawn(move || hash(segments, &to_parse));
    scope.spawn(move || {
        for hashed in hashed {
            if to_judge.send(hashed.map(Batch::parse)).is_err() {
                return;
            }
        }
    });
    parsed
}

fn call(record: &[u8]) -> Option<Box<str>> {
    // Once for all: of what is passed over nothing would be looked at.
    let record = str::from_utf8(record).ok()?;
    let record: Parsed<'_> = serde_json::from_str(record).ok()?;
    Some((*record.api.request.uid).into())
}

fn hash(segments: &[Segment], batches: &SyncSender<Result<Hashed, ReadError>>) {
    for index in 0..segments.len() {
        match hash_segment(segments, index, batches) {
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
fn hash_segment(
    segments: &[Segment],
    index: usize,
    batches: &SyncSender<Result<Hashed, ReadError>>,
) -> Result<bool, ReadError> {
    let segment = &segments[index];
    let mut lines = segment.lines()?;
    let mut batch = Hashed::new(index, segment.first);
    loop {
        let next = batch.first + batch.count();
        if batch.bytes.len() >= BATCH {
            if batches.send(Ok(batch)).is_err() {
                return Ok(false);
            }
            batch = Hashed::new(index, next);
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
