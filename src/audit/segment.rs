//! One file of the log, while it is written.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::{
    fs::{FallocateFlags, OFlags, fallocate, fstatvfs},
    io::Errno,
};

use super::{instance::replaced, recover::TORN};

#[cfg(test)]
pub(super) mod faults;
#[cfg(test)]
mod tests;

/// What its names end in.
const EXTENSION: &str = "jsonl";
/// Digits of a first sequence number: as many as a u64 has, so that names sort as numbers.
const DIGITS: usize = 20;
/// Blocks are asked for in pieces of this size: few calls, and little to give back.
const CHUNK: u64 = 1 << 20;
/// Where blocks cannot be had before they are needed, so much is to be left on the disk. Others can take it meanwhile.
const FLOOR: u64 = 64 << 20;
/// While it is written.
const MODE: u32 = 0o600;
/// When it is not written any more.
const CLOSED_MODE: u32 = 0o400;

/// A segment that is written.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    /// As it was made: not every file system keeps all of a mode.
    made: (u32, u64),
    first: u64,
    size: u64,
    /// So much of it is on stable storage.
    synced: u64,
    /// So far there are blocks for it.
    reserved: u64,
    can_reserve: bool,
    opened: Instant,
}

/// A segment on disk, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The sequence number of its first record.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

impl Segment {
    /// A new file, of which nothing is on disk yet.
    ///
    /// # Errors
    /// There is a file of that name already, or it cannot be made.
    pub(super) fn create(directory: &Path, first: u64) -> io::Result<Self> {
        let path = directory.join(name(first));
        // Whatever stands in its place is not written to: a file, a link, a pipe.
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file =
            OpenOptions::new().create_new(true).append(true).mode(MODE).custom_flags(flags).open(&path)?;
        // Whatever the umask is.
        file.set_permissions(Permissions::from_mode(MODE))?;
        let made = file.metadata()?;
        let made = (made.mode(), made.nlink());
        let opened = Instant::now();
        Ok(Self { path, file, made, first, size: 0, synced: 0, reserved: 0, can_reserve: true, opened })
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that the file can grow to `end` bytes, whoever else fills the disk meanwhile. Where the file system
    /// cannot promise that, that there is room now, and some beside.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn reserve(&mut self, end: u64) -> io::Result<()> {
        #[cfg(test)]
        faults::meet(faults::Step::Reserve)?;
        if self.can_reserve {
            if end <= self.reserved {
                return Ok(());
            }
            // The file's size stays what was written: readers see no zeros.
            let grow =
                |to: u64| fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.reserved, to - self.reserved);
            let ample = end.next_multiple_of(CHUNK);
            let grown = grow(ample).map(|()| ample).or_else(|_| grow(end).map(|()| end));
            match grown {
                Ok(reserved) => {
                    self.reserved = reserved;
                    return Ok(());
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    tracing::warn!(
                        "this file system keeps no room for the ends of calls: if it fills up they may not be recorded"
                    );
                    self.can_reserve = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let disk = fstatvfs(&self.file)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let is_enough = free >= end.saturating_sub(self.size).saturating_add(FLOOR);
        if is_enough { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    /// # Errors
    /// A part of it may be there.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        // Before: what is then behind it would hide that the file was cut.
        self.check()?;
        #[cfg(test)]
        if let Err(error) = faults::meet(faults::Step::Append) {
            self.file.write_all(&lines[..lines.len() / 2])?;
            return Err(error);
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Brings what was appended to stable storage, and makes sure that it is found there.
    ///
    /// # Errors
    /// The file must not be trusted any more: a kernel tells a lost write once (fsyncgate).
    pub(super) fn sync(&mut self) -> io::Result<()> {
        #[cfg(test)]
        faults::meet(faults::Step::Sync)?;
        self.file.sync_data()?;
        self.check()?;
        self.synced = self.size;
        Ok(())
    }

    /// Whether the path leads to this file, as it was written: a file that was removed, renamed or truncated takes
    /// records as before, but nobody will find them (promise P1).
    pub(super) fn check(&self) -> io::Result<()> {
        let (open, named) = (self.file.metadata()?, fs::symlink_metadata(&self.path)?);
        if (open.dev(), open.ino()) != (named.dev(), named.ino()) {
            return Err(replaced("the file was replaced"));
        }
        if open.len() != self.size {
            return Err(replaced("the file was cut or written by another"));
        }
        if (open.mode(), open.nlink()) != self.made {
            return Err(replaced("the file's mode was changed, or it has another name, too"));
        }
        Ok(())
    }

    /// Whether what is on stable storage is still found by its path, whatever else is wrong with the file.
    pub(super) fn is_kept(&self) -> bool {
        let Ok(open) = self.file.metadata() else { return true };
        let is_there = match fs::symlink_metadata(&self.path) {
            Ok(named) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
            // A disk that cannot be asked has not lost it.
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        };
        is_there && open.len() >= self.synced
    }

    /// Gives back what was reserved, and takes away what a write that failed has left.
    pub(super) fn trim(&self) -> io::Result<()> {
        // One that was cut is not filled up. To its own size: that frees the blocks behind it.
        if self.file.metadata()?.len() >= self.size { self.file.set_len(self.size) } else { Ok(()) }
    }

    /// As if it had never been.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }

    /// It is not written any more. What was reserved is given back.
    pub(super) fn close(self) -> io::Result<()> {
        self.trim()?;
        self.file.set_permissions(Permissions::from_mode(CLOSED_MODE))?;
        self.file.sync_all()
    }
}

/// What a crash left open is not written any more.
pub(super) fn close(segment: &Path) -> io::Result<()> {
    fs::set_permissions(segment, Permissions::from_mode(CLOSED_MODE))
}

/// Whether nobody writes the segment any more.
pub(super) fn is_closed(segment: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(segment)?.permissions().readonly())
}

/// Whatever stands in the place of a segment that is to be made is none: what is left of one that could not be begun.
pub(super) fn set_aside(directory: &Path, first: u64) -> io::Result<()> {
    let path = directory.join(name(first));
    fs::rename(&path, path.with_extension(TORN))
}

/// The segments of a log, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Named>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let first = entry.file_name().to_str().and_then(first_of);
        if let Some(first) = first.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())) {
            found.push(Named { first, path: entry.path() });
        }
    }
    found.sort_unstable_by_key(|segment| segment.first);
    Ok(found)
}

fn name(first: u64) -> String {
    format!("{first:0DIGITS$}.{EXTENSION}")
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let is_name = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_name.then(|| digits.parse().ok()).flatten()
}
