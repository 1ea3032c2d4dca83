//! What goes to a sink at a time.

/// Bounds the memory of a sink, and what comes again after a crash.
pub(super) const MAX_BYTES: usize = 1 << 20;
pub(super) const MAX_RECORDS: usize = 1000;

/// Records in their order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Each with its line's end.
    lines: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// The first sequence number that was asked for.
    pub(super) from: u64,
    /// The sequence number behind the last one.
    pub(super) next: u64,
}

impl Batch {
    /// Nothing, so far.
    pub(super) fn from(next: u64) -> Self {
        Self { from: next, next, ..Self::default() }
    }

    pub(super) fn push(&mut self, sequence: u64, record: &[u8]) {
        self.lines.extend_from_slice(record);
        self.lines.push(b'\n');
        self.ends.push(self.lines.len());
        self.next = sequence + 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= MAX_BYTES || self.ends.len() >= MAX_RECORDS
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them, a line each.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Without their lines' ends.
    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.lines[begin..end - 1])
    }
}
