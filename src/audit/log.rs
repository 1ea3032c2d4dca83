//! The way to the log: handles that send records to the one writer.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    Config, PATIENCE,
    fill::{Fill, Warning},
    fold::Fold,
    open,
    reach::{Positions, Reach},
    record::Record,
    writer::{self, Told, Waiting, Writer},
};
use crate::telemetry::Metrics;

#[cfg(test)]
pub(super) mod tests;

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
    /// Ends of calls that are told nowhere: they found the queue full, or the disk gone. The writer tells how many.
    missed: Arc<AtomicU64>,
    fold: Arc<Fold>,
    healthy: Arc<AtomicBool>,
    fill: Fill,
    /// How far it can be read, for those who ship it.
    reach: watch::Receiver<Reach>,
    shipped: Positions,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What the writer is sent.
#[derive(Debug)]
pub(super) enum Entry {
    Record(Waiting),
    /// Look whether the file is still there, and has room.
    Probe(oneshot::Sender<Result<(), Unavailable>>),
    /// Write what is queued, then end.
    Close,
}

/// Room for one record in the queue.
#[derive(Debug)]
pub(super) struct Room<'l>(mpsc::Permit<'l, Entry>);

/// The log cannot take a record now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the audit file cannot be written")]
    Write,
    #[error("there is no room for the audit file")]
    Full,
    #[error("the audit file takes too long")]
    Slow,
    #[error("too much waits for the audit file")]
    Busy,
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
    /// Takes the log, or makes it, and closes what a crash left open in it and beside it.
    ///
    /// # Errors
    /// The directory or its files cannot be made, read or written, or a key cannot be used.
    pub fn open(config: &Config, metrics: Metrics) -> Result<Self, OpenError> {
        let failed = |source| OpenError { path: config.directory.clone(), source };
        let shipped = Positions::of(config.ship.iter().map(|sink| sink.name()));
        let journal = open::journal(config, shipped.clone()).map_err(failed)?;
        let (reach, fill) = (journal.reach(), Fill::default());
        let (queue, entries) = mpsc::channel(QUEUE);
        let (missed, healthy) = (Arc::<AtomicU64>::default(), Arc::new(AtomicBool::new(true)));
        let fold = Arc::<Fold>::default();
        let told = Told {
            missed: Arc::clone(&missed),
            fold: Arc::clone(&fold),
            healthy: Arc::clone(&healthy),
            fill: fill.clone(),
        };
        let writer = Writer::new(journal, told, metrics);
        let thread = writer::spawn(writer, entries).map_err(failed)?;
        let writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Shared { queue, missed, fold, healthy, fill, reach, shipped, writer })))
    }

    /// Whether the last group reached the disk.
    pub fn is_healthy(&self) -> bool {
        self.0.healthy.load(Ordering::Relaxed)
    }

    /// What there is to say of how full it is.
    pub fn fill(&self) -> Option<Warning> {
        self.0.fill.warning()
    }

    /// How far it can be read. Ends with the writer.
    pub(super) fn reach(&self) -> watch::Receiver<Reach> {
        self.0.reach.clone()
    }

    /// What sinks have taken of it.
    pub(super) fn shipped(&self) -> &Positions {
        &self.0.shipped
    }

    /// Whether the log could take a record now, as the writer itself finds within `patience`: a directory that is
    /// removed, has no room or hangs must show before the next call meets it. Until the writer has come through after all
    /// nobody else waits for it: reads, which do not wait for the disk, would go on into a queue that nobody empties.
    pub async fn probe(&self, patience: Duration) -> bool {
        let (told, found) = oneshot::channel();
        let answer = timeout(patience, async {
            self.0.queue.send(Entry::Probe(told)).await.map_err(|_| Unavailable::Closed)?;
            found.await.unwrap_or(Err(Unavailable::Closed))
        });
        let found = answer.await.unwrap_or_else(|_| Err(self.slow(Unavailable::Slow)));
        found.is_ok()
    }

    /// Puts an intent on stable storage.
    ///
    /// # Errors
    /// It is not known to be there after 2 s: of `Slow` it may come to be there yet, and its end is owed.
    pub(super) async fn intend(&self, record: &Record) -> Result<(), Unavailable> {
        if !self.is_healthy() {
            return Err(Unavailable::Write);
        }
        let (durable, done) = oneshot::channel();
        let entry = Entry::Record(Waiting { draft: record.draft(), durable: Some(durable) });
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let sent = tokio::time::timeout_at(deadline, self.0.queue.send(entry)).await;
        sent.map_err(|_| self.slow(Unavailable::Busy))?.map_err(|_| Unavailable::Closed)?;
        let done = tokio::time::timeout_at(deadline, done).await;
        done.map_err(|_| self.slow(Unavailable::Slow))?.unwrap_or(Err(Unavailable::Closed))
    }

    /// Puts the end of a call that has an intent on stable storage: sooner or later, whoever waits for it.
    ///
    /// # Errors
    /// It is not known to be there after 2 s.
    pub(super) async fn end(&self, record: &Record) -> Result<(), Unavailable> {
        let (durable, done) = oneshot::channel();
        self.deliver(Waiting { draft: record.draft(), durable: Some(durable) });
        let done = timeout(PATIENCE, done).await;
        done.map_err(|_| self.slow(Unavailable::Slow))?.unwrap_or(Err(Unavailable::Closed))
    }

    /// Hands over the end of a call that may have an intent, and waits for nothing.
    pub(super) fn owe(&self, record: &Record) {
        self.deliver(Waiting { draft: record.draft(), durable: None });
    }

    /// A record that has to get there: where the queue is full it is waited for aside. There are never more of them than
    /// calls were let through.
    fn deliver(&self, waiting: Waiting) {
        let Err(mpsc::error::TrySendError::Full(entry)) = self.0.queue.try_send(Entry::Record(waiting))
        else {
            return;
        };
        let queue = self.0.queue.clone();
        tokio::spawn(async move { queue.send(entry).await });
    }

    /// Until the writer has come through nobody else waits for it.
    fn slow(&self, unavailable: Unavailable) -> Unavailable {
        self.0.healthy.store(false, Ordering::Relaxed);
        unavailable
    }

    /// Waits for room for a record in the queue, not for the disk.
    ///
    /// # Errors
    /// The writer has ended, finds the disk gone, or makes no room within 2 s.
    pub(super) async fn room(&self) -> Result<Room<'_>, Unavailable> {
        if !self.is_healthy() {
            return Err(Unavailable::Write);
        }
        let room = timeout(PATIENCE, self.0.queue.reserve()).await;
        room.map_err(|_| self.slow(Unavailable::Busy))?.map(Room).map_err(|_| Unavailable::Closed)
    }

    /// What is counted of refusals.
    pub(super) fn fold(&self) -> &Fold {
        &self.0.fold
    }

    /// Writes what is queued and ends the writer. Handles that still exist get [`Unavailable::Closed`].
    pub async fn close(&self) {
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
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
    pub(super) fn offer(&self, record: &Record) {
        if self.0.queue.try_send(Entry::of(record)).is_err() {
            self.0.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Room<'_> {
    pub(super) fn take(self, record: &Record) {
        self.0.send(Entry::of(record));
    }
}

impl Entry {
    fn of(record: &Record) -> Self {
        Self::Record(Waiting { draft: record.draft(), durable: None })
    }
}
