//! Reading logs from their files: instances, their segments in order, and of these the records that count.
//!
//! Files are read as they come, so that a log of any size can be; they may be written meanwhile. What stands in them is
//! not trusted: no link is followed out of the directory, and nothing waits for a pipe.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

mod begin;
mod joined;
mod lines;
mod opening;
mod recorded;
mod view;

pub use begin::{Begin, MAX_RECORD};
pub use joined::{Found, Joined};
pub use lines::{Line, Lines};
pub use opening::Opening;
pub use recorded::{Recorded, Unjudged, Word};
pub use view::View;

/// Digits of a segment's name, for any sequence number.
const DIGITS: usize = 20;
const EXTENSION: &str = ".jsonl";
/// Far beyond what a log can have, and far enough from where counting on would overflow.
const MAX_SEQUENCE: u64 = u64::MAX >> 1;
/// The verifier keys beside a log.
pub(super) const KEYS: &str = "key.pub";
/// A key is some hundred bytes.
const MAX_KEYS: u64 = 64 << 10;

/// One log: one writer, one chain.
#[derive(Clone, Debug)]
pub struct Instance {
    directory: PathBuf,
    /// The directory is as the gateway has made it, and not any copy: it has the instance's name.
    named: bool,
    segments: Vec<Segment>,
}

/// A file of a log, as far as its records count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sequence number of its first record, by its name.
    pub first: u64,
    /// Records from this number on are void: the file failed, and what was to be kept of them was written again. What is
    /// left of them may be torn, or gone.
    pub void_from: Option<u64>,
    pub path: PathBuf,
}

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct ReadError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl Instance {
    /// The logs of a directory: its own, and those of the directories in it, by name. A key alone is no log where there are
    /// others: whoever puts one there must not hide them.
    ///
    /// # Errors
    /// A directory or the beginning of a segment cannot be read.
    pub fn all(directory: &Path) -> Result<Vec<Self>, ReadError> {
        let own = Self::open(directory)?;
        let directories: Vec<_> = entries(directory)?.into_iter().filter(|(_, kind)| kind.is_dir()).collect();
        let opened = directories.into_iter().filter_map(|(path, _)| Self::open(&path).transpose());
        let below = opened.map(|instance| Ok(Self { named: true, ..instance? }));
        let below: Vec<_> = below.collect::<Result<_, ReadError>>()?;
        let own = own.filter(|own| below.is_empty() || !own.segments.is_empty());
        Ok(own.into_iter().chain(below).collect())
    }

    /// The log in this directory, if there is one.
    ///
    /// # Errors
    /// The directory or the beginning of a segment cannot be read.
    pub fn open(directory: &Path) -> Result<Option<Self>, ReadError> {
        let (mut numbers, mut key) = (Vec::new(), false);
        for (path, _) in entries(directory)? {
            match path.file_name().and_then(|name| name.to_str()) {
                Some(KEYS) => key = true,
                Some(name) => numbers.extend(number(name).map(|first| (first, path))),
                None => {}
            }
        }
        if numbers.is_empty() && !key {
            return Ok(None);
        }
        numbers.sort();
        Ok(Some(Self { directory: directory.to_owned(), named: false, segments: segments(numbers)? }))
    }

    /// The segment that comes after the one with this first record, whether what is in it counts or not.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn segment_after(directory: &Path, first: u64) -> Result<Option<Segment>, ReadError> {
        let numbered = entries(directory)?.into_iter().filter_map(|(path, _)| {
            let first = number(path.file_name()?.to_str()?)?;
            Some(Segment { first, void_from: None, path })
        });
        Ok(numbered.filter(|segment| segment.first > first).min_by_key(|segment| segment.first))
    }

    /// What the directory is called; empty where it has no name.
    pub fn name(&self) -> &str {
        self.directory.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Whether the name of the directory must be that of the log.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// The file that the record is in, or should be.
    pub fn file_of(&self, sequence: u64) -> PathBuf {
        let before = self.segments.iter().rev().find(|segment| segment.first <= sequence);
        before
            .or(self.segments.first())
            .map_or_else(|| self.directory.clone(), |segment| segment.path.clone())
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// In order. What is void as a whole is not among them.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The verifier keys beside the log, one a line, the newest last.
    ///
    /// # Errors
    /// They cannot be read, or are no text.
    pub fn key(&self) -> Result<String, ReadError> {
        let path = self.directory.join(KEYS);
        keys(&path).map_err(|source| ReadError { path, source })
    }
}

impl Segment {
    /// # Errors
    /// It cannot be opened, or is no file.
    pub fn lines(&self) -> Result<Lines, ReadError> {
        Lines::open(&self.path)
    }

    pub fn is_void(&self, sequence: u64) -> bool {
        self.void_from.is_some_and(|from| from <= sequence)
    }
}

/// The verifier keys in a file beside a log.
pub(super) fn keys(path: &Path) -> io::Result<String> {
    open(path).and_then(|file| io::read_to_string(io::Read::take(file, MAX_KEYS)))
}

/// The sequence number that a segment is named after.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION).filter(|digits| digits.len() == DIGITS)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_number && *number <= MAX_SEQUENCE)
}

/// Finds what is void, from the newest segment back: the least of what those behind trust.
fn segments(numbers: Vec<(u64, PathBuf)>) -> Result<Vec<Segment>, ReadError> {
    let (mut segments, mut trusted, mut next) = (Vec::new(), u64::MAX, u64::MAX);
    for (first, path) in numbers.into_iter().rev() {
        if first >= trusted {
            continue;
        }
        let said = match said(&path) {
            // It was removed by the rules of retention, just now.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
            said => said?,
        };
        // The newest one may be just begun.
        if said.is_none() && segments.is_empty() {
            continue;
        }
        let void_from = (trusted < next).then_some(trusted);
        // A beginning that says nothing is found when the segment is read.
        trusted = trusted.min(said.flatten().unwrap_or(first));
        next = first;
        segments.push(Segment { first, void_from, path });
    }
    segments.reverse();
    Ok(segments)
}

/// What the first record of the file says of those before it; nothing where it has no record.
fn said(path: &Path) -> Result<Option<Option<u64>>, ReadError> {
    Ok(match Lines::open(path)?.next()? {
        Line::Record(record) => Some(Opening::of(record).map(|opening| opening.trusted)),
        Line::TooLong => Some(None),
        Line::Torn | Line::End => None,
    })
}

/// By name.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, fs::FileType)>, ReadError> {
    let failed = |source| ReadError { path: directory.to_owned(), source };
    let read = fs::read_dir(directory).map_err(failed)?;
    let mut entries = read
        .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
        .collect::<io::Result<Vec<_>>>();
    if let Ok(entries) = &mut entries {
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    entries.map_err(failed)
}

/// Opens a file of a log, and nothing else: what a link points to is not of the log, and a pipe would wait for its writer.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("is not a file")) }
}
