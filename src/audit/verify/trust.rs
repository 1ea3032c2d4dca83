//! Which key a log's checkpoints must be signed with.

use super::{Checkpoint, CheckpointError, Instance, ReadError, Reason, VerifierKey};
use crate::audit::{
    key::{KeyError, Origin, PublicKey},
    note::NoteError,
};

/// Where the public key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// From the log's own directory: it proves nothing against whoever can write there.
    Beside,
    /// Keys for all logs.
    Keys(Vec<PublicKey>),
    /// Keys of logs, by their names. A log may have several: its key, or its origin, was changed.
    Named(Vec<VerifierKey>),
}

/// There is no key to verify with.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the public key {0}")]
    Key(#[from] KeyError),
}

impl Trust {
    /// Of public keys in PEM, or of verifier keys, one a line.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.trim_start().starts_with("-----BEGIN") {
            return PublicKey::all_from_pem(text.as_bytes()).map(Self::Keys);
        }
        Self::named(text)
    }

    /// The checkpoint, if it is one of this log, and a key of its origin has signed it.
    pub(super) fn open(&self, note: &str, log: &str) -> Result<Checkpoint, Reason> {
        let origin = Checkpoint::unverified(note)?.origin;
        let mut found = Err(Reason::Stranger(origin.to_string()));
        for key in self.verifiers(&origin).iter().filter(|key| key.origin().is_of(log)) {
            match Checkpoint::open(note, key) {
                // By another one, maybe.
                Err(error @ CheckpointError::Note(NoteError::Unsigned)) => {
                    found = found.map_err(|_| error.into());
                }
                opened => found = Ok(opened?),
            }
        }
        found
    }

    /// With the keys beside the log in the place of none.
    pub(super) fn beside(&self, instance: &Instance) -> Result<Self, TrustError> {
        match self {
            Self::Beside => Ok(Self::named(&instance.key()?)?),
            Self::Keys(_) | Self::Named(_) => Ok(self.clone()),
        }
    }

    /// The keys by the name that a checkpoint has.
    fn verifiers(&self, origin: &Origin) -> Vec<VerifierKey> {
        match self {
            Self::Keys(keys) => keys.iter().map(|key| VerifierKey::new(origin.clone(), *key)).collect(),
            Self::Named(keys) => keys.iter().filter(|key| key.origin() == origin).cloned().collect(),
            Self::Beside => Vec::new(),
        }
    }

    fn named(text: &str) -> Result<Self, KeyError> {
        let keys: Vec<_> = text.lines().map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::Verifier) } else { Ok(Self::Named(keys)) }
    }
}
