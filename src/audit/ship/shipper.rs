//! The task of one sink.

use std::{
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    SinkError, Target, aside, batch::Batch, config::Sink, cursor::Cursor, lines::Lines, position,
    store::Store,
};
use crate::{
    audit::{
        Log,
        reach::{Positions, Reach},
        read::{Instance, Line, Segment, View},
    },
    telemetry::Metrics,
};

/// Between batches where all was shipped: few requests, each with much in it, and still within a second.
const LINGER: Duration = Duration::from_millis(250);
/// A sink that fails is tried again after this, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Up to this: it is found again soon enough, and a collector that comes back is not run over.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// More than lines of a batch take: that is told, each time.
const PATIENCE: Duration = Duration::from_secs(60);
/// A position is on disk so often at most: bounds what comes again after a crash, and is no load on the disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Ships one log to one sink.
#[derive(Debug)]
pub(super) struct Shipper {
    name: String,
    sink: Sink,
    reach: watch::Receiver<Reach>,
    positions: Positions,
    cursor: Cursor,
    /// What of the position is on disk, since when, and beside which log.
    kept: Option<(u64, Instant, Arc<Path>)>,
    is_failing: bool,
    /// For a write of lines, until it is told that it takes too long.
    pub(super) patience: Duration,
    metrics: Metrics,
}

/// A segment to put somewhere, and what goes with it.
#[derive(Debug)]
struct Closed {
    segment: Segment,
    /// The number of the first record behind it.
    end: u64,
    log: String,
    key: String,
    begun: Option<i64>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Shipped,
    /// There is nothing to ship.
    Idle,
}

impl Shipper {
    pub(super) fn new(log: &Log, target: Target, metrics: Metrics) -> Self {
        Self {
            name: target.name,
            sink: target.sink,
            reach: log.reach(),
            positions: log.shipped().clone(),
            cursor: Cursor::at(0),
            kept: None,
            is_failing: false,
            patience: PATIENCE,
            metrics,
        }
    }

    /// Runs until the log has ended and was shipped, or could not be.
    pub(super) async fn run(mut self) {
        self.begin().await;
        let mut pause = FIRST_PAUSE;
        loop {
            let is_over = self.reach.has_changed().is_err();
            let reach = self.reach.borrow_and_update().clone();
            let from = self.cursor.next();
            match self.step(&reach, is_over).await {
                Ok(step) => {
                    self.works();
                    pause = FIRST_PAUSE;
                    if step == Step::Idle {
                        if is_over {
                            return self.keep(&reach, true).await;
                        }
                        self.rest().await;
                    }
                    self.keep(&reach, false).await;
                }
                Err(error) => {
                    self.cursor.rewind(from);
                    self.fails(&error);
                    if is_over {
                        return self.keep(&reach, true).await;
                    }
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = ended(&mut self.reach) => {}
                    }
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn begin(&mut self) {
        let reach = self.reach.borrow().clone();
        let (directory, name) = (Arc::clone(&reach.directory), self.name.clone());
        let position = aside(move || Ok(position::read(&directory, &name)?)).await.unwrap_or_else(|error| {
            tracing::warn!(sink = self.name, %error, "where the sink was left is not known; it gets the whole log");
            0
        });
        if position > reach.trusted {
            tracing::warn!(
                sink = self.name,
                position,
                records = reach.trusted,
                "the sink has more records than the log; it gets the whole log"
            );
        }
        self.cursor = Cursor::at(if position > reach.trusted { 0 } else { position });
        self.positions.set(&self.name, self.cursor.next());
    }

    async fn step(&mut self, reach: &Reach, is_over: bool) -> Result<Step, SinkError> {
        let mut rejected = 0;
        let records = match self.sink.clone() {
            Sink::Store(store) => self.put(&store, reach, is_over).await?,
            Sink::Lines(lines) => {
                let batch = self.next(reach).await?;
                self.write(&lines, &batch).await?;
                batch.len() as u64
            }
            Sink::Otlp(otlp) => {
                let batch = self.next(reach).await?;
                if batch.len() > 0 {
                    rejected = otlp.take(Arc::clone(&batch)).await?;
                }
                batch.len() as u64
            }
        };
        if records == 0 {
            self.lags(reach, None);
            return Ok(Step::Idle);
        }
        self.metrics.audit_shipped(&self.name, records - rejected, rejected);
        Ok(Step::Shipped)
    }

    /// The next segment; so many records.
    async fn put(&mut self, store: &Store, reach: &Reach, is_over: bool) -> Result<u64, SinkError> {
        let Some(closed) =
            self.read(reach, move |cursor, reach| Closed::next(cursor, reach, is_over)).await?
        else {
            return Ok(0);
        };
        self.lags(reach, closed.begun);
        store.put(&closed.segment, &closed.log, closed.key).await?;
        let records = closed.end - closed.segment.first.max(self.cursor.next());
        self.cursor.pass(closed.end);
        Ok(records)
    }

    /// A write that blocks cannot be called back, and a second one would only wait behind it: it is waited for, and told.
    async fn write(&mut self, lines: &Lines, batch: &Arc<Batch>) -> Result<(), SinkError> {
        let mut written = pin!(lines.take(Arc::clone(batch)));
        loop {
            match timeout(self.patience, &mut written).await {
                Ok(written) => return written,
                Err(_) => {
                    self.fails(&SinkError::Slow);
                    self.owes(batch);
                }
            }
        }
    }

    async fn next(&mut self, reach: &Reach) -> Result<Arc<Batch>, SinkError> {
        let batch = self.read(reach, |cursor, reach| Ok(cursor.read(reach)?)).await?;
        // Before it is taken: where that fails, this is how far behind the sink is.
        self.owes(&batch);
        Ok(Arc::new(batch))
    }

    async fn read<T: Send + 'static>(
        &mut self,
        reach: &Reach,
        read: impl FnOnce(&mut Cursor, &Reach) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let next = self.cursor.next();
        let (mut cursor, reach) = (std::mem::replace(&mut self.cursor, Cursor::at(next)), reach.clone());
        let work = aside(move || {
            let found = read(&mut cursor, &reach);
            Ok((cursor, found))
        });
        let (cursor, found) = work.await?;
        self.cursor = cursor;
        found
    }

    /// Until there may be something new.
    async fn rest(&mut self) {
        if self.reach.changed().await.is_ok() {
            tokio::select! {
                () = sleep(LINGER) => {}
                () = ended(&mut self.reach) => {}
            }
        }
    }

    /// Brings the position to disk. Until it is there nothing that was shipped may be removed.
    async fn keep(&mut self, reach: &Reach, at_once: bool) {
        let position = self.cursor.next();
        let is_known = self.kept.as_ref().is_some_and(|(kept, at, directory)| {
            *directory == reach.directory && (*kept == position || (!at_once && at.elapsed() < KEEP_EVERY))
        });
        if is_known {
            return;
        }
        let (directory, name) = (Arc::clone(&reach.directory), self.name.clone());
        match aside(move || Ok(position::write(&directory, &name, position)?)).await {
            Ok(()) => {
                self.positions.set(&self.name, position);
                self.kept = Some((position, Instant::now(), Arc::clone(&reach.directory)));
            }
            // The log itself is in trouble then, and tells.
            Err(error) => {
                tracing::debug!(sink = self.name, %error, "the position of a sink cannot be written")
            }
        }
    }

    fn lags(&self, reach: &Reach, oldest: Option<i64>) {
        let records = reach.trusted.saturating_sub(self.cursor.next());
        self.metrics.audit_ship_lags(&self.name, records, age(oldest));
    }

    /// While the batch is not taken.
    fn owes(&self, batch: &Batch) {
        let oldest = batch.records().next().and_then(View::of).map(|view| view.time);
        let records = self.reach.borrow().trusted.saturating_sub(batch.from);
        self.metrics.audit_ship_lags(&self.name, records, age(oldest));
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(sink = self.name, "audit records are shipped again");
        }
    }

    /// Told once, and counted each time.
    fn fails(&mut self, error: &SinkError) {
        self.metrics.audit_ship_failed(&self.name);
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(sink = self.name, error = ?error.to_string(), "audit records cannot be shipped; they are kept");
        }
    }
}

impl Closed {
    fn next(cursor: &mut Cursor, reach: &Reach, is_over: bool) -> Result<Option<Self>, SinkError> {
        let Some((segment, end)) = cursor.closed(reach, is_over)? else { return Ok(None) };
        let (log, key) = beside(&reach.directory)?;
        let begun = first_time(&segment);
        Ok(Some(Self { segment, end, log, key, begun }))
    }
}

/// The writer has closed the log.
async fn ended(reach: &mut watch::Receiver<Reach>) {
    while reach.changed().await.is_ok() {}
}

/// The log's name, and the key that it is verified with.
fn beside(directory: &Path) -> Result<(String, String), SinkError> {
    let instance =
        Instance::open(directory)?.ok_or(std::io::ErrorKind::NotFound).map_err(std::io::Error::from)?;
    Ok((instance.name().to_owned(), instance.key()?))
}

fn first_time(segment: &Segment) -> Option<i64> {
    let mut lines = segment.lines().ok()?;
    match lines.next().ok()? {
        Line::Record(record) => View::of(record).map(|view| view.time),
        _ => None,
    }
}

/// Since this time, in milliseconds since 1970; none if there is no record.
fn age(time: Option<i64>) -> Duration {
    let Some(time) = time.and_then(|time| u64::try_from(time).ok()) else { return Duration::ZERO };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(time))
}
