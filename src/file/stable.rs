//! Files that survive a crash: each is there whole or not at all, and its name is on stable storage as well as its content.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

#[cfg(test)]
mod tests;

/// Puts a file, for its owner alone, in the place of whatever stands there: whoever reads it finds the last one or this one.
/// Nothing is followed or waited for: a link or a pipe in its place is replaced itself. One writer at a time.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = draft(path, "new");
    // What stands there may be left of a crash.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write(&draft, text)?;
    fs::rename(&draft, path)?;
    File::open(parent(path))?.sync_all()
}

/// Makes a file, for its owner alone, unless there is one: processes that start at the same time end up with the same.
///
/// # Errors
/// It cannot be written.
pub fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut number = [0; 8];
    getrandom::fill(&mut number).map_err(io::Error::other)?;
    let draft = draft(path, &format!("{:016x}", u64::from_ne_bytes(number)));
    let named = write(&draft, text).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        named => named,
    });
    fs::remove_file(&draft)?;
    named?;
    File::open(parent(path))?.sync_all()
}

/// Makes a directory, for its owner alone, and those that it is in, unless they are there.
///
/// # Errors
/// One cannot be made, or something else stands there.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_directory(parent(path))?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Another process was there before.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(parent(path))?.sync_all(),
    }
}

fn write(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Beside the file, and hidden: no name that a file of its own may have.
fn draft(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{ending}"))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
