//! Proofs that need no log to be checked: that a record is in it, and that it still begins as it did.
//!
//! They are written as C2SP has them, so that other people's tools check them: <https://c2sp.org/tlog-proof>, and the
//! request of <https://c2sp.org/tlog-witness> that adds a checkpoint.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    checkpoint::Checkpoint,
    read::{Instance, Line, Opening, ReadError, Segment},
    tree::{
        Frontier, Hash,
        proof::{Proof, includes, is_consistent},
    },
    verify::{Report, Signed},
};

/// Why there is no proof of a log that is good.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("no checkpoint in the log is behind it yet: the newest one is of {0} records")]
    Unsigned(u64),
    #[error("what is needed for it was pruned, or is void: the records before {0}")]
    Gone(u64),
    #[error("the log has changed while it was read")]
    Changed,
}

/// That the record is in the log, up to the newest checkpoint: a tlog-proof, with the record as what is extra.
///
/// # Errors
/// It is not before a checkpoint, is not there, or a file cannot be read.
pub fn inclusion(instance: &Instance, report: &Report, record: u64) -> Result<String, ProveError> {
    let Signed { checkpoint, note } = signed(report, record.saturating_add(1))?;
    let start = Start::of(instance, report)?;
    if record < start.tree.size() {
        return Err(ProveError::Gone(start.tree.size()));
    }
    let proof = Proof::inclusion(record, checkpoint.size, &start.tree).ok_or(ProveError::Changed)?;
    let mut found = Vec::new();
    let hashes = start.hashes(proof, checkpoint.size, |sequence, line| {
        if sequence == record {
            found = line.to_vec();
        }
    })?;
    if !includes(Hash::leaf(&found), record, &hashes, checkpoint.size, checkpoint.root) {
        return Err(ProveError::Changed);
    }
    let (extra, hashes) = (STANDARD.encode(&found), lines(&hashes));
    Ok(format!("c2sp.org/tlog-proof@v1\nextra {extra}\nindex {record}\n{hashes}\n{note}"))
}

/// That the log up to its newest checkpoint begins with what it was at an older one. `report` must be of a log that was
/// verified with that one.
///
/// # Errors
/// There is no newer checkpoint, what is needed is gone, or a file cannot be read.
pub fn consistency(instance: &Instance, report: &Report, old: &Checkpoint) -> Result<String, ProveError> {
    let Signed { checkpoint, note } = signed(report, old.size)?;
    let start = Start::of(instance, report)?;
    let hashes = if old.size == 0 {
        Vec::new()
    } else {
        let proof = Proof::consistency(old.size, checkpoint.size, &start.tree);
        let proof = proof.ok_or(ProveError::Gone(start.tree.size()))?;
        let hashes = start.hashes(proof, checkpoint.size, |_, _| ())?;
        let (before, now) = ((old.size, old.root), (checkpoint.size, checkpoint.root));
        if !is_consistent(before, now, &hashes) {
            return Err(ProveError::Changed);
        }
        hashes
    };
    Ok(format!("old {}\n{}\n{note}", old.size, lines(&hashes)))
}

/// The newest checkpoint, if it is of at least so many records.
fn signed(report: &Report, size: u64) -> Result<&Signed, ProveError> {
    let newest = report.signed.as_ref().map_or(0, |signed| signed.checkpoint.size);
    report.signed.as_ref().filter(|_| size <= newest).ok_or(ProveError::Unsigned(newest))
}

fn lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| STANDARD.encode(hash.as_bytes()) + "\n").collect()
}

/// From where on all leaves are there.
struct Start<'a> {
    tree: Frontier,
    segments: &'a [Segment],
}

impl<'a> Start<'a> {
    fn of(instance: &'a Instance, report: &Report) -> Result<Self, ProveError> {
        let first = report.void.last().map_or(report.first, |void| void.end);
        let segments = instance.segments();
        let begin = segments.iter().position(|segment| segment.first == first);
        let segments = begin.map(|begin| &segments[begin..]).ok_or(ProveError::Changed)?;
        let mut lines = segments.first().ok_or(ProveError::Changed)?.lines()?;
        let Line::Record(record) = lines.next()? else { return Err(ProveError::Changed) };
        let opening = Opening::of(record).ok_or(ProveError::Changed)?;
        let tree = Frontier::new(first, opening.tree).ok_or(ProveError::Changed)?;
        Ok(Self { tree, segments })
    }

    /// The proof's hashes, of the records up to `size`.
    fn hashes(
        &self,
        mut proof: Proof,
        size: u64,
        mut seen: impl FnMut(u64, &[u8]),
    ) -> Result<Vec<Hash>, ProveError> {
        let mut next = self.tree.size();
        for segment in self.segments {
            let mut lines = segment.lines()?;
            while next < size
                && let Line::Record(record) = lines.next()?
            {
                seen(next, record);
                proof.push(Hash::leaf(record));
                next += 1;
            }
        }
        proof.finish().ok_or(ProveError::Changed)
    }
}
