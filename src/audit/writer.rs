//! The one that writes: groups of records, one fdatasync per group.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Map, json};
use tokio::{
    sync::{mpsc::Receiver, oneshot},
    time::timeout,
};

use super::{
    fill::Fill,
    fold::Fold,
    journal::{Fault, Journal},
    line::Draft,
    log::{Entry, Unavailable},
    record::Record,
};
use crate::telemetry::{Metrics, metrics::AuditStage};

#[cfg(test)]
mod tests;

/// Records per fdatasync: groups of 256 take a disk from hundreds of records a second to tens of thousands.
const GROUP: usize = 256;
/// Between looks where nothing comes: half a second until a file that has gone is noticed, and checkpoints in time.
const TICK: Duration = Duration::from_millis(250);
/// Between tries of a disk that failed: well inside the 2 s within which a repair must show (promise P5).
const RETRY: Duration = Duration::from_millis(100);

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    journal: Journal,
    /// Ends of calls that were not written when they came. They are written first, once that is possible.
    owed: Vec<Waiting>,
    /// Ends of calls that were written and not yet brought to stable storage, unless the journal has done so by itself.
    in_doubt: u64,
    told: Told,
    metrics: Metrics,
    /// When the journal was last opened again, or that was tried.
    tried: Option<Instant>,
    /// That it cannot be opened again was said.
    is_shut: bool,
}

/// What the handles tell the writer, and the other way round.
#[derive(Debug)]
pub(super) struct Told {
    /// Ends of calls that are missing, of which there is no word yet.
    pub(super) missed: Arc<AtomicU64>,
    /// Refusals that are counted.
    pub(super) fold: Arc<Fold>,
    pub(super) healthy: Arc<AtomicBool>,
    /// How full the log is.
    pub(super) fill: Fill,
}

/// Told when a record is on stable storage, or that it is not.
type Durable = oneshot::Sender<Result<(), Unavailable>>;

/// A record, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) durable: Option<Durable>,
}

/// What came together.
#[derive(Debug, Default)]
struct Group {
    ends: Vec<Waiting>,
    others: Vec<Waiting>,
    probes: Vec<Durable>,
    closes: bool,
}

impl Waiting {
    /// An intent whose call is over.
    fn is_given_up(&self) -> bool {
        self.draft.stage == AuditStage::Intent && self.durable.as_ref().is_some_and(Durable::is_closed)
    }
}

impl Writer {
    pub(super) fn new(journal: Journal, told: Told, metrics: Metrics) -> Self {
        Self { journal, owed: Vec::new(), in_doubt: 0, told, metrics, tried: None, is_shut: false }
    }

    /// Runs until it is told to close, or the last handle is gone. Blocks its thread while the disk works.
    pub(super) async fn run(mut self, mut entries: Receiver<Entry>) {
        let mut batch = Vec::with_capacity(GROUP);
        let mut ticked = Instant::now();
        loop {
            let pause = if self.journal.is_open() { TICK } else { RETRY };
            let came = timeout(pause, entries.recv_many(&mut batch, GROUP)).await;
            let group = self.sort(&mut batch);
            let is_over = group.closes || came.is_ok_and(|count| count == 0);
            self.reopen();
            self.commit(group);
            if is_over {
                return self.finish();
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
        }
    }

    fn sort(&self, batch: &mut Vec<Entry>) -> Group {
        let mut group = Group::default();
        for entry in batch.drain(..) {
            match entry {
                Entry::Record(waiting) if self.journal.is_owed(&waiting.draft) => group.ends.push(waiting),
                // Its call was refused, as it took too long: nothing of it is to follow.
                Entry::Record(waiting) if waiting.is_given_up() => {}
                Entry::Record(waiting) => group.others.push(waiting),
                Entry::Probe(told) => group.probes.push(told),
                Entry::Close => group.closes = true,
            }
        }
        group
    }

    /// Writes a group and answers those who wait for it. Ends come first: room is kept for them, also on a full disk.
    fn commit(&mut self, group: Group) {
        let Group { ends, others, probes, .. } = group;
        self.owed.extend(ends);
        self.write_owed();
        self.write_others(others);
        if !probes.is_empty() {
            let found = self.probe();
            for told in probes {
                let _gone = told.send(found);
            }
        }
    }

    fn write_owed(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        let owed = std::mem::take(&mut self.owed);
        let (drafts, durable): (Vec<_>, Vec<_>) =
            owed.into_iter().map(|waiting| (waiting.draft, waiting.durable)).unzip();
        match self.write(&drafts, true) {
            Ok(()) => answer(durable, Ok(())),
            // They are not lost: whoever waits does so as long as it cares to.
            Err(_) => {
                let again = drafts.into_iter().zip(durable);
                self.owed = again.map(|(draft, durable)| Waiting { draft, durable }).collect();
            }
        }
    }

    fn write_others(&mut self, others: Vec<Waiting>) {
        if others.is_empty() {
            return;
        }
        let missed = self.told.missed.swap(0, Ordering::Relaxed);
        let (mut drafts, durable): (Vec<_>, Vec<_>) =
            others.into_iter().map(|waiting| (waiting.draft, waiting.durable)).unzip();
        drafts.extend((missed > 0).then(|| gap(missed).draft()));
        let waits = durable.iter().any(Option::is_some);
        let written = self.write(&drafts, waits || missed > 0);
        if written.is_err() {
            self.told.missed.fetch_add(ends(&drafts), Ordering::Relaxed);
        }
        answer(durable, written);
    }

    fn write(&mut self, drafts: &[Draft], sync: bool) -> Result<(), Unavailable> {
        let (begun, in_doubt) = (Instant::now(), self.in_doubt());
        match self.journal.append(drafts, sync) {
            Ok(()) => {
                self.in_doubt = if sync { 0 } else { in_doubt + ends(drafts) };
                drafts.iter().for_each(|draft| self.metrics.audit_recorded(draft.stage));
                if sync {
                    self.metrics.audit_synced(begun.elapsed());
                }
                self.is_well();
                Ok(())
            }
            Err(fault) => Err(self.broke(&fault, in_doubt)),
        }
    }

    /// Whether a record could be taken now.
    fn probe(&mut self) -> Result<(), Unavailable> {
        let in_doubt = self.in_doubt();
        match self.journal.look().and_then(|()| self.journal.find_room()) {
            Ok(()) => {
                self.is_well();
                Ok(())
            }
            Err(fault) => Err(self.broke(&fault, in_doubt)),
        }
    }

    fn tick(&mut self) {
        let in_doubt = self.in_doubt();
        if self.journal.is_open()
            && let Err(fault) = self.journal.tick()
        {
            self.broke(&fault, in_doubt);
            self.reopen();
        }
        if !self.is_healthy() && self.probe().is_ok() {
            self.tell_gap();
        }
        // What is counted meanwhile can wait: told to a disk that is gone, it would be a mere gap.
        if self.is_healthy() {
            let folded = self.told.fold.due(SystemTime::now());
            self.write_own(&folded);
        }
        self.journal.tell();
        self.measure();
    }

    /// How full the log is.
    fn measure(&mut self) {
        let figures = self.journal.figures();
        self.told.fill.note(Instant::now(), self.journal.written(), figures);
        self.metrics.audit_measured(figures.bytes, figures.cap, figures.oldest);
        self.metrics.audit_pruned(self.journal.pruned());
    }

    /// Records that nobody waits for.
    fn write_own(&mut self, records: &[Record]) {
        let waiting = records.iter().map(|record| Waiting { draft: record.draft(), durable: None });
        self.write_others(waiting.collect());
    }

    /// Of what is in doubt nobody is told twice.
    fn in_doubt(&self) -> u64 {
        if self.journal.is_open() && self.journal.in_doubt() > 0 { self.in_doubt } else { 0 }
    }

    fn is_healthy(&self) -> bool {
        self.told.healthy.load(Ordering::Relaxed)
    }

    fn is_well(&self) {
        if !self.told.healthy.swap(true, Ordering::Relaxed) {
            tracing::info!("the audit log can be written again");
        }
    }

    /// `in_doubt` ends of calls were written before it and not yet brought to stable storage.
    fn broke(&mut self, fault: &Fault, in_doubt: u64) -> Unavailable {
        self.told.healthy.store(false, Ordering::Relaxed);
        self.metrics.audit_failed();
        match fault {
            Fault::Full(error) => {
                tracing::error!(error = ?error.to_string(), "there is no room for the audit log");
                Unavailable::Full
            }
            Fault::Broken(error) => {
                tracing::error!(error = ?error.to_string(), "the audit log cannot be written");
                self.told.missed.fetch_add(in_doubt, Ordering::Relaxed);
                Unavailable::Write
            }
        }
    }

    /// After a failure, goes on in a new file, proved by the gap record that is owed.
    fn reopen(&mut self) {
        // However many groups come: each try makes a file.
        if self.journal.is_open() || self.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return;
        }
        self.tried = Some(Instant::now());
        match self.journal.reopen() {
            Ok(()) => {
                self.is_shut = false;
                self.is_well();
                self.tell_gap();
            }
            Err(error) if self.is_shut => tracing::debug!(%error, "the audit log cannot be opened again yet"),
            Err(error) => {
                self.is_shut = true;
                tracing::warn!(error = ?error.to_string(), "the audit log cannot be opened again yet");
            }
        }
    }

    /// With what was on stable storage and is lost.
    fn tell_gap(&mut self) {
        let missed = self.told.missed.swap(0, Ordering::Relaxed) + self.journal.take_lost();
        if missed > 0 && self.write(&[gap(missed).draft()], true).is_err() {
            self.told.missed.fetch_add(missed, Ordering::Relaxed);
        }
    }

    /// What nobody waited for is on disk all the same when the process ends.
    fn finish(mut self) {
        self.write_owed();
        let folded = self.told.fold.rest();
        self.write_own(&folded);
        self.tell_gap();
        let missed = self.told.missed.load(Ordering::Relaxed);
        if missed > 0 || !self.owed.is_empty() {
            let owed = self.owed.len();
            tracing::error!(missed, owed, "the audit log ends without these ends of calls");
        }
        match self.journal.close() {
            Ok(()) => {}
            Err(fault) => {
                let error = std::io::Error::from(fault);
                tracing::error!(error = ?error.to_string(), "the end of the audit log may be lost");
            }
        }
    }
}

/// A call that no longer waits has given its own answer.
fn answer(durable: Vec<Option<Durable>>, written: Result<(), Unavailable>) {
    for durable in durable.into_iter().flatten() {
        let _gone = durable.send(written);
    }
}

fn ends(drafts: &[Draft]) -> u64 {
    drafts.iter().map(|draft| draft.ends).sum()
}

/// The ends of `count` calls are missing here.
pub(super) fn gap(count: u64) -> Record {
    Record::own(AuditStage::Gap, Map::from_iter([("count".to_owned(), json!(count))]))
}

/// Runs the writer in a thread of its own, as the disk blocks it.
pub(super) fn spawn(writer: Writer, entries: Receiver<Entry>) -> std::io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("audit".to_owned()).spawn(move || runtime.block_on(writer.run(entries)))
}
