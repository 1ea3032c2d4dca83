//! How far a log can be read while it is written, and how far sinks have taken it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What readers may rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// The log's own.
    pub(super) directory: Arc<Path>,
    /// Grows with every segment that is begun: what a reader has seen of the directory is old then, and records that it
    /// has not read yet may have become void.
    pub(super) generation: u64,
    /// The records before this number are on stable storage, but for those that the segments say are void.
    pub(super) trusted: u64,
}

/// How far each sink has taken the log, by what is on disk about it: what is before the lowest may be removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Positions(Arc<[(String, AtomicU64)]>);

impl Positions {
    /// Of sinks that have taken nothing, as far as is known yet.
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().map(|name| (name.to_owned(), AtomicU64::new(0))).collect())
    }

    /// The sink needs no record before this number again, also after a crash.
    pub(super) fn set(&self, name: &str, position: u64) {
        let of = self.0.iter().find(|(of, _)| of == name);
        of.into_iter().for_each(|(_, at)| at.store(position, Ordering::Relaxed));
    }

    /// None where there is no sink: nobody waits for anything.
    pub(super) fn lowest(&self) -> Option<u64> {
        self.0.iter().map(|(_, at)| at.load(Ordering::Relaxed)).min()
    }
}
