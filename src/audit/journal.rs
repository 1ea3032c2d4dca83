//! One log on disk, with the right to write it: what of it can be trusted, and going on in a new file after a failure.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    chain::{Chain, OpenIntents},
    instance::Instance,
    line::Draft,
    reach::{Positions, Reach},
    record::{Record, recovered},
    recover::{Past, recover},
    retention::{Closed, Retention},
    segment::{self, Segment},
    signer::{LogSigner, Signer},
    tree::Frontier,
};
use crate::telemetry::metrics::AuditStage;

mod begin;
mod kept;
#[cfg(test)]
mod tests;

/// The longest record: what a call's end may need, whatever upstream has answered.
pub(super) const MAX_RECORD: u64 = 16 << 10;
/// Of it, what a line begins with, at most.
const BEGINNING: u64 = 1 << 10;
/// Beside the ends: a gap, a checkpoint, the end of the process, and one to spare.
const SPARE: u64 = 4 * MAX_RECORD;
/// Between two checkpoints, where there is something new. With a group's time and a tick it is below a second.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(700);
/// Between tries of what failed and can wait: a new segment while the one before goes on, the removal of old ones.
const AGAIN: Duration = Duration::from_secs(10);

/// Where the log is, and how its files are cut.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) directory: PathBuf,
    /// Bytes after which a segment is closed.
    pub(super) segment_bytes: u64,
    /// So is one that is older, if there is something in it.
    pub(super) segment_age: Duration,
    pub(super) retention: Retention,
    /// What sinks have taken of it; nothing else may be removed.
    pub(super) shipped: Positions,
}

/// The log.
#[derive(Debug)]
pub(super) struct Journal {
    settings: Settings,
    signer: LogSigner,
    name: String,
    instance: Option<Instance>,
    /// None after a failure: a file that failed once is never trusted again.
    segment: Option<Segment>,
    /// The one that did, until there is a next.
    failed: Option<Segment>,
    closed: Vec<Closed>,
    chain: Chain,
    open: OpenIntents,
    /// Ends of calls that are lost with their file, and are to be written again.
    again: Vec<Draft>,
    /// What the segment's first record says is trusted before it: all that is, should the file be lost.
    begun: Mark,
    /// What is on stable storage, in files that can be reached.
    trusted: Mark,
    /// Ends of calls that were written since it was opened.
    taken: u64,
    /// Of those, the ones that were on stable storage and are lost, of which there is no word yet.
    lost: u64,
    checkpoint: Checkpoint,
    /// Records that the newest checkpoint speaks for that was told elsewhere.
    told: u64,
    rotates_from: Instant,
    prunes_from: Instant,
    /// Those who read along.
    reach: watch::Sender<Reach>,
    /// Bytes of all segments since it was opened.
    written: u64,
    pruned: u64,
    /// The log says that the records before this one are removed.
    pruned_to: u64,
}

/// The log, as it was.
#[derive(Clone, Debug, Default)]
struct Mark {
    tree: Frontier,
    taken: u64,
}

/// The newest one.
#[derive(Debug)]
struct Checkpoint {
    /// Records with it: at this length of the log there is nothing new.
    length: u64,
    /// Records that it speaks for.
    covers: u64,
    at: Instant,
    /// To be told elsewhere, once it is on disk.
    untold: Option<String>,
}

/// Why records are not in the log.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no room for them. The log is as it was.
    Full(io::Error),
    /// The file failed; they are void.
    Broken(io::Error),
}

impl Journal {
    /// Takes the log `name`, or the first of its successors that nobody holds, and closes what its last writer left open.
    ///
    /// # Errors
    /// It cannot be made, read or written.
    pub(super) fn open(settings: Settings, name: &str, signer: &Signer) -> io::Result<Self> {
        let instance = Instance::take(&settings.directory, name)?;
        Self::resume(settings, instance, signer)
    }

    /// As [`open`](Self::open), of a log that is held.
    pub(super) fn resume(settings: Settings, instance: Instance, signer: &Signer) -> io::Result<Self> {
        let name = instance.name().to_owned();
        let signer =
            signer.named(&name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let Past { chain, segments, open } = recover(&instance, &signer)?;
        signer.publish(instance.path())?;
        let mark = Mark { tree: chain.tree().clone(), taken: 0 };
        let reach = Reach { directory: instance.path().into(), generation: 0, trusted: 0 };
        let mut journal = Self {
            trusted: mark.clone(),
            begun: mark,
            settings,
            signer,
            name,
            instance: Some(instance),
            segment: None,
            failed: None,
            closed: segments.into_iter().map(Closed::of).collect::<io::Result<_>>()?,
            chain,
            open: OpenIntents::default(),
            again: Vec::new(),
            taken: 0,
            lost: 0,
            checkpoint: Checkpoint::none(),
            told: 0,
            rotates_from: Instant::now(),
            prunes_from: Instant::now(),
            reach: watch::Sender::new(reach),
            written: 0,
            pruned: 0,
            pruned_to: 0,
        };
        let now = SystemTime::now();
        let ends: Vec<_> = open
            .iter()
            .filter_map(|(sequence, record)| Some((*sequence, recovered(*sequence, record, now)?)))
            .collect();
        // First, so that the new segment says from where on they are open: it may be all that comes of this start.
        for (sequence, end) in &ends {
            journal.open.note(*sequence, &Draft { stage: AuditStage::Intent, ..end.clone() });
        }
        journal.begin_segment()?;
        if let Some(last) = journal.closed.last() {
            segment::close(&last.path)?;
        }
        if !ends.is_empty() {
            tracing::warn!(calls = ends.len(), "the end of these calls is not known; the audit log says so");
        }
        let ends: Vec<_> = ends.into_iter().map(|(_, end)| end).collect();
        journal.append(&ends, true).map_err(io::Error::from)?;
        Ok(journal)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How far it can be read. Ends with it.
    pub(super) fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }

    /// Bytes that were written to it since it was opened.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Segments that were removed since then.
    pub(super) fn pruned(&self) -> u64 {
        self.pruned
    }

    /// Whether records can be appended.
    pub(super) fn is_open(&self) -> bool {
        self.segment.is_some()
    }

    /// Whether the end of some call is owed that this belongs to.
    pub(super) fn is_owed(&self, draft: &Draft) -> bool {
        self.open.is_end(draft)
    }

    /// Appends records, with a checkpoint behind them if one is due, and brings them to stable storage if that is asked for.
    /// What ends a call for which room was kept always has room.
    pub(super) fn append(&mut self, drafts: &[Draft], sync: bool) -> Result<(), Fault> {
        // Before they are given their places.
        if !self.is_open() {
            return Err(not_open());
        }
        // Only ends need no more room than was kept for them.
        if drafts.iter().any(|draft| !self.open.is_end(draft)) {
            let opens = drafts.iter().filter(|draft| draft.stage == AuditStage::Intent).count() as u64;
            let bytes = drafts.iter().map(|draft| draft.tail.len() as u64 + BEGINNING).sum::<u64>();
            self.reserve(bytes + opens * MAX_RECORD)?;
        }
        let first = self.chain.next();
        let mut lines = Vec::new();
        for draft in drafts {
            self.chain.add(&draft.tail, &mut lines);
        }
        if self.is_checkpoint_due() {
            self.sign(&mut lines);
        }
        self.taken += drafts.iter().map(|draft| draft.ends).sum::<u64>();
        self.write(&lines, sync)?;
        for (draft, sequence) in drafts.iter().zip(first..) {
            self.open.note(sequence, draft);
        }
        Ok(())
    }

    /// What is due by time alone: whether the files are still there, stable storage for what nobody waited for, a
    /// checkpoint, a new segment, and the removal of old ones.
    pub(super) fn tick(&mut self) -> Result<(), Fault> {
        self.look()?;
        if self.is_checkpoint_due() {
            let mut lines = Vec::new();
            self.sign(&mut lines);
            self.write(&lines, true)?;
        } else if self.in_doubt() > 0 {
            self.write(&[], true)?;
        }
        self.rotate()?;
        self.prune()
    }

    /// Whether what was written can be found.
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        let looked = match (&self.instance, &self.segment) {
            (Some(instance), Some(segment)) => instance.is_in_place().and_then(|()| segment.check()),
            _ => Err(io::ErrorKind::NotConnected.into()),
        };
        looked.map_err(|error| self.fail(error))
    }

    /// Whether there is room for a record more.
    pub(super) fn find_room(&mut self) -> Result<(), Fault> {
        self.reserve(2 * MAX_RECORD)
    }

    /// Tells the newest checkpoint elsewhere, once it is on disk; again, where it could not be told.
    pub(super) fn tell(&mut self) {
        let is_there = self.trusted.tree.size() >= self.checkpoint.length;
        if self.checkpoint.untold.take_if(|note| is_there && self.signer.tell(note)).is_some() {
            self.told = self.checkpoint.covers;
        }
    }

    /// The last words of a process that ends in order. With calls still under way it does not: the log is left as by a
    /// crash, so that whoever takes it next says that their ends are not known.
    pub(super) fn close(mut self) -> Result<(), Fault> {
        let (mut lines, is_over) = (Vec::new(), self.open.len() == 0);
        if is_over {
            self.chain.add(&Record::own(AuditStage::Shutdown, Map::new()).tail(), &mut lines);
        }
        self.sign(&mut lines);
        self.write(&lines, true)?;
        self.tell();
        let Some(segment) = self.segment.take() else { return Ok(()) };
        if is_over { segment.close() } else { segment.trim() }.map_err(Fault::Broken)
    }

    /// So many records that were on stable storage are lost. They are told once.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// So many records were written since they were last known to be on stable storage.
    pub(super) fn in_doubt(&self) -> u64 {
        self.chain.next() - self.trusted.tree.size()
    }

    /// So many bytes, beside what is kept for the ends of calls.
    fn reserve(&mut self, bytes: u64) -> Result<(), Fault> {
        let Some(segment) = &mut self.segment else { return Err(not_open()) };
        let end = segment.size() + bytes + self.open.len() * MAX_RECORD + SPARE;
        segment.reserve(end).map_err(Fault::Full)
    }

    fn write(&mut self, lines: &[u8], sync: bool) -> Result<(), Fault> {
        let Some(segment) = &mut self.segment else { return Err(not_open()) };
        let written = segment.append(lines).and_then(|()| if sync { segment.sync() } else { Ok(()) });
        written.map_err(|error| self.fail(error))?;
        self.written += lines.len() as u64;
        if sync {
            self.trusted = self.mark();
            self.publish(false);
        }
        Ok(())
    }

    fn mark(&self) -> Mark {
        Mark { tree: self.chain.tree().clone(), taken: self.taken }
    }

    /// Tells those who read along how far they may.
    fn publish(&self, begins: bool) {
        let trusted = self.trusted.tree.size();
        self.reach.send_modify(|reach| {
            reach.generation += u64::from(begins);
            reach.trusted = trusted;
        });
    }

    fn is_checkpoint_due(&self) -> bool {
        self.chain.next() > self.checkpoint.length && self.checkpoint.at.elapsed() >= CHECKPOINT_EVERY
    }

    /// Appends a checkpoint over all before it.
    fn sign(&mut self, lines: &mut Vec<u8>) {
        let tree = self.chain.tree();
        let (covers, note) = (tree.size(), self.signer.sign(tree.size(), tree.root()));
        let members = members_of([("checkpoint", json!(note))]);
        self.chain.add(&Record::own(AuditStage::Checkpoint, members).tail(), lines);
        self.checkpoint =
            Checkpoint { length: self.chain.next(), covers, at: Instant::now(), untold: Some(note) };
    }
}

impl Checkpoint {
    /// As if there had been none yet.
    fn none() -> Self {
        Self { length: 0, covers: 0, at: Instant::now(), untold: None }
    }
}

fn not_open() -> Fault {
    Fault::Broken(io::ErrorKind::NotConnected.into())
}

fn members_of<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full(error) | Fault::Broken(error) => error,
        }
    }
}
