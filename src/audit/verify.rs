//! Whether a log is what was written, by `docs/audit-log.md` ("To verify").
//!
//! Threat: somebody who can write the log's directory but does not have the signing key edits, removes, moves or rolls
//! back. What is before a checkpoint that was kept elsewhere is then found; behind the newest one the chain alone holds,
//! and a chain needs no key.

use std::{ops::Range, path::PathBuf, thread};

use super::{
    checkpoint::{Checkpoint, CheckpointError},
    key::VerifierKey,
    read::{Instance, Line, ReadError, Segment},
    tree::Hash,
};

mod ahead;
mod calls;
mod kept;
mod pruned;
mod trust;
mod walk;

use ahead::{Batch, End};
pub use kept::Kept;
pub use trust::{Trust, TrustError};
use walk::Walk;

/// What became of a log that was read from end to end, or up to its first bad record.
#[derive(Clone, Debug)]
pub struct Report {
    /// The instance, by its records; empty where there is none.
    pub log: String,
    /// All before this one are consistent with each other.
    pub records: u64,
    /// The number of the first record that is there.
    pub first: u64,
    pub files: usize,
    /// Of the records.
    pub bytes: u64,
    /// The first bad record.
    pub fault: Option<Fault>,
    /// The newest checkpoint in the log: up to its size the log is what the key has signed.
    pub signed: Option<Signed>,
    /// Whether it is what every checkpoint that was kept elsewhere says.
    pub kept: bool,
    /// What does not count, as the files that had it failed.
    pub void: Vec<Range<u64>>,
    /// What of it was signed and told elsewhere before it was gone: somebody has removed it.
    pub lost: Vec<Range<u64>>,
    /// Calls whose intent has no end yet.
    pub open: usize,
    /// The newest file ends within a record: it is being written, or a crash has torn it.
    pub torn: bool,
}

impl Report {
    /// Whether it is what was written, and all of it.
    pub fn is_good(&self) -> bool {
        self.fault.is_none() && self.lost.is_empty()
    }
}

/// A checkpoint as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub checkpoint: Checkpoint,
    pub note: String,
}

/// The first bad record of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {record} in {}: {reason}", .file.display())]
pub struct Fault {
    pub record: u64,
    /// Where it is, or should be.
    pub file: PathBuf,
    pub reason: Reason,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("does not begin as a record of this format")]
    Begin,
    #[error("is longer than a record may be")]
    TooLong,
    #[error("is torn, and is not the last one of the log")]
    Torn,
    #[error("is no JSON")]
    Json,
    #[error("stands in the place of record {0}: something was removed, added or moved")]
    Number(u64),
    #[error("is of the log {0:?}")]
    Log(String),
    #[error("was altered, or `prev` of the record behind it was: they do not agree")]
    Chain,
    #[error("is missing, or the records behind it are: the next file begins with {0}")]
    Missing(u64),
    #[error("is more than the file may have: the next file begins with {0}")]
    Doubled(u64),
    #[error("is the first one of its file, but opens no segment")]
    Unopened,
    #[error("opens a segment, but is not the first one of its file")]
    Reopened,
    #[error("has no `{0}` that can be read")]
    Field(&'static str),
    #[error("says of the tree before it what is not so (`{0}`)")]
    Tree(&'static str),
    #[error("has a checkpoint that counts for nothing: it {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("has a checkpoint of {0:?}, for which there is no key")]
    Stranger(String),
    #[error("has a checkpoint of {0} records")]
    Size(u64),
    #[error(
        "has a checkpoint of another tree: a record behind the checkpoint before was altered, and the chain with it"
    )]
    Root,
    #[error("is a second intent of its call")]
    SecondIntent,
    #[error("is a second end of its call")]
    SecondEnd,
    #[error("is an intent without an end, and the process that wrote it has ended in order")]
    Open,
    #[error("names another root of what was pruned")]
    Pruned,
    #[error("is missing with all before it, and no signed record says that they were pruned")]
    Unpruned,
    #[error("is not there, but is in the checkpoint that was kept: the log was cut or rolled back")]
    RolledBack,
    #[error("cannot be compared with the checkpoint that was kept: what is before it was pruned, or is void")]
    Incomparable,
    #[error("is not there, nor is any other one")]
    Empty,
    #[error("is not signed, nor is any other one: there is no checkpoint in this log")]
    Unsigned,
    #[error("or one before it is not what it was when the checkpoint that was kept was made")]
    Forked,
}

/// A record, and what is wrong with it.
type Bad = (u64, Reason);

/// Why a log was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Reads the log and says what of it is good.
///
/// # Errors
/// A file cannot be read, or there is no key.
pub fn verify(instance: &Instance, trust: &Trust, kept: &[&Kept]) -> Result<Report, VerifyError> {
    let name = instance.is_named().then(|| instance.name().to_owned());
    let mut walk = Walk::new(name, trust.beside(instance)?, kept);
    let mut torn = false;
    let mut judged = read(instance, &mut walk, &mut torn)?.and_then(|()| walk.finish());
    // The key beside a log shows nothing, and a log that was just begun has no checkpoint yet.
    if *trust != Trust::Beside {
        judged = judged.and_then(|()| walk.is_signed());
    }
    let bad = judged.err();
    let fault = bad.map(|(record, reason)| Fault { record, file: instance.file_of(record), reason });
    Ok(walk.report(instance.segments().len(), fault, torn))
}

/// Takes the records of all segments, as far as they count.
fn read(instance: &Instance, walk: &mut Walk<'_>, torn: &mut bool) -> Result<Result<(), Bad>, ReadError> {
    let segments = instance.segments();
    thread::scope(|scope| {
        for batch in ahead::read(segments, scope) {
            let batch = batch?;
            let segment = &segments[batch.segment()];
            let is_newest = batch.segment() + 1 == segments.len();
            *torn = is_newest && batch.end() == Some(End::Torn);
            if let Err(bad) = judge(&batch, segment, is_newest, walk) {
                return Ok(Err(bad));
            }
        }
        Ok(Ok(()))
    })
}

fn judge(batch: &Batch, segment: &Segment, is_newest: bool, walk: &mut Walk<'_>) -> Result<(), Bad> {
    for (record, number) in batch.records().zip(batch.first()..) {
        match number == segment.first {
            true => walk.open(number, &record)?,
            false => walk.take(number, &record)?,
        }
    }
    let next = batch.first() + batch.count();
    match batch.end() {
        Some(End::TooLong) => Err((next, Reason::TooLong)),
        // What is missing behind it is found with the next segment. This is one too many.
        Some(End::Torn) if !is_newest => Err((next, Reason::Torn)),
        Some(_) if next == segment.first => Err((next, Reason::Unopened)),
        Some(End::Clean | End::Torn) | None => Ok(()),
    }
}
