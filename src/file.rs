//! Files that the config names: read whole, of modest size, and closed to others where they hold a secret.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;

pub mod form;
pub mod stable;
#[cfg(test)]
mod tests;

/// Far more than keys and certificates need, and no burden to read again and again.
const MAX_FILE: u64 = 1 << 20;

/// What the mode of a closed file must not grant: anything to others, or more than reading to the group. (Kubernetes
/// gives a pod's own group that much where `fsGroup` is set.) Whoever writes such a file decides who may call.
const OTHERS: u32 = 0o037;

/// What the mode of a guarded file must not grant: writing.
const WRITERS: u32 = 0o022;

/// Who may be able to read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: certificates of the gateway's own.
    Open,
    /// Anybody, but nobody except its owner may write it: public keys and CAs that say who may call.
    Guarded,
    /// Its owner and its group; nobody but its owner may write it.
    Closed,
}

/// Where a secret is. The config itself never holds one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Credential {
    /// A file that holds it and nothing else but white space around it, closed to others.
    File(PathBuf),
    /// An environment variable. It cannot change while the process runs.
    Env(String),
}

/// Why a file cannot be served with. Its content is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    #[error("is not a file")]
    NotAFile,
    #[error("is larger than 1 MiB")]
    TooLarge,
    #[error("must be closed to others, and its group may read at most: mode 0600 or 0440, for instance")]
    Exposed,
    #[error("must be written by its owner alone: mode 0644, for instance")]
    Writable,
}

/// The whole file.
///
/// # Errors
/// It cannot be read, is no file or too large, or others may do with it what they should not.
pub fn read(path: &Path, access: Access) -> Result<Vec<u8>, Fault> {
    // Before it is opened: a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(Fault::NotAFile);
    }
    let file = File::open(path)?;
    // Of the open file, not of its path: what is judged is what is read.
    let opened = file.metadata()?;
    if !opened.is_file() {
        return Err(Fault::NotAFile);
    }
    judge(access, opened.permissions().mode())?;
    let mut bytes = Vec::new();
    let length = file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length <= MAX_FILE) {
        Ok(bytes)
    } else {
        Err(Fault::TooLarge)
    }
}

/// As [`read`], of a text.
///
/// # Errors
/// Also, it is not UTF-8.
pub fn read_text(path: &Path, access: Access) -> Result<String, Fault> {
    String::from_utf8(read(path, access)?).map_err(|_| Fault::Unreadable(io::ErrorKind::InvalidData))
}

/// Whether the path leads into the directory, or is it: as far as there is something, links are followed.
pub fn is_inside(path: &Path, directory: &Path) -> bool {
    resolved(path).starts_with(resolved(directory))
}

fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.components().fold(PathBuf::new(), |mut found, part| {
        match part {
            Component::ParentDir => drop(found.pop()),
            part => found.push(part),
        }
        found.canonicalize().unwrap_or(found)
    })
}

fn judge(access: Access, mode: u32) -> Result<(), Fault> {
    match access {
        Access::Closed if mode & OTHERS != 0 => Err(Fault::Exposed),
        Access::Guarded if mode & WRITERS != 0 => Err(Fault::Writable),
        Access::Open | Access::Guarded | Access::Closed => Ok(()),
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.kind())
    }
}
