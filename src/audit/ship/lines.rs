//! Sinks of lines: a second file, or standard output.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use super::{SinkError, batch::Batch};

/// Where lines go.
#[derive(Clone, Debug)]
pub(super) enum Lines {
    /// Appended to, and made anew where somebody has moved it away, as programs that rotate logs do.
    File(Arc<Path>),
    /// What is open already.
    Stream(fn() -> Box<dyn Write>),
}

impl Lines {
    pub(super) fn file(path: PathBuf) -> Self {
        Self::File(path.into())
    }

    pub(super) fn stdout() -> Self {
        Self::Stream(|| Box::new(io::stdout().lock()))
    }

    /// What is being written cannot be called back: whoever gives up waiting leaves a thread behind.
    ///
    /// # Errors
    /// It cannot be written; part of the batch may have been.
    pub(super) async fn take(&self, batch: Arc<Batch>) -> Result<(), SinkError> {
        let sink = self.clone();
        let written = spawn_blocking(move || match sink {
            Self::File(path) => append(&path, batch.lines()),
            Self::Stream(open) => {
                let mut out = open();
                out.write_all(batch.lines()).and_then(|()| out.flush())
            }
        });
        written.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(SinkError::Write)
    }
}

fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file =
        OpenOptions::new().create(true).read(true).append(true).mode(0o600).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a file"));
    }
    // What a crash has cut comes again, as a line of its own.
    if is_torn(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)?;
    file.sync_data()
}

fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
