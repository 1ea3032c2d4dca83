//! How much of a log is kept.

use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::segment::{Named, Segment};

/// A segment that is not written any more.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// What is kept. More goes, the oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) bytes: u64,
    pub(super) age: Duration,
}

impl Closed {
    pub(super) fn of(named: Named) -> io::Result<Self> {
        let bytes = fs::metadata(&named.path)?.len();
        Ok(Self { first: named.first, path: named.path, bytes })
    }

    /// Since its last record was written.
    pub(super) fn age(&self) -> Duration {
        let modified = fs::metadata(&self.path).and_then(|metadata| metadata.modified());
        modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok()).unwrap_or_default()
    }
}

impl From<&Segment> for Closed {
    fn from(segment: &Segment) -> Self {
        Self { first: segment.first(), path: segment.path().to_owned(), bytes: segment.size() }
    }
}

impl Retention {
    /// How many of the closed segments are too much, beside one of `written` bytes that is written.
    pub(super) fn doomed(&self, closed: &[Closed], written: u64) -> usize {
        let mut bytes = written + closed.iter().map(|closed| closed.bytes).sum::<u64>();
        let is_too_much = |closed: &&Closed| {
            let is = bytes > self.bytes || closed.age() > self.age;
            bytes -= closed.bytes;
            is
        };
        closed.iter().take_while(is_too_much).count()
    }
}
