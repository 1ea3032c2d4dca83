//! The records of several logs as one, by time.

use std::vec::IntoIter;

use super::{Begin, Instance, Line, Lines, ReadError, Segment, View};

/// Nothing orders records of two logs but time. Within a log they keep their order.
#[derive(Debug)]
pub struct Joined<F> {
    logs: Vec<Log>,
    wanted: F,
}

/// A record that was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Milliseconds since 1970.
    pub time: i64,
    pub record: Vec<u8>,
}

#[derive(Debug)]
struct Log {
    segments: IntoIter<Segment>,
    open: Option<(Segment, Lines)>,
    /// The next one that is wanted.
    head: Option<Found>,
}

impl<F: Fn(&View<'_>, &[u8]) -> bool> Joined<F> {
    /// The records of these logs that are wanted.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(instances: &[Instance], wanted: F) -> Result<Self, ReadError> {
        let mut joined = Self { logs: Vec::new(), wanted };
        for instance in instances {
            let segments = instance.segments().to_vec().into_iter();
            let mut log = Log { segments, open: None, head: None };
            log.advance(&joined.wanted)?;
            joined.logs.push(log);
        }
        Ok(joined)
    }

    fn step(&mut self) -> Result<Option<Found>, ReadError> {
        let head = |log: &Log| log.head.as_ref().map(|found| found.time);
        let first = self.logs.iter_mut().filter(|log| log.head.is_some()).min_by_key(|log| head(log));
        first.map_or(Ok(None), |log| log.advance(&self.wanted))
    }
}

impl<F: Fn(&View<'_>, &[u8]) -> bool> Iterator for Joined<F> {
    type Item = Result<Found, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl Log {
    /// Takes the head, and finds the next one.
    fn advance(&mut self, wanted: &impl Fn(&View<'_>, &[u8]) -> bool) -> Result<Option<Found>, ReadError> {
        let next = self.find(wanted)?;
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn find(&mut self, wanted: impl Fn(&View<'_>, &[u8]) -> bool) -> Result<Option<Found>, ReadError> {
        loop {
            if self.open.is_none() {
                let Some(segment) = self.segments.next() else { return Ok(None) };
                let lines = segment.lines()?;
                self.open = Some((segment, lines));
            }
            let Some((segment, lines)) = &mut self.open else { return Ok(None) };
            let Line::Record(record) = lines.next()? else {
                self.open = None;
                continue;
            };
            // Whether the log is good is not asked here: what can be read is shown.
            let Some(begin) = Begin::parse(record) else { continue };
            let counts = !segment.is_void(begin.sequence);
            if let Some(view) = View::of(record).filter(|view| counts && wanted(view, record)) {
                return Ok(Some(Found { time: view.time, record: record.to_vec() }));
            }
        }
    }
}
