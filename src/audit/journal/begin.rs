//! Going on in a new file: when the one that is written is full or old, and after a failure.

use std::{io, path::Path, time::Instant};

use serde_json::json;

use super::{AGAIN, Checkpoint, Fault, Journal, MAX_RECORD, Mark, SPARE, kept::is_gone, members_of};
use crate::{
    audit::{
        instance::{self, Instance},
        record::Record,
        retention::Closed,
        segment::{self, Segment},
    },
    telemetry::metrics::AuditStage,
};

impl Journal {
    /// After a failure: a new file, in the same directory if it is still there.
    pub(in crate::audit) fn reopen(&mut self) -> io::Result<()> {
        if self.is_open() {
            return Ok(());
        }
        if self.instance.as_ref().is_none_or(|instance| instance.is_in_place().is_err()) {
            // First, so that its lock is free where the directory is the same.
            self.instance = None;
            instance::make(&self.settings.directory.join(&self.name))?;
            let held = Instance::hold(&self.settings.directory, &self.name)?;
            if let Some(instance) = &held
                && segment::list(instance.path())?.is_empty()
            {
                self.lost += std::mem::take(&mut self.trusted).taken;
                self.taken = 0;
                self.closed.clear();
            }
            self.instance = held;
        }
        if let Some(instance) = &self.instance {
            self.signer.publish(instance.path())?;
        }
        self.begin_segment()?;
        self.write_again()
    }

    /// What of the ends of calls was lost with a file.
    fn write_again(&mut self) -> io::Result<()> {
        let again = std::mem::take(&mut self.again);
        if again.is_empty() {
            return Ok(());
        }
        let written = self.append(&again, true);
        if written.is_err() {
            self.again.extend(again);
        }
        Ok(written?)
    }

    /// Nothing that was written since the last sync counts, nor anything in a file that is not where it was.
    pub(super) fn fail(&mut self, error: io::Error) -> Fault {
        if let Some(segment) = self.segment.take() {
            if !segment.is_kept() {
                let again = self.open.lose();
                let lost = self.trusted.taken.saturating_sub(self.begun.taken);
                self.lost += lost.saturating_sub(again.len() as u64);
                self.trusted = self.begun.clone();
                self.again.extend(again);
            }
            self.taken = self.trusted.taken;
            // One over void records speaks for nothing, and is not to be told as if it did.
            if self.checkpoint.length > self.trusted.tree.size() {
                self.checkpoint = Checkpoint { at: self.checkpoint.at, ..Checkpoint::none() };
            }
            if let Err(error) = segment.trim() {
                tracing::debug!(%error, "the room that an audit segment kept cannot be given back");
            }
            if !is_gone(segment.path()) {
                self.closed.push(Closed::from(&segment));
            }
            self.failed = Some(segment);
            self.publish(false);
        }
        Fault::Broken(error)
    }

    /// Begins a segment; the one before is over. Where that fails the log is as it was, and goes on in the old one.
    pub(super) fn begin_segment(&mut self) -> io::Result<()> {
        let Some(instance) = &self.instance else { return Err(io::ErrorKind::NotConnected.into()) };
        let (mut chain, mut lines) = (self.chain.clone(), Vec::new());
        chain.add(&self.opening().tail(), &mut lines);
        let mut segment = create(instance.path(), self.chain.next())?;
        let begun = segment
            .reserve(SPARE + (self.open.len() + 1) * MAX_RECORD)
            .and_then(|()| segment.append(&lines))
            .and_then(|()| segment.sync())
            .and_then(|()| instance.sync());
        if let Err(error) = begun {
            // Nobody was told of it. Its blocks and its name are to be had again.
            if let Err(left) = segment.remove().and_then(|()| instance.sync()) {
                // A start might take it for the newest: nothing may go on beside it.
                self.fail(left);
            }
            // Those who read along may have seen it.
            self.publish(true);
            return Err(error);
        }
        self.begun =
            std::mem::replace(&mut self.trusted, Mark { tree: chain.tree().clone(), taken: self.taken });
        self.chain = chain;
        self.open.begin(segment.first());
        self.written += lines.len() as u64;
        let old = self.segment.replace(segment);
        self.closed.extend(old.as_ref().map(Closed::from));
        self.publish(true);
        // Not earlier: that the last one is read-only says that its writer has ended in order.
        for over in [self.failed.take(), old].into_iter().flatten() {
            // What is on stable storage is there, whether or not it can be made read-only.
            if let Err(error) = over.close() {
                tracing::warn!(%error, "an audit segment could not be closed in order");
            }
        }
        Ok(())
    }

    /// The first record of the next segment.
    fn opening(&self) -> Record {
        let (next, trusted) = (self.chain.next(), self.trusted.tree.size());
        let mut members = members_of([
            ("tree", json!(self.chain.tree().roots())),
            ("trusted", json!(trusted)),
            ("open_from", json!(self.open.oldest().unwrap_or(next))),
        ]);
        if trusted < next {
            members.insert("trusted_tree".to_owned(), json!(self.trusted.tree.roots()));
        }
        if trusted < self.told {
            members.insert("signed".to_owned(), json!(self.told));
        }
        Record::own(AuditStage::Segment, members)
    }

    /// The room that is kept for ends goes along: without it, the old segment grows on.
    pub(super) fn rotate(&mut self) -> Result<(), Fault> {
        let Some(segment) = &self.segment else { return Ok(()) };
        let is_old = segment.opened().elapsed() >= self.settings.segment_age
            && self.chain.next() > segment.first() + 2;
        let is_due = segment.size() >= self.settings.segment_bytes || is_old;
        if !is_due || Instant::now() < self.rotates_from {
            return Ok(());
        }
        self.write(&[], true)?;
        let Err(error) = self.begin_segment() else { return Ok(()) };
        if !self.is_open() {
            return Err(Fault::Broken(error));
        }
        tracing::warn!(error = ?error.to_string(), "no new audit segment can be begun: the old one grows on");
        self.rotates_from = Instant::now() + AGAIN;
        Ok(())
    }
}

/// What stands in its place already is moved aside.
fn create(directory: &Path, first: u64) -> io::Result<Segment> {
    match Segment::create(directory, first) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            segment::set_aside(directory, first)?;
            tracing::warn!(segment = first, "what stood in the place of a new audit segment was moved aside");
            Segment::create(directory, first)
        }
        created => created,
    }
}
