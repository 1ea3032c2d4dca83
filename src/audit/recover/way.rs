//! The way through what is read of a log, record by record: that it holds together, and passes by what was kept.

use std::{io, path::PathBuf};

use super::{
    super::{
        checkpoint::{Checkpoint, CheckpointError},
        key::VerifierKey,
        line::Read,
        note::NoteError,
        segment::Named,
    },
    AuditStage, Chain,
};

/// The newest checkpoint that was brought to a second place.
#[derive(Clone, Debug)]
pub(in crate::audit) struct Kept {
    pub(in crate::audit) path: PathBuf,
    pub(in crate::audit) checkpoint: Checkpoint,
}

/// Where a log was read to.
#[derive(Debug)]
pub(super) struct Way {
    /// The one that signs what comes.
    key: VerifierKey,
    /// None where nothing was read yet.
    chain: Option<Chain>,
    /// The newest checkpoint in the log, and where it is.
    signed: Option<(PathBuf, String)>,
    kept: Option<Kept>,
    is_met: bool,
}

/// A log that is not what its writers left. It is left as it is, and nothing is added to it.
#[derive(Debug, thiserror::Error)]
#[error("`{}` {problem}: nothing is added to this log. See what `audit verify` says, and move aside what is not to count", path.display())]
pub(in crate::audit) struct Refused {
    path: PathBuf,
    problem: Problem,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::audit) enum Problem {
    #[error("does not begin as a file of the log that its directory is named after")]
    Foreign,
    #[error("is closed, but does not end behind a record that follows those before")]
    Closed,
    #[error("does not go on where the records before it end")]
    Apart,
    #[error("has a checkpoint of record {0} that is not of what is before it")]
    Checkpoint(u64),
    #[error("has a checkpoint that counts for nothing: it {0}")]
    Forged(CheckpointError),
    #[error("is a checkpoint of {kept} records, and the log has {there}: it was cut or rolled back")]
    RolledBack { kept: u64, there: u64 },
    #[error("is a checkpoint of {0} records, and those of the log are other ones")]
    Forked(u64),
    #[error(
        "is a checkpoint of {0} records, which cannot be compared with the log: they are not there, or are void"
    )]
    Incomparable(u64),
    #[error("is no checkpoint of this log")]
    NotKept,
}

impl Way {
    pub(super) fn new(key: VerifierKey, kept: Option<Kept>) -> Self {
        Self { key, chain: None, signed: None, is_met: kept.is_none(), kept }
    }

    /// The record from which on the log is to be read, if calls take it to be read from `open_from` on.
    pub(super) fn from(&self, open_from: u64) -> u64 {
        let kept = self.kept.as_ref().map_or(u64::MAX, |kept| kept.checkpoint.size.saturating_sub(1));
        open_from.min(kept)
    }

    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.chain.as_ref().map_or(0, Chain::next)
    }

    /// Goes on with the first record of a segment; `chain` is what it says, with it.
    pub(super) fn open(&mut self, segment: &Named, read: &Read<'_>, chain: Chain) -> Result<(), Refused> {
        let says = &read.unmapped;
        let is_void = says.trusted < segment.first;
        if let Some(before) = &self.chain {
            let tree = if is_void { &says.trusted_tree } else { &says.tree };
            let follows = is_void || before.prev() == says.prev;
            if before.next() != says.trusted || tree != before.tree().roots() || !follows {
                return Err(Refused::of(segment, Problem::Apart));
            }
        }
        self.chain = Some(chain);
        self.pass()
    }

    /// Goes on with another record, if it is the next one.
    pub(super) fn follow(
        &mut self,
        segment: &Named,
        record: &[u8],
        read: &Read<'_>,
    ) -> Result<bool, Refused> {
        let Some(chain) = &mut self.chain else { return Ok(false) };
        let before = read.is(AuditStage::Checkpoint).then(|| chain.tree().clone());
        if !chain.follow(record, read) {
            return Ok(false);
        }
        if let Some(before) = before {
            let (size, note) = (before.size(), read.unmapped.checkpoint.as_deref().unwrap_or_default());
            let says = Checkpoint::unverified(note);
            if !says.is_ok_and(|says| (says.size, says.root) == (size, before.root())) {
                return Err(Refused::of(segment, Problem::Checkpoint(size)));
            }
            self.signed = Some((segment.path.clone(), note.to_owned()));
        }
        self.pass()?;
        Ok(true)
    }

    /// The end of the log, if there is anything of it.
    pub(super) fn finish(self) -> Result<Option<Chain>, Refused> {
        if let Some((path, note)) = &self.signed {
            match Checkpoint::open(note, &self.key) {
                // By a key that was in use before: whose it is, is for who verifies the log to say.
                Ok(_) | Err(CheckpointError::Note(NoteError::Unsigned)) => {}
                Err(error) => return Err(Refused { path: path.clone(), problem: Problem::Forged(error) }),
            }
        }
        match (&self.kept, self.next()) {
            (Some(kept), there) if !self.is_met => {
                let size = kept.checkpoint.size;
                let problem = match size > there {
                    true => Problem::RolledBack { kept: size, there },
                    false => Problem::Incomparable(size),
                };
                Err(Refused::kept(kept, problem))
            }
            _ => Ok(self.chain),
        }
    }

    fn pass(&mut self) -> Result<(), Refused> {
        let (Some(chain), Some(kept)) = (&self.chain, &self.kept) else { return Ok(()) };
        if chain.next() != kept.checkpoint.size {
            return Ok(());
        }
        self.is_met = true;
        match chain.tree().root() == kept.checkpoint.root {
            true => Ok(()),
            false => Err(Refused::kept(kept, Problem::Forked(chain.next()))),
        }
    }
}

impl Refused {
    pub(super) fn of(segment: &Named, problem: Problem) -> Self {
        Self { path: segment.path.clone(), problem }
    }

    pub(in crate::audit) fn not_kept(path: PathBuf) -> Self {
        Self { path, problem: Problem::NotKept }
    }

    #[cfg(test)]
    pub(in crate::audit) fn problem(&self) -> &Problem {
        &self.problem
    }

    fn kept(kept: &Kept, problem: Problem) -> Self {
        Self { path: kept.path.clone(), problem }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::new(io::ErrorKind::InvalidData, refused)
    }
}
