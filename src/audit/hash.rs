//! Keyed hashes of values that no record may show: whoever has a value finds it in the log, and the log does not know it.
//!
//! A keyed hash is written `hmac:<key id>:<base64url of HMAC-SHA256>`. The keys stand in a file, one a line, `ID BASE64`.
//! The last one hashes; all of them are tried by who looks for a value, so that rotating is adding a line.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};

use super::KeyFile;
use crate::file::{self, Access, Fault, stable};

#[cfg(test)]
mod tests;

/// The file's name in `audit.directory`.
const FILE: &str = "hash-keys";
/// As long as the hash: a shorter key is easier to guess than it.
const KEY: usize = 32;
/// An id stands in every hash.
const MAX_ID: usize = 32;
/// What a keyed hash begins with.
const SCHEME: &str = "hmac";

/// The keys of a log's hashes, the one in use last; there is at least one. Clones share them.
#[derive(Clone, Debug)]
pub struct Keys(Arc<[Key]>);

/// Debug shows no secret.
#[derive(Debug)]
struct Key {
    id: String,
    secret: SecretSlice<u8>,
}

/// Why there are no keys. What the file holds is never shown.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("`{}` {fault}", path.display())]
    File { path: PathBuf, fault: Fault },
    #[error("`{}` cannot be made: {source}", path.display())]
    Made { path: PathBuf, source: io::Error },
    #[error("`{}` {problem}", path.display())]
    Form { path: PathBuf, problem: Problem },
}

/// What is wrong with a file of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("has no key")]
    Empty,
    #[error("line {0}: must be an id of 1 to 32 of A-Z a-z 0-9 _ - and, behind a space, 32 bytes in base64")]
    Line(usize),
    #[error("line {0}: the id stands twice")]
    Twice(usize),
}

impl Keys {
    /// Where they are unless the config names another place, for logs in this directory.
    pub fn beside(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// The keys in the file that is named, or else in the one of `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it, or it is not of this form.
    pub fn open(directory: &Path, named: Option<&KeyFile>) -> Result<Self, KeysError> {
        if let Some(named) = named {
            return Self::read(&named.file);
        }
        let path = Self::beside(directory);
        if !path.exists() {
            Self::generate(&path)?;
        }
        Self::read(&path)
    }

    /// # Errors
    /// The file cannot be read, others may read it, or it is not of this form.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let text = file::read_text(path, Access::Closed);
        let text = text.map_err(|fault| KeysError::File { path: path.to_owned(), fault })?;
        Self::parse(&text).map_err(|problem| KeysError::Form { path: path.to_owned(), problem })
    }

    /// Makes a file with one key, for its owner alone, and the directory that it is in. One that is there already stays
    /// as it is.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn generate(path: &Path) -> Result<(), KeysError> {
        make(path).map_err(|source| KeysError::Made { path: path.to_owned(), source })
    }

    /// The hash of a value by the key in use.
    pub fn digest(&self, value: &str) -> String {
        self.0.last().map(|key| key.digest(value)).unwrap_or_default()
    }

    /// The hashes of a value by every key, the one in use first: what a log of any age may have of it.
    pub fn digests(&self, value: &str) -> Vec<String> {
        self.0.iter().rev().map(|key| key.digest(value)).collect()
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let key = Key::parse(line).ok_or(Problem::Line(index + 1))?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(Problem::Twice(index + 1));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(Problem::Empty) } else { Ok(Self(keys.into())) }
    }
}

impl Key {
    fn parse(line: &str) -> Option<Self> {
        let (id, secret) = line.trim().split_once(' ')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let is_id = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain);
        let secret = STANDARD.decode(secret.trim()).ok().filter(|secret| is_id && secret.len() == KEY)?;
        Some(Self { id: id.to_owned(), secret: secret.into() })
    }

    fn digest(&self, value: &str) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret()) else {
            return String::new();
        };
        mac.update(value.as_bytes());
        let hash = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{SCHEME}:{}:{hash}", self.id)
    }
}

/// Never over another one: processes that start at the same time end up with the same key.
fn make(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        stable::make_directory(directory)?;
    }
    let mut secret = [0; KEY];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    // Of no use to who knows it: 32 bits of a hash of 256 random ones.
    let id: String = Sha256::digest(secret).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    // Hashes by a key that a crash has lost are of no use.
    stable::create(path, &format!("{id} {}\n", STANDARD.encode(secret)))
}
