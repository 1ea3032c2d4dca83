//! The directory of one log, which one process at a time writes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

/// The file whose lock is the right to write.
const LOCK: &str = "lock";
/// Processes of one name at the same time: the one that serves, and predecessors that still drain.
const MAX_INSTANCES: u32 = 100;

/// The right to write a log, while it lives.
#[derive(Debug)]
pub(super) struct Instance {
    path: PathBuf,
    name: String,
    directory: File,
    lock: File,
}

impl Instance {
    /// The first of `name`, `name-2`, `name-3`, ... that nobody else holds. `parent` has to be there.
    ///
    /// # Errors
    /// The directory cannot be made or locked, or a hundred of them are held.
    pub(super) fn take(parent: &Path, name: &str) -> io::Result<Self> {
        for number in 1..=MAX_INSTANCES {
            let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            make(&parent.join(&name))?;
            if let Some(instance) = Self::hold(parent, &name)? {
                return Ok(instance);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "every instance of this name is held by another process",
        ))
    }

    /// None if another process holds it.
    ///
    /// # Errors
    /// There is no such directory, or it cannot be locked.
    pub(super) fn hold(parent: &Path, name: &str) -> io::Result<Option<Self>> {
        let path = parent.join(name);
        let directory = open_directory(&path)?;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).custom_flags(flags);
        let lock = lock.open(path.join(LOCK))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let instance = Self { path, name: name.to_owned(), directory, lock };
        // Between opening and locking it another process can have removed it.
        Ok(instance.is_in_place().is_ok().then_some(instance))
    }

    /// The other logs below `parent`.
    pub(super) fn others(parent: &Path, name: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(other) = entry.file_name().into_string()
                && other != name
                && entry.path().join(LOCK).is_file()
            {
                names.push(other);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether what is written here is found by this path, and nobody else writes here: that neither the directory nor
    /// the lock was removed, renamed or replaced.
    pub(super) fn is_in_place(&self) -> io::Result<()> {
        is_same(&self.directory, &self.path)?;
        is_same(&self.lock, &self.path.join(LOCK))
    }

    /// Brings the names of files in it to stable storage.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

/// For the gateway's own user alone: it says who did what.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => Ok(()),
        Ok(()) => {
            // Its name must survive a crash as well as its content.
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        }
    }
}

/// Never through a symbolic link: whoever can make one could lead the log elsewhere.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Whether the path leads to what is open.
///
/// # Errors
/// It does not, or that cannot be told.
pub(super) fn is_same(open: &File, path: &Path) -> io::Result<()> {
    let (open, named) = (open.metadata()?, fs::symlink_metadata(path)?);
    let is_same = (open.dev(), open.ino()) == (named.dev(), named.ino());
    if is_same { Ok(()) } else { Err(replaced("it was replaced")) }
}

/// What is there is not what was written.
pub(super) fn replaced(how: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, how)
}
