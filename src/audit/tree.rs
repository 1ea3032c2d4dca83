//! The Merkle tree over the records of a log: RFC 6962, section 2.1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub mod proof;
#[cfg(test)]
mod tests;

/// The values of lower-case hex digits: each record of a log that is verified has 64 of them.
const DIGITS: [u8; 256] = digits();
const NO_DIGIT: u8 = 0x10;

/// A SHA-256 hash: of a leaf, of a node, or of a whole tree. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

/// Not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 lower-case hex digits")]
pub struct NotAHash;

/// A tree by the roots of the perfect subtrees that it consists of, the largest first: all that it takes to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Hash {
    /// Of a record, as a leaf.
    pub fn leaf(record: &[u8]) -> Self {
        Self::of(&[&[0], record])
    }

    /// Of two subtrees.
    pub fn node(left: &Self, right: &Self) -> Self {
        Self::of(&[&[1], &left.0, &right.0])
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Self(hasher.finalize().into())
    }
}

impl Frontier {
    /// A tree of `size` leaves; none if no such tree has these `roots`.
    pub fn new(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        // As in counting: each carry joins two subtrees of one size.
        let carries = self.size.trailing_ones() as usize;
        let joined = self.roots.drain(self.roots.len() - carries..).rev();
        let root = joined.fold(leaf, |right, left| Hash::node(&left, &right));
        self.roots.push(root);
        self.size += 1;
    }

    pub fn root(&self) -> Hash {
        let joined = self.roots.iter().rev().copied().reduce(|right, left| Hash::node(&left, &right));
        joined.unwrap_or_else(|| Hash::of(&[]))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digits = <&[u8; 64]>::try_from(text.as_bytes()).map_err(|_| NotAHash)?;
        let (mut bytes, mut all) = ([0; 32], 0);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
            all |= high | low;
            *byte = high << 4 | low;
        }
        if all < NO_DIGIT { Ok(Self(bytes)) } else { Err(NotAHash) }
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

const fn digits() -> [u8; 256] {
    let (mut digits, mut value) = ([NO_DIGIT; 256], 0);
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
}
