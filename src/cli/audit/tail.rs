//! `audit tail`

use std::{collections::VecDeque, io, thread, time::Duration};

use super::{ExitCode, Failure, Found, Instance, Logs, PathBuf, ReadError, View, show};
use crate::audit::read::{Begin, Line, Lines, Segment};

/// A record is shown within this after it was written.
const POLL: Duration = Duration::from_millis(200);
/// Every so many polls it is looked for logs that are new.
const LOOK: u32 = 10;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    logs: Logs,
    /// How many records of those that are there.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Go on with those that come, until the command is ended.
    #[arg(short, long)]
    follow: bool,
}

/// A log that is read while it is written.
struct Followed {
    directory: PathBuf,
    /// The segments that were there at first, with what of them is void.
    known: Vec<Segment>,
    segment: Segment,
    lines: Lines,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut followed = Vec::new();
    let mut found = Vec::new();
    for instance in args.logs.open()? {
        let Some(mut log) = Followed::open(&instance, args.lines)? else { continue };
        found.extend(log.newest(args.lines)?);
        followed.push(log);
    }
    found.sort_by_key(|found| found.time);
    let spare = found.len().saturating_sub(args.lines);
    let is_read = show(&found[spare..])?;
    if args.follow && is_read {
        follow(&args.logs, followed)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Until nobody reads what it shows.
fn follow(logs: &Logs, mut followed: Vec<Followed>) -> Result<(), Failure> {
    loop {
        for _ in 0..LOOK {
            thread::sleep(POLL);
            for log in &mut followed {
                if !log.read(|found| show([&found]))? {
                    return Ok(());
                }
            }
        }
        for instance in logs.open()? {
            if !followed.iter().any(|log| log.directory == instance.directory()) {
                followed.extend(Followed::open(&instance, usize::MAX)?);
            }
        }
    }
}

impl Followed {
    /// From a segment on behind whose beginning there are at least so many records, if there are.
    fn open(instance: &Instance, count: usize) -> Result<Option<Self>, ReadError> {
        let (mut records, mut oldest) = (0, None);
        for segment in instance.segments().iter().rev() {
            let Some(mut lines) = there(segment)? else { break };
            let mut next = segment.first;
            while !segment.is_void(next) && matches!(lines.next()?, Line::Record(_)) {
                (next, records) = (next + 1, records + 1);
            }
            oldest = Some(segment);
            if records >= count {
                break;
            }
        }
        let Some(segment) = oldest.cloned() else { return Ok(None) };
        let (directory, known) = (instance.directory().to_owned(), instance.segments().to_vec());
        Ok(there(&segment)?.map(|lines| Self { directory, known, segment, lines }))
    }

    /// The segment behind the one that is read.
    fn next(&self) -> Result<Option<Segment>, ReadError> {
        match self.known.iter().find(|segment| segment.first > self.segment.first) {
            Some(next) => Ok(Some(next.clone())),
            None => Instance::segment_after(&self.directory, self.segment.first),
        }
    }

    /// The newest records of those that are there.
    fn newest(&mut self, count: usize) -> Result<VecDeque<Found>, Failure> {
        let mut newest = VecDeque::new();
        self.read(|found| {
            newest.push_back(found);
            if newest.len() > count {
                newest.pop_front();
            }
            Ok(true)
        })?;
        Ok(newest)
    }

    /// Takes what has come since, as long as more is wanted; says whether it is.
    fn read(&mut self, mut take: impl FnMut(Found) -> Result<bool, Failure>) -> Result<bool, Failure> {
        loop {
            // Asked for before the end is seen: to a segment that has a successor nothing is added.
            let next = self.next()?;
            while let Line::Record(record) = self.lines.next()? {
                let is_void = |begin: Begin<'_>| self.segment.is_void(begin.sequence);
                if Begin::parse(record).is_some_and(is_void) {
                    continue;
                }
                let time = View::of(record).map_or(0, |view| view.time);
                if !take(Found { time, record: record.to_vec() })? {
                    return Ok(false);
                }
            }
            let Some(next) = next else { return Ok(true) };
            if let Some(lines) = there(&next)? {
                self.lines = lines;
            }
            self.segment = next;
        }
    }
}

/// The lines of a segment, unless it was removed meanwhile by the rules of retention.
fn there(segment: &Segment) -> Result<Option<Lines>, ReadError> {
    match segment.lines() {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        lines => lines.map(Some),
    }
}
