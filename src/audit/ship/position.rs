//! Where a sink was left, on disk beside the log.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::file::stable;

/// A number of 20 digits and a line feed; what is longer is none.
const MAX: u64 = 32;

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("position-{name}"))
}

/// The next record that the sink wants: the first one where nothing is known.
///
/// # Errors
/// The file is there but cannot be read, or says no number.
pub(super) fn read(directory: &Path, name: &str) -> io::Result<u64> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path(directory, name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let text = io::read_to_string(io::Read::take(file, MAX))?;
    text.trim_end().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is no position"))
}

/// Replaces it as a whole, and brings it to stable storage: what is before it may be removed then.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(directory: &Path, name: &str, position: u64) -> io::Result<()> {
    stable::replace(&path(directory, name), &format!("{position}\n"))
}
