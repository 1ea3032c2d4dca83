//! Where a sink is in the log.

use std::{collections::VecDeque, path::Path, sync::Arc};

use super::batch::Batch;
use crate::audit::{
    reach::Reach,
    read::{Begin, Instance, Line, Lines, ReadError, Segment},
    segment,
};

/// Reads on from a sequence number, as far as the log can be relied upon.
#[derive(Debug)]
pub(super) struct Cursor {
    next: u64,
    listed: Option<Listed>,
}

/// The directory, as it was when its newest segment was begun.
#[derive(Debug)]
struct Listed {
    directory: Arc<Path>,
    generation: u64,
    /// From the one on that is read.
    segments: VecDeque<Segment>,
    open: Option<Lines>,
}

/// What a line is to the cursor.
enum Found {
    Record,
    Passed,
    /// The file has no more.
    End,
    /// The log goes on behind what can be relied upon.
    Beyond,
}

impl Cursor {
    pub(super) fn at(next: u64) -> Self {
        Self { next, listed: None }
    }

    /// The next record that is wanted.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reads the same again.
    pub(super) fn rewind(&mut self, next: u64) {
        *self = Self::at(next);
    }

    /// What comes next, at most a batch of it; nothing if all was read that can be relied upon.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(&mut self, reach: &Reach) -> Result<Batch, ReadError> {
        let mut batch = Batch::from(self.next);
        self.list(reach)?;
        let Some(listed) = &mut self.listed else { return Ok(batch) };
        while !batch.is_full() && batch.next < reach.trusted {
            match listed.step(&mut batch, reach.trusted)? {
                Found::Record | Found::Passed => {}
                Found::End if listed.segments.len() > 1 => listed.advance(),
                // Looked for again: the file that was read may have been removed.
                Found::End | Found::Beyond => {
                    self.listed = None;
                    break;
                }
            }
        }
        self.next = batch.next;
        Ok(batch)
    }

    /// The next segment that is closed, with the number of the first record behind it. Once the log is over, that is also
    /// the last one, where its writer has closed it.
    ///
    /// # Errors
    /// A directory or the beginning of a segment cannot be read.
    pub(super) fn closed(
        &mut self,
        reach: &Reach,
        is_over: bool,
    ) -> Result<Option<(Segment, u64)>, ReadError> {
        self.list(reach)?;
        let Some(listed) = &self.listed else { return Ok(None) };
        let ends = listed.segments.iter().skip(1).map(|segment| segment.first);
        let closed = listed.segments.iter().zip(ends);
        let mut open = closed.filter(|(_, end)| *end > self.next && *end < reach.trusted);
        let is_closed = |last: &&Segment| segment::is_closed(&last.path).unwrap_or(false);
        let last = listed.segments.back().filter(|last| is_over && is_closed(last));
        let last = last.map(|last| (last, reach.trusted));
        let open = open.next().or(last.filter(|(last, end)| last.first.max(self.next) < *end));
        Ok(open.map(|(segment, end)| (segment.clone(), end)))
    }

    /// Everything before this number was taken.
    pub(super) fn pass(&mut self, next: u64) {
        self.next = next;
    }

    fn list(&mut self, reach: &Reach) -> Result<(), ReadError> {
        let is_current = self.listed.as_ref().is_some_and(|listed| {
            (listed.generation, &listed.directory) == (reach.generation, &reach.directory)
        });
        if is_current {
            return Ok(());
        }
        let instance = Instance::open(&reach.directory)?;
        let segments = instance.as_ref().map_or(&[][..], Instance::segments);
        let begin = segments.partition_point(|segment| segment.first <= self.next).saturating_sub(1);
        self.listed = Some(Listed {
            directory: Arc::clone(&reach.directory),
            generation: reach.generation,
            segments: segments[begin..].iter().cloned().collect(),
            open: None,
        });
        Ok(())
    }
}

impl Listed {
    fn step(&mut self, batch: &mut Batch, trusted: u64) -> Result<Found, ReadError> {
        let Some(segment) = self.segments.front() else { return Ok(Found::End) };
        if segment.first >= trusted {
            return Ok(Found::Beyond);
        }
        let lines = match &mut self.open {
            Some(lines) => lines,
            closed => closed.insert(segment.lines()?),
        };
        let Line::Record(record) = lines.next()? else { return Ok(Found::End) };
        // Whether the log is good is not asked here: a line that is no record of it is none to ship.
        let Some(begin) = Begin::parse(record) else { return Ok(Found::Passed) };
        if begin.sequence >= trusted {
            return Ok(Found::Beyond);
        }
        if begin.sequence < batch.next || segment.is_void(begin.sequence) {
            return Ok(Found::Passed);
        }
        batch.push(begin.sequence, record);
        Ok(Found::Record)
    }

    fn advance(&mut self) {
        self.segments.pop_front();
        self.open = None;
    }
}
