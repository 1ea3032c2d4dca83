//! The way through a log, record by record.

use std::cmp::Ordering;

use super::{
    Bad, Fault, Hash, Kept, Range, Reason, Report, Signed, Trust, ahead::Record, calls::Calls, kept::Sought,
    pruned::Pruned,
};
use crate::audit::{
    read::{Begin, Opening, View},
    tree::Frontier,
};

/// The stage of the first record of a file, and of no other one.
const SEGMENT: &str = "segment";

/// Where a log has been read to.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    trust: Trust,
    /// The instance; not known before the first record where the directory is not named after it.
    log: Option<String>,
    /// A record was read.
    begun: bool,
    first: u64,
    tree: Frontier,
    /// The leaf hash of the last record; none where the next record is not bound to one that is there.
    prev: Option<Hash>,
    /// The last record says that the process has ended in order.
    ended: bool,
    bytes: u64,
    signed: Option<Signed>,
    void: Vec<Range<u64>>,
    lost: Vec<Range<u64>>,
    calls: Calls,
    pruned: Pruned,
    kept: Vec<Sought<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(log: Option<String>, trust: Trust, kept: &[&'a Kept]) -> Self {
        Self {
            trust,
            log,
            begun: false,
            first: 0,
            tree: Frontier::default(),
            prev: None,
            ended: false,
            bytes: 0,
            signed: None,
            void: Vec::new(),
            lost: Vec::new(),
            calls: Calls::default(),
            pruned: Pruned::default(),
            kept: kept.iter().map(|kept| Sought::new(kept)).collect(),
        }
    }

    /// Takes the first record of a segment that is named after `first`.
    pub(super) fn open(&mut self, first: u64, record: &Record<'_>) -> Result<(), Bad> {
        let bad = |reason| (first, reason);
        let begin = Begin::parse(record.bytes).ok_or(bad(Reason::Begin))?;
        if begin.sequence != first {
            return Err(bad(Reason::Number(begin.sequence)));
        }
        if begin.stage != SEGMENT {
            return Err(bad(Reason::Unopened));
        }
        let before = Opening::of(record.bytes).ok_or(bad(Reason::Field("tree")))?;
        if self.begun {
            self.reach(first, before.trusted)?;
        } else {
            (self.begun, self.first) = (true, first);
            self.base(first, before.trusted)?;
        }
        self.miss(first, &before)?;
        let trusted = self.tree.size();
        if trusted < first {
            self.pass()?;
            self.prev = None;
        }
        self.place(first, &begin)?;
        if self.first < first {
            self.lead(first, &before)?;
        }
        self.tree = Frontier::new(first, before.tree).ok_or(bad(Reason::Tree("tree")))?;
        self.pruned.begin(first, self.tree.root());
        // A tree that it goes on from over void records is what anybody may have written: that it is the one of a
        // checkpoint that was kept does not show that those records were ever void.
        if before.trusted == first {
            self.pass()?;
        }
        self.push(begin.stage, record).map_err(bad)
    }

    /// Takes another record, which must have this number.
    pub(super) fn take(&mut self, sequence: u64, record: &Record<'_>) -> Result<(), Bad> {
        self.pass()?;
        let bad = |reason| (sequence, reason);
        let begin = Begin::parse(record.bytes).ok_or(bad(Reason::Begin))?;
        self.place(sequence, &begin)?;
        if begin.stage == SEGMENT {
            return Err(bad(Reason::Reopened));
        }
        self.push(begin.stage, record).map_err(bad)
    }

    /// Whether the records so far end where the segment says that what can be trusted ends.
    fn reach(&self, first: u64, trusted: u64) -> Result<(), Bad> {
        let size = self.tree.size();
        match size.cmp(&trusted) {
            _ if trusted > first => Err((first, Reason::Field("trusted"))),
            Ordering::Less => Err((size, Reason::Missing(first))),
            Ordering::Greater => Err((trusted, Reason::Doubled(first))),
            Ordering::Equal => Ok(()),
        }
    }

    /// What is before the oldest segment that counts: void, and before that pruned.
    fn base(&mut self, first: u64, trusted: u64) -> Result<(), Bad> {
        if trusted > first {
            return Err((first, Reason::Field("trusted")));
        }
        if trusted < first {
            self.void.push(trusted..first);
        }
        self.pruned.base(trusted);
        Ok(())
    }

    /// What was signed of the records that do not count: it was there, and a disk that fails does not lose that.
    fn miss(&mut self, first: u64, before: &Opening) -> Result<(), Bad> {
        match before.signed {
            Some(signed) if signed > first => Err((first, Reason::Field("signed"))),
            Some(signed) if signed > before.trusted => {
                self.lost.push(before.trusted..signed);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether their tree is the one that the segment goes on from.
    fn lead(&mut self, first: u64, before: &Opening) -> Result<(), Bad> {
        let trusted = self.tree.size();
        let (name, roots) = match &before.trusted_tree {
            _ if trusted == first => ("tree", &before.tree),
            Some(roots) => ("trusted_tree", roots),
            None => return Err((first, Reason::Field("trusted_tree"))),
        };
        if roots != self.tree.roots() {
            return Err((first, Reason::Tree(name)));
        }
        if trusted < first {
            self.void.push(trusted..first);
        }
        Ok(())
    }

    /// Whether it stands where it says, behind what it says.
    fn place(&mut self, sequence: u64, begin: &Begin<'_>) -> Result<(), Bad> {
        if begin.sequence != sequence {
            return Err((sequence, Reason::Number(begin.sequence)));
        }
        let log = self.log.get_or_insert_with(|| begin.log.to_owned());
        if log != begin.log {
            return Err((sequence, Reason::Log(begin.log.to_owned())));
        }
        match self.prev {
            Some(prev) if prev != begin.prev => Err((sequence - 1, Reason::Chain)),
            Some(_) | None => Ok(()),
        }
    }

    fn push(&mut self, stage: &str, record: &Record<'_>) -> Result<(), Reason> {
        let &Record { bytes, leaf, call } = record;
        let call = call.ok_or(Reason::Json)?;
        match stage {
            "checkpoint" => self.checkpoint(bytes)?,
            "pruned" => self.pruned.take(self.tree.size(), bytes)?,
            _ => self.calls.take(self.tree.size(), stage, call)?,
        }
        // A checkpoint speaks for the last word, too.
        self.ended = stage == "shutdown" || self.ended && stage == "checkpoint";
        self.tree.push(leaf);
        self.prev = Some(leaf);
        self.bytes += bytes.len() as u64 + 1;
        Ok(())
    }

    fn checkpoint(&mut self, record: &[u8]) -> Result<(), Reason> {
        let view = View::of(record).ok_or(Reason::Json)?;
        let note = view.checkpoint().ok_or(Reason::Field("checkpoint"))?;
        let checkpoint = self.trust.open(note, self.log.as_deref().unwrap_or_default())?;
        if checkpoint.size != self.tree.size() {
            return Err(Reason::Size(checkpoint.size));
        }
        if checkpoint.root != self.tree.root() {
            return Err(Reason::Root);
        }
        self.pruned.sign();
        self.signed = Some(Signed { checkpoint, note: note.to_owned() });
        Ok(())
    }

    /// Compares the tree so far with the checkpoints that were kept.
    fn pass(&mut self) -> Result<(), Bad> {
        let Self { tree, kept, .. } = self;
        kept.iter_mut().try_for_each(|sought| sought.pass(tree.size(), || tree.root()))
    }

    /// What can be told only at the end.
    pub(super) fn finish(&mut self) -> Result<(), Bad> {
        self.pass()?;
        self.pruned.finish()?;
        match self.calls.oldest() {
            Some(oldest) if self.ended => return Err((oldest, Reason::Open)),
            Some(_) | None => {}
        }
        let log = self.log.as_deref().unwrap_or_default();
        self.kept.iter().try_for_each(|sought| sought.finish(&self.trust, log, self.tree.size()))?;
        if self.begun { Ok(()) } else { Err((0, Reason::Empty)) }
    }

    /// Whether any of it is.
    pub(super) fn is_signed(&self) -> Result<(), Bad> {
        if self.signed.is_some() { Ok(()) } else { Err((self.first, Reason::Unsigned)) }
    }

    pub(super) fn report(self, files: usize, fault: Option<Fault>, torn: bool) -> Report {
        Report {
            log: self.log.unwrap_or_default(),
            records: self.tree.size(),
            first: self.first,
            files,
            bytes: self.bytes,
            kept: !self.kept.is_empty() && fault.is_none(),
            fault,
            signed: self.signed,
            void: self.void,
            lost: self.lost,
            open: self.calls.open(),
            torn,
        }
    }
}
