//! The way to the log: handles that send records to the one writer.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    fold::{Fold, Kind},
    record::Record,
    writer::{self, Writer},
};
use crate::{call::Context, error::Error, telemetry::Metrics};

/// The log's file in the audit directory.
const FILE: &str = "audit.jsonl";
/// Records waiting for the writer. At some 1 KiB each this bounds the memory at 4 MiB.
const QUEUE: usize = 4096;

/// How long the end of the process waits for the disk.
const CLOSE: Duration = Duration::from_secs(5);
const CLOSE_POLL: Duration = Duration::from_millis(5);

/// A handle on the log; clones share one writer.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: mpsc::Sender<Entry>,
    gaps: Arc<Gaps>,
    fold: Fold,
    healthy: Arc<AtomicBool>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Records that are not there one by one; the writer tells how many in gap records.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// They found the queue full, or the disk gone.
    pub(super) missed: AtomicU64,
}

/// What the writer is sent.
#[derive(Debug)]
pub(super) enum Entry {
    Record {
        record: Box<Record>,
        /// Told when the record is on stable storage, or that it is not.
        durable: Option<oneshot::Sender<Result<(), Unavailable>>>,
    },
    /// Look whether the file is still there.
    Probe(oneshot::Sender<Result<(), Unavailable>>),
    /// Write what is queued, then end.
    Close,
}

/// The log cannot take a record now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the audit file cannot be written")]
    Write,
    #[error("the audit file takes too long")]
    Slow,
    #[error("the audit writer has ended")]
    Closed,
}

/// The log cannot be opened at start.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log `{}`", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl Log {
    /// Opens the log in `directory`, creating both where they are not there.
    ///
    /// # Errors
    /// The directory or the file cannot be made or written.
    pub fn open(directory: &Path, metrics: Metrics) -> Result<Self, OpenError> {
        let path = directory.join(FILE);
        let failed = |source| OpenError { path: path.clone(), source };
        // For the gateway's own user alone: it says who did what.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let file = writer::open(&path).map_err(failed)?;

        let (queue, entries) = mpsc::channel(QUEUE);
        let gaps = Arc::<Gaps>::default();
        let healthy = Arc::new(AtomicBool::new(true));
        let writer = Writer::new(path.clone(), file, Arc::clone(&gaps), Arc::clone(&healthy), metrics);
        let thread = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(entries))
            .map_err(failed)?;
        let writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Shared { queue, gaps, fold: Fold::default(), healthy, writer })))
    }

    /// Whether the last group reached the disk.
    pub fn is_healthy(&self) -> bool {
        self.0.healthy.load(Ordering::Relaxed)
    }

    /// Whether the log could take a record now, as the writer itself finds within `patience`: a directory that is
    /// removed, or a disk that hangs, must show before the next call meets it. That a disk is full shows only with the
    /// next record.
    pub async fn probe(&self, patience: Duration) -> bool {
        self.0.fold.due(SystemTime::now()).into_iter().for_each(|record| self.offer(record));
        let (told, found) = oneshot::channel();
        let answer = timeout(patience, async {
            self.0.queue.send(Entry::Probe(told)).await.map_err(|_| Unavailable::Closed)?;
            found.await.unwrap_or(Err(Unavailable::Closed))
        });
        matches!(answer.await, Ok(Ok(())))
    }

    /// Puts a record on stable storage.
    ///
    /// # Errors
    /// It is not known to be there after `patience`.
    pub(super) async fn append(&self, record: Record, patience: Duration) -> Result<(), Unavailable> {
        let (durable, done) = oneshot::channel();
        let entry = Entry::Record { record: Box::new(record), durable: Some(durable) };
        timeout(patience, async {
            self.0.queue.send(entry).await.map_err(|_| Unavailable::Closed)?;
            done.await.unwrap_or(Err(Unavailable::Closed))
        })
        .await
        .unwrap_or(Err(Unavailable::Slow))
    }

    /// Hands a record over; waits for room in the queue, not for the disk.
    ///
    /// # Errors
    /// The writer has ended, or finds the disk gone.
    pub(super) async fn enqueue(&self, record: Record) -> Result<(), Unavailable> {
        if !self.is_healthy() {
            // The record goes in all the same: the writer tries the disk again with every group.
            self.offer(record);
            return Err(Unavailable::Write);
        }
        self.0.queue.send(Entry::of(record)).await.map_err(|_| Unavailable::Closed)
    }

    /// Records a refusal that never became a call. It is not waited for: a flood of refusals must not hold up calls.
    /// What finds no room is counted in a gap record, and so is what a peer has too many of: a flood must not fill the disk.
    pub fn refused(&self, context: &Context, error: &Error) {
        let kind = Kind::of(context, error, None);
        let record = self.0.fold.admit(kind, SystemTime::now(), || Record::refused(context, error));
        record.into_iter().for_each(|record| self.offer(record));
    }

    /// What is counted of refusals.
    pub(super) fn fold(&self) -> &Fold {
        &self.0.fold
    }

    /// Writes what is queued and ends the writer. Handles that still exist get [`Unavailable::Closed`].
    pub async fn close(&self) {
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
        self.0.fold.rest().into_iter().for_each(|record| self.offer(record));
        // A disk that hangs must not hold up the end of the process.
        let _over = timeout(CLOSE, async {
            // A writer that has ended has nothing left to write; the panic hook has told why.
            if self.0.queue.send(Entry::Close).await.is_ok() {
                while !writer.is_finished() {
                    sleep(CLOSE_POLL).await;
                }
            }
        })
        .await;
    }

    /// Hands a record over and waits for nothing. What finds no room is counted in a gap record.
    pub(super) fn offer(&self, record: Record) {
        if self.0.queue.try_send(Entry::of(record)).is_err() {
            self.0.gaps.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Entry {
    fn of(record: Record) -> Self {
        Self::Record { record: Box::new(record), durable: None }
    }
}
