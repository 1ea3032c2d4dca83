//! The lines of a file, one at a time and in bounded memory.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::{MAX_RECORD, ReadError};

#[cfg(test)]
mod tests;

/// Large reads: some hundred records each.
const BUFFER: usize = 256 << 10;

/// A file of lines. It may grow while it is read.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    /// Bytes of whole lines that were read.
    read: u64,
}

/// What is next in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line without its end.
    Record(&'a [u8]),
    /// A line longer than any record. What is behind it cannot be read.
    TooLong,
    /// The file ends within a line. It is not read: it may be whole later.
    Torn,
    End,
}

impl Lines {
    /// # Errors
    /// It cannot be opened, or is no file.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |source| ReadError { path: path.to_owned(), source };
        let file = BufReader::with_capacity(BUFFER, super::open(path).map_err(failed)?);
        Ok(Self { path: path.to_owned(), file, line: Vec::new(), read: 0 })
    }

    /// Bytes of the lines so far.
    pub fn bytes(&self) -> u64 {
        self.read
    }

    /// # Errors
    /// The file cannot be read.
    #[expect(clippy::should_implement_trait, reason = "what it returns is borrowed from the file's buffer")]
    pub fn next(&mut self) -> Result<Line<'_>, ReadError> {
        let length = match self.fill() {
            Ok(length) => length,
            Err(source) => return Err(ReadError { path: self.path.clone(), source }),
        };
        Ok(match (length, self.line.split_last()) {
            (_, None) => Line::End,
            (length, Some((b'\n', record))) => {
                self.read += length;
                Line::Record(record)
            }
            (_, Some((_, record))) if record.len() >= MAX_RECORD => Line::TooLong,
            (_, Some(_)) => Line::Torn,
        })
    }

    /// The next line with its end, if it has one; else the file stays where it is.
    fn fill(&mut self) -> io::Result<u64> {
        self.line.clear();
        let longest = MAX_RECORD as u64 + 1;
        let length = (&mut self.file).take(longest).read_until(b'\n', &mut self.line)? as u64;
        if !self.line.is_empty() && self.line.last() != Some(&b'\n') {
            self.file.seek(SeekFrom::Start(self.read))?;
        }
        Ok(length)
    }
}
