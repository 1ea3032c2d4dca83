//! Which key a log's checkpoints must be signed with.

use super::{Instance, ReadError, VerifierKey};
use crate::audit::key::{KeyError, Origin, PublicKey};

/// Where the public key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// From the log's own directory: it proves nothing against whoever can write there.
    Beside,
    /// One key for all logs.
    Key(PublicKey),
    /// Keys of logs, by their names.
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
    /// Of a public key in PEM, or of verifier keys, one a line.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.trim_start().starts_with("-----BEGIN") {
            return PublicKey::from_pem(text.as_bytes()).map(Self::Key);
        }
        let keys: Vec<_> = text.lines().map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::Verifier) } else { Ok(Self::Named(keys)) }
    }

    /// The key by the name that a checkpoint has, if it is one of this log.
    pub fn verifier(&self, origin: &Origin, log: &str) -> Option<VerifierKey> {
        let key = match self {
            Self::Key(key) => Some(VerifierKey::new(origin.clone(), *key)),
            Self::Named(keys) => keys.iter().find(|key| key.origin() == origin).cloned(),
            Self::Beside => None,
        };
        key.filter(|_| origin.is_of(log))
    }

    /// With the key beside the log in the place of none.
    pub(super) fn beside(&self, instance: &Instance) -> Result<Self, TrustError> {
        match self {
            Self::Beside => Ok(Self::Named(vec![instance.key()?.trim_end().parse()?])),
            Self::Key(_) | Self::Named(_) => Ok(self.clone()),
        }
    }
}
