//! How much of a log is kept.
//!
//! How old a record is, the log itself says: the times of a file are what anybody sets them to.

use std::{
    cell::OnceCell,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    read::{Line, Lines, View},
    segment::{Named, Segment},
};

/// A segment that is not written any more.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When it was begun, once that was asked for.
    begun: OnceCell<Option<SystemTime>>,
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
        Ok(Self { first: named.first, path: named.path, bytes, begun: OnceCell::new() })
    }

    /// None if it cannot be read any more.
    fn begun(&self) -> Option<SystemTime> {
        *self.begun.get_or_init(|| begun(&self.path))
    }
}

impl From<&Segment> for Closed {
    fn from(segment: &Segment) -> Self {
        let path = segment.path().to_owned();
        Self { first: segment.first(), path, bytes: segment.size(), begun: OnceCell::new() }
    }
}

impl Retention {
    /// How many of the closed segments are too much, beside the one of `written` bytes that is written for so long.
    pub(super) fn doomed(&self, closed: &[Closed], written: u64, since: Duration) -> usize {
        let mut bytes = written + closed.iter().map(|closed| closed.bytes).sum::<u64>();
        let is_too_much = |(index, one): &(usize, &Closed)| {
            let is = bytes > self.bytes || self.is_old(closed, *index, since);
            bytes -= one.bytes;
            is
        };
        closed.iter().enumerate().take_while(is_too_much).count()
    }

    /// Whether one of the closed segments is older than what is kept.
    pub(super) fn is_old(&self, closed: &[Closed], index: usize, since: Duration) -> bool {
        age(closed, index, since) > self.age
    }
}

/// How old the newest record of a closed segment is at least: the time since the one behind it was begun. `since` is that
/// of the one that is written.
pub(super) fn age(closed: &[Closed], index: usize, since: Duration) -> Duration {
    let behind = closed.get(index + 1..).unwrap_or_default().iter().find_map(Closed::begun);
    behind.map_or(since, |begun| SystemTime::now().duration_since(begun).unwrap_or_default())
}

/// The time of the first record of a segment.
pub(super) fn begun(segment: &Path) -> Option<SystemTime> {
    let mut lines = Lines::open(segment).ok()?;
    let Line::Record(record) = lines.next().ok()? else { return None };
    let since = u64::try_from(View::of(record)?.time).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since))
}
