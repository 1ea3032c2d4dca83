//! The file: one thread, groups of records, one fdatasync per group.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::Receiver;

use super::{
    line::{self, Place},
    log::{Entry, Gaps, Unavailable},
    record::Record,
    tree::Hash,
};
use crate::telemetry::{Metrics, metrics::AuditStage};

/// Records per fdatasync: groups of 256 take a disk from hundreds of records a second to tens of thousands.
const GROUP: usize = 256;
/// Between tries of a disk that failed: well inside the 2 s within which a repair must show (promise P5).
const RETRY: Duration = Duration::from_millis(250);

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    /// `None` after a failure: a file that failed once is opened anew before it is trusted.
    file: Option<File>,
    gaps: Arc<Gaps>,
    healthy: Arc<AtomicBool>,
    metrics: Metrics,
    sequence: u64,
    prev: Hash,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        file: File,
        gaps: Arc<Gaps>,
        healthy: Arc<AtomicBool>,
        metrics: Metrics,
    ) -> Self {
        Self { path, file: Some(file), gaps, healthy, metrics, sequence: 0, prev: Hash::default() }
    }

    /// Runs until it is told to close, or the last handle is gone.
    pub(super) fn run(mut self, mut entries: Receiver<Entry>) {
        let mut group = Vec::with_capacity(GROUP);
        while entries.blocking_recv_many(&mut group, GROUP) > 0 {
            if group.iter().any(|entry| matches!(entry, Entry::Close)) {
                entries.close();
                // The last records have one more chance.
                self.reopen();
            }
            self.commit(group.drain(..));
            while self.file.is_none() && !entries.is_closed() {
                thread::sleep(RETRY);
                self.reopen();
                self.refuse(&mut entries);
            }
        }
        self.finish();
    }

    /// What nobody waited for is on disk all the same when the process ends.
    fn finish(&self) {
        if let Some(Err(error)) = self.file.as_ref().map(File::sync_data) {
            tracing::error!(error = ?error.to_string(), "the end of the audit log may be lost");
        }
    }

    /// Calls that came in the meantime are not left waiting for a disk that is still gone.
    fn refuse(&self, entries: &mut Receiver<Entry>) {
        while self.file.is_none() {
            match entries.try_recv() {
                Ok(Entry::Close) => entries.close(),
                Ok(entry) => self.fail(entry),
                Err(_) => return,
            }
        }
    }

    /// Writes a group and answers those who wait for it.
    fn commit(&mut self, group: impl Iterator<Item = Entry>) {
        let mut lines = Vec::new();
        let (mut waiting, mut probes) = (Vec::new(), Vec::new());
        let mut records = 0;
        for entry in group {
            match entry {
                Entry::Record { record, durable } => {
                    self.push_line(&mut lines, &record);
                    self.metrics.audit_recorded(record.stage());
                    waiting.extend(durable);
                    records += 1;
                }
                Entry::Probe(told) => probes.push(told),
                Entry::Close => {}
            }
        }
        let written = self.write(&lines, !waiting.is_empty());
        let written = if probes.is_empty() { written } else { written.and_then(|()| self.look()) };
        if let Err(error) = &written {
            self.broke(error, records);
        }
        let answer = written.map_err(|_| Unavailable::Write);
        for waiting in waiting.into_iter().chain(probes) {
            // A call that no longer waits has given its own answer.
            let _gone = waiting.send(answer);
        }
    }

    /// Appends the lines, after gap records for what is missing, and brings them to stable storage where that is due.
    fn write(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        let gaps = self.gaps.clone();
        let missed = gaps.missed.swap(0, Ordering::Relaxed);
        self.append(lines, (missed > 0).then(|| gap(missed)), sync).inspect_err(|_| {
            // A gap record may have gone with the rest: told twice is better than not at all.
            gaps.missed.fetch_add(missed, Ordering::Relaxed);
        })
    }

    fn append(&mut self, lines: &[u8], gap: Option<Record>, sync: bool) -> io::Result<()> {
        let mut told = Vec::new();
        if let Some(record) = gap {
            self.push_line(&mut told, &record);
            self.metrics.audit_recorded(AuditStage::Gap);
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotConnected.into()) };
        file.write_all(&told)?;
        file.write_all(lines)?;
        if sync {
            let begun = Instant::now();
            file.sync_data()?;
            self.metrics.audit_synced(begun.elapsed());
            reachable(file, &self.path)?;
        }
        Ok(())
    }

    fn push_line(&mut self, lines: &mut Vec<u8>, record: &Record) {
        let place = Place { log: "audit", sequence: self.sequence, prev: self.prev };
        self.prev = line::write(place, &record.tail(), lines);
        self.sequence += 1;
    }

    /// Whether what was written can be found.
    fn look(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotConnected.into()) };
        reachable(file, &self.path)
    }

    fn broke(&mut self, error: &io::Error, records: u64) {
        tracing::error!(error = ?error.to_string(), "the audit log cannot be written");
        self.metrics.audit_failed();
        self.healthy.store(false, Ordering::Relaxed);
        self.gaps.missed.fetch_add(records, Ordering::Relaxed);
        self.file = None;
    }

    /// After a failure, opens the file anew and proves it with the gap record that is owed.
    fn reopen(&mut self) {
        if self.file.is_some() {
            return;
        }
        self.file = open(&self.path).ok();
        if self.file.is_some() {
            match self.write(&[], true) {
                Ok(()) => {
                    self.healthy.store(true, Ordering::Relaxed);
                    tracing::info!("the audit log can be written again");
                }
                Err(_) => self.file = None,
            }
        }
    }

    /// Refuses an entry while the disk is gone.
    fn fail(&self, entry: Entry) {
        let waiting = match entry {
            Entry::Record { durable, .. } => {
                self.gaps.missed.fetch_add(1, Ordering::Relaxed);
                durable
            }
            Entry::Probe(told) => Some(told),
            Entry::Close => None,
        };
        if let Some(waiting) = waiting {
            let _gone = waiting.send(Err(Unavailable::Write));
        }
    }
}

/// So many records are missing here.
fn gap(count: u64) -> Record {
    let own = [("count".to_owned(), count.into())];
    Record::own(AuditStage::Gap, own.into_iter().collect())
}

/// Opens the file for appending and makes sure that the next record begins on a line of its own: a crash can have
/// left half of one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    if let Some(directory) = path.parent() {
        // The file's name must survive a crash as well as its content.
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

/// A file that was removed or renamed takes records as before, but nobody will find them there (promise P1).
fn reachable(file: &File, path: &Path) -> io::Result<()> {
    let (open, named) = (file.metadata()?, fs::metadata(path)?);
    let same = (open.dev(), open.ino()) == (named.dev(), named.ino());
    if same { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, "the file was replaced")) }
}
