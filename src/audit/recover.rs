//! What a log held when its last writer ended, in order or not.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

use super::{
    chain::Chain,
    instance::Instance,
    line::{self, Read},
    segment::{self, Named},
    tree::{Frontier, Hash},
};
use crate::{call::RequestId, telemetry::metrics::AuditStage};

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

/// Where an intent stands.
#[derive(Clone, Copy, Debug)]
struct Spot {
    request: RequestId,
    segment: usize,
    offset: u64,
    length: usize,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Found {
    intents: BTreeMap<u64, Spot>,
    ends: HashMap<RequestId, u64>,
}

/// One segment, read to its last good record.
struct Scanned {
    chain: Chain,
    /// So many bytes of it are records.
    good: u64,
}

/// Reads the newest segment, and those before it as far as there may be intents without an end; what is torn at its end is
/// moved aside. How much that is depends on how long calls take, not on how much the log holds.
///
/// # Errors
/// A file cannot be read, or the tail cannot be moved.
pub(super) fn recover(instance: &Instance) -> io::Result<Past> {
    let mut segments = segment::list(instance.path())?;
    let Some(open_from) = newest(instance, &mut segments)? else {
        let chain = Chain::new(instance.name());
        return Ok(Past { chain, segments, open: Vec::new() });
    };
    let begin = segments.partition_point(|segment| segment.first <= open_from).saturating_sub(1);
    let mut found = Found::default();
    let mut last = None;
    for (index, segment) in segments.iter().enumerate().skip(begin) {
        last = Some(scan(instance.name(), segment, index, &mut found)?);
    }
    let Some(Scanned { chain, good }) = last else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if let Some(newest) = segments.last() {
        settle(newest, good)?;
        instance.sync()?;
    }
    let open = found.open(&segments)?;
    Ok(Past { chain, segments, open })
}

/// Whether the last writer ended in order: it has closed its last segment, as nobody else does before there is a next.
pub(super) fn is_ended(instance: &Instance) -> io::Result<bool> {
    let segments = segment::list(instance.path())?;
    let Some(last) = segments.last() else { return Ok(true) };
    Ok(fs::symlink_metadata(&last.path)?.permissions().readonly())
}

/// The root of the tree over all records before a segment, as its first record has it.
pub(super) fn root_before(log: &str, segment: &Path) -> io::Result<Hash> {
    let head = head(segment)?.ok_or(io::ErrorKind::InvalidData)?;
    let read = line::read(&head).ok_or(io::ErrorKind::InvalidData)?;
    begin(log, &head).ok_or(io::ErrorKind::InvalidData)?;
    let tree = Frontier::new(read.metadata.sequence, read.unmapped.tree);
    Ok(tree.ok_or(io::ErrorKind::InvalidData)?.root())
}

/// From where on the newest segment may have intents without an end before it. What is no segment behind it was begun
/// as the writer died, or its disk: it is moved aside.
fn newest(instance: &Instance, segments: &mut Vec<Named>) -> io::Result<Option<u64>> {
    while let Some(last) = segments.last() {
        if let Some(head) = head(&last.path)?
            && let Some((.., open_from)) = begin(instance.name(), &head)
        {
            return Ok(Some(open_from));
        }
        fs::rename(&last.path, last.path.with_extension(TORN))?;
        segments.pop();
    }
    Ok(None)
}

/// The first record of a segment, if it is whole.
fn head(segment: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    BufReader::new(open(segment)?).take(MAX_LINE).read_until(b'\n', &mut line)?;
    Ok(line.pop().is_some_and(|end| end == b'\n').then_some(line))
}

/// The chain behind a segment's first record, what of the records before is good, and from where on intents may be open.
fn begin(log: &str, record: &[u8]) -> Option<(Chain, u64, u64)> {
    let read = line::read(record).filter(|read| read.is(AuditStage::Segment))?;
    let tree = Frontier::new(read.metadata.sequence, read.unmapped.tree.clone())?;
    let mut chain = Chain::resume(log, tree, read.unmapped.prev);
    let (trusted, open_from) = (read.unmapped.trusted, read.unmapped.open_from);
    chain.follow(record, &read).then_some((chain, trusted, open_from))
}

/// Reads a segment to its end, or to the first line that is not the next record.
fn scan(log: &str, segment: &Named, index: usize, found: &mut Found) -> io::Result<Scanned> {
    let mut file = BufReader::with_capacity(1 << 16, open(&segment.path)?);
    let mut scanned = Scanned { chain: Chain::new(log), good: 0 };
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)?;
        let length = line.len() as u64;
        let Some(record) = line.strip_suffix(b"\n") else { return Ok(scanned) };
        let Some(read) = line::read(record) else { return Ok(scanned) };
        if scanned.good == 0 {
            let Some((chain, trusted, _)) = begin(log, record) else { return Ok(scanned) };
            scanned.chain = chain;
            found.void(trusted);
        } else if !scanned.chain.follow(record, &read) {
            return Ok(scanned);
        }
        found.note(
            &read,
            Spot {
                request: RequestId::default(),
                segment: index,
                offset: scanned.good,
                length: record.len(),
            },
        );
        scanned.good += length;
    }
}

/// The newest segment is over: what is torn goes aside, what is good is on stable storage. It may have been in the
/// memory of the kernel alone.
fn settle(segment: &Named, good: u64) -> io::Result<()> {
    let file = open(&segment.path)?;
    let size = file.metadata()?.len();
    if size == good && file.metadata()?.permissions().readonly() {
        // Its writer has closed it.
        return file.sync_all();
    }
    let file = OpenOptions::new().read(true).write(true).custom_flags(no_links()).open(&segment.path)?;
    if size > good {
        let torn = segment.path.with_extension(TORN);
        let mut rest = &file;
        rest.seek(SeekFrom::Start(good))?;
        let mut aside = OpenOptions::new();
        let mut aside = aside.create(true).truncate(true).write(true).mode(0o600).open(torn)?;
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

impl Found {
    fn note(&mut self, read: &Read<'_>, spot: Spot) {
        let Some(request) = read.request() else { return };
        let sequence = read.metadata.sequence;
        if read.is(AuditStage::Intent) {
            self.intents.insert(sequence, Spot { request, ..spot });
        } else if [AuditStage::Outcome, AuditStage::Reject, AuditStage::Recovered]
            .into_iter()
            .any(|stage| read.is(stage))
        {
            self.ends.entry(request).or_insert(sequence);
        }
    }

    /// What stands from `trusted` on does not count: nobody was told that it was there.
    fn void(&mut self, trusted: u64) {
        self.intents.split_off(&trusted);
        self.ends.retain(|_, sequence| *sequence < trusted);
    }

    fn open(self, segments: &[Named]) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut open = Vec::new();
        for (sequence, spot) in self.intents {
            if self.ends.contains_key(&spot.request) {
                continue;
            }
            let mut record = vec![0; spot.length];
            if let Some(segment) = segments.get(spot.segment) {
                self::open(&segment.path)?.read_exact_at(&mut record, spot.offset)?;
                open.push((sequence, record));
            }
        }
        Ok(open)
    }
}
