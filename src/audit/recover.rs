//! What a log held when its last writer ended, in order or not.
//!
//! Threat: somebody who can write the directory, but does not have the key, alters the log between two runs; what is signed
//! behind that would be signed with it. So what is read must hold together, and be what the newest checkpoint that was kept
//! elsewhere says. Only what a crash leaves is put right: records torn at the end, and files in which there is none yet.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

use super::{
    chain::Chain,
    instance::Instance,
    line,
    segment::{self, Named},
    signer::LogSigner,
    tree::{Frontier, Hash},
};
use crate::telemetry::metrics::AuditStage;

mod found;
mod way;

use found::{Found, Spot};
use way::Way;
pub(super) use way::{Kept, Problem, Refused};

/// With its line feed. What is longer is no record.
const MAX_LINE: u64 = 1 << 16;
/// What a crash left behind the last record is kept under this ending, for whoever wants to see it.
pub(super) const TORN: &str = "torn";

/// A log, as it was left.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) chain: Chain,
    pub(super) segments: Vec<Named>,
    /// Intents without an end, as records, by their sequence number.
    pub(super) open: Vec<(u64, Vec<u8>)>,
}

/// The first record of a segment.
#[derive(Debug)]
struct Head {
    /// With it.
    chain: Chain,
    /// What of the records before is good.
    trusted: u64,
    /// From where on intents may be open.
    open_from: u64,
}

/// Reads the newest segment, and those before it as far as there may be intents without an end, or as the checkpoint that
/// was kept goes back; what is torn at its end is moved aside. How much that is depends on how long calls take, not on how
/// much the log holds.
///
/// # Errors
/// A file cannot be read, the tail cannot be moved, or the log is not what its writers left.
pub(super) fn recover(instance: &Instance, signer: &LogSigner) -> io::Result<Past> {
    let name = instance.name();
    let mut segments = segment::list(instance.path())?;
    let (newest, begun) = newest(name, &mut segments)?;
    let mut way = Way::new(signer.verifier_key(), signer.kept()?);
    let mut found = Found::default();
    let mut good = 0;
    if let Some(Head { open_from, .. }) = newest {
        let from = way.from(open_from);
        let begin = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        for (index, end) in counted(name, &segments, begin)? {
            good = scan(name, &segments[index], (index, end), &mut way, &mut found)?;
        }
    }
    let chain = way.finish()?.unwrap_or_else(|| Chain::new(name));
    // It is what its writers left: now it may be changed.
    for segment in begun {
        fs::rename(&segment.path, segment.path.with_extension(TORN))?;
    }
    if let Some(newest) = segments.last() {
        settle(newest, good)?;
    }
    instance.sync()?;
    let open = found.open(&segments)?;
    Ok(Past { chain, segments, open })
}

/// Whether the last writer ended in order: it has closed its last segment, as nobody else does before there is a next.
pub(super) fn is_ended(instance: &Instance) -> io::Result<bool> {
    let segments = segment::list(instance.path())?;
    let Some(last) = segments.last() else { return Ok(true) };
    segment::is_closed(&last.path)
}

/// The root of the tree over all records before a segment, as its first record has it.
pub(super) fn root_before(log: &str, segment: &Path) -> io::Result<Hash> {
    let head = head(segment)?.ok_or(io::ErrorKind::InvalidData)?;
    let read = line::read(&head).ok_or(io::ErrorKind::InvalidData)?;
    begin(log, &head).ok_or(io::ErrorKind::InvalidData)?;
    let tree = Frontier::new(read.metadata.sequence, read.unmapped.tree);
    Ok(tree.ok_or(io::ErrorKind::InvalidData)?.root())
}

/// How the newest segment begins. Those behind it that have no first record were begun as the writer died, or its disk, and
/// are taken out. One that has another first record than it should is no work of a crash.
fn newest(log: &str, segments: &mut Vec<Named>) -> io::Result<(Option<Head>, Vec<Named>)> {
    let mut begun = Vec::new();
    while let Some(last) = segments.pop() {
        if let Some(record) = head(&last.path)? {
            let head = begin(log, &record).ok_or_else(|| Refused::of(&last, Problem::Foreign))?;
            segments.push(last);
            return Ok((Some(head), begun));
        }
        begun.push(last);
    }
    Ok((None, begun))
}

/// The segments from an index on of which records count, and from where on they do not: the least of what those behind say
/// can be trusted. One that does not begin as it should is lost, and so is the way to those before it; what is behind it
/// still holds together, and can be gone on with.
fn counted(log: &str, segments: &[Named], begin: usize) -> io::Result<Vec<(usize, u64)>> {
    let (mut counted, mut end) = (Vec::new(), u64::MAX);
    for (index, segment) in segments.iter().enumerate().skip(begin).rev() {
        if segment.first >= end {
            continue;
        }
        let head = head(&segment.path)?.and_then(|record| self::begin(log, &record));
        let Some(head) = head else {
            tracing::warn!(
                segment = segment.first,
                "an audit segment was altered: calls before its end that a crash left open stay without one"
            );
            break;
        };
        counted.push((index, end));
        end = end.min(head.trusted);
    }
    counted.reverse();
    Ok(counted)
}

/// The first record of a segment, if it is whole.
fn head(segment: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    BufReader::new(open(segment)?).take(MAX_LINE).read_until(b'\n', &mut line)?;
    // Of what is longer than any record nothing was torn.
    let is_whole = line.pop_if(|end| *end == b'\n').is_some() || line.len() as u64 == MAX_LINE;
    Ok(is_whole.then_some(line))
}

fn begin(log: &str, record: &[u8]) -> Option<Head> {
    let read = line::read(record).filter(|read| read.is(AuditStage::Segment))?;
    let tree = Frontier::new(read.metadata.sequence, read.unmapped.tree.clone())?;
    let mut chain = Chain::resume(log, tree, read.unmapped.prev);
    let (trusted, open_from) = (read.unmapped.trusted, read.unmapped.open_from);
    chain.follow(record, &read).then_some(Head { chain, trusted, open_from })
}

/// Reads a segment to where its records do not count any more, or to the first line that is not the next record. So many
/// bytes of it are records.
fn scan(
    log: &str,
    segment: &Named,
    (index, end): (usize, u64),
    way: &mut Way,
    found: &mut Found,
) -> io::Result<u64> {
    let mut file = BufReader::with_capacity(1 << 16, open(&segment.path)?);
    let (mut line, mut good) = (Vec::new(), 0);
    while good == 0 || way.next() < end {
        line.clear();
        (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)?;
        let Some(record) = line.strip_suffix(b"\n") else { break };
        let Some(read) = line::read(record) else { break };
        if good == 0 {
            let Some(Head { chain, trusted, .. }) = begin(log, record) else { break };
            way.open(segment, &read, chain)?;
            found.void(trusted);
        } else if !way.follow(segment, record, &read)? {
            break;
        }
        found.note(&read, Spot { segment: index, offset: good, length: record.len() });
        good += line.len() as u64;
    }
    Ok(good)
}

/// The newest segment is over: what is torn goes aside, what is good is on stable storage. It may have been in the
/// memory of the kernel alone.
fn settle(segment: &Named, good: u64) -> io::Result<()> {
    let file = open(&segment.path)?;
    let size = file.metadata()?.len();
    if segment::is_closed(&segment.path)? {
        // Its writer has closed it, behind its last record.
        return if size == good {
            file.sync_all()
        } else {
            Err(Refused::of(segment, Problem::Closed).into())
        };
    }
    let file = OpenOptions::new().read(true).write(true).custom_flags(no_links()).open(&segment.path)?;
    if size > good {
        let torn = segment.path.with_extension(TORN);
        // What stands there is of a start that a crash has ended, too.
        match fs::remove_file(&torn) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut rest = &file;
        rest.seek(SeekFrom::Start(good))?;
        let mut aside = OpenOptions::new().create_new(true).write(true).mode(0o600).open(torn)?;
        io::copy(&mut rest, &mut aside)?;
        aside.sync_all()?;
        tracing::warn!(
            bytes = size - good,
            segment = segment.first,
            "what a crash left behind the last audit record was moved aside"
        );
    }
    // Also frees blocks that were kept for ends.
    file.set_len(good)?;
    file.sync_all()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(no_links()).open(path)
}

/// Neither a link nor a pipe, put there by whomever.
fn no_links() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}
