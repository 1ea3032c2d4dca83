//! An issuer's keys in a file, followed.

use std::path::{Path, PathBuf};

use super::{
    Jwks,
    keys::{KeySet, NotAKeySet},
};
use crate::{
    file::{self, Access, Fault},
    follow::{Follow, Taken},
};

/// A file with a JSON Web Key Set. Its keys are public; whoever writes it decides who may call.
#[derive(Debug)]
pub struct JwksFile {
    /// The key of the config that names it.
    key: String,
    path: PathBuf,
    /// What it held when it was read first.
    first: Vec<u8>,
    jwks: Jwks,
}

/// Why the file cannot be served with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("`{path}` {fault}")]
    Fault { path: String, fault: Fault },
    #[error("`{path}` {problem}")]
    Content { path: String, problem: NotAKeySet },
}

impl JwksFile {
    /// Reads it. `key` names it in the config, `issuer` is the `id` of the issuer's entry.
    ///
    /// # Errors
    /// It cannot be read, or holds no set that can be used.
    pub fn read(key: String, issuer: &str, path: &Path) -> Result<Self, FileError> {
        let first = content(path)?;
        let jwks = Jwks::read(issuer, parsed(path, &first)?);
        Ok(Self { key, path: path.to_owned(), first, jwks })
    }

    /// What it held when it was read first.
    pub fn first(&self) -> Result<Vec<u8>, FileError> {
        Ok(self.first.clone())
    }

    /// The keys that are in force.
    pub fn jwks(&self) -> &Jwks {
        &self.jwks
    }
}

impl Follow for JwksFile {
    type Look = Result<Vec<u8>, FileError>;

    fn key(&self) -> String {
        self.key.clone()
    }

    fn look(&self) -> Self::Look {
        content(&self.path)
    }

    async fn take(&self, look: Self::Look) -> Taken {
        let keys = look.and_then(|bytes| parsed(&self.path, &bytes));
        keys.map(|keys| self.jwks.replace(keys)).into()
    }
}

fn content(path: &Path) -> Result<Vec<u8>, FileError> {
    file::read(path, Access::Guarded).map_err(|fault| FileError::Fault { path: shown(path), fault })
}

fn parsed(path: &Path, bytes: &[u8]) -> Result<KeySet, FileError> {
    KeySet::parse(bytes).map_err(|problem| FileError::Content { path: shown(path), problem })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
