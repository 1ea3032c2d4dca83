//! Checkpoints: what a log is at one size, signed. <https://c2sp.org/tlog-checkpoint>

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    key::{Origin, SigningKey, VerifierKey},
    note::{self, NoteError},
    tree::Hash,
};

#[cfg(test)]
mod tests;

/// The state of a log: whoever keeps one can tell later whether the log has stayed what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: Origin,
    /// Records.
    pub size: u64,
    /// Of the tree over these records.
    pub root: Hash,
}

/// Why a note is no checkpoint of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("is no checkpoint: an origin, a size and a root")]
    Malformed,
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error("is signed by the log's key, but names another log")]
    Origin,
}

impl Checkpoint {
    /// The signed note, as `unmapped.checkpoint` has it.
    pub fn sign(&self, key: &SigningKey) -> String {
        note::sign(&self.text(), &self.origin, key)
    }

    /// The checkpoint that `key` has signed. Other signatures below it, as of witnesses, are not looked at.
    ///
    /// # Errors
    /// It is no checkpoint, is not signed by `key`, or is one of another log.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse(note::open(note, key)?).ok_or(CheckpointError::Malformed)?;
        if checkpoint.origin == *key.origin() { Ok(checkpoint) } else { Err(CheckpointError::Origin) }
    }

    /// What the note says, whoever has signed it: good for finding the log and the key it is to be checked with.
    ///
    /// # Errors
    /// It does not begin as a checkpoint does.
    pub fn unverified(note: &str) -> Result<Self, CheckpointError> {
        let text = note.split_inclusive("\n\n").next().and_then(|text| text.strip_suffix('\n'));
        text.and_then(Self::parse).ok_or(CheckpointError::Malformed)
    }

    fn text(&self) -> String {
        let Self { origin, size, root } = self;
        format!("{origin}\n{size}\n{}\n", STANDARD.encode(root.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let root = Hash::from_bytes(root);
        let parsed = Self { origin: origin.parse().ok()?, size: size.parse().ok()?, root };
        // Signs, leading zeros, lines behind: one state has one text.
        (parsed.text() == text).then_some(parsed)
    }
}
