//! Checkpoints that were kept elsewhere: the only thing that shows a roll-back.

use super::{Bad, Checkpoint, CheckpointError, Hash, Reason, Trust};
use crate::audit::key::Origin;

/// A checkpoint as it was kept; whose it is and whether it is good is found out with the log's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    note: String,
    says: Checkpoint,
}

/// One that is looked for in a log.
#[derive(Clone, Debug)]
pub(super) struct Sought<'a> {
    kept: &'a Kept,
    met: bool,
}

impl Kept {
    /// # Errors
    /// It is no checkpoint.
    pub fn parse(note: String) -> Result<Self, CheckpointError> {
        Ok(Self { says: Checkpoint::unverified(&note)?, note })
    }

    /// What it says, whoever has signed it.
    pub fn says(&self) -> &Checkpoint {
        &self.says
    }

    /// The log that it says it is of.
    pub fn origin(&self) -> &Origin {
        &self.says.origin
    }
}

impl<'a> Sought<'a> {
    pub(super) fn new(kept: &'a Kept) -> Self {
        Self { kept, met: false }
    }

    /// Whether the log passes by it with this size and root. `root` is computed only where it matters.
    pub(super) fn pass(&mut self, size: u64, root: impl FnOnce() -> Hash) -> Result<(), Bad> {
        if size != self.kept.says.size {
            return Ok(());
        }
        self.met = true;
        if root() == self.kept.says.root { Ok(()) } else { Err((size.saturating_sub(1), Reason::Forked)) }
    }

    /// Whether it is signed by the log's key, and was met on the way from the first to the last record.
    pub(super) fn finish(&self, trust: &Trust, log: &str, records: u64) -> Result<(), Bad> {
        let size = &self.kept.says.size;
        trust.open(&self.kept.note, log).map_err(|reason| (*size, reason))?;
        match self.met {
            true => Ok(()),
            false if *size > records => Err((records, Reason::RolledBack)),
            false => Err((*size, Reason::Incomparable)),
        }
    }
}
