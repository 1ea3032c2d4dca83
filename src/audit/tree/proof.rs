//! Proofs about a tree: that it has a leaf, and that it is an older tree with leaves added. RFC 6962, sections 2.1.1 and
//! 2.1.2; they are checked as RFC 9162 has it, sections 2.1.3.2 and 2.1.4.2.
//!
//! A proof is a list of roots of subtrees, none of which has a leaf in common with another. So it is computed by going
//! once over the leaves, and in the memory of a few hashes for each subtree.

use std::ops::Range;

use super::{Frontier, Hash};

#[cfg(test)]
mod tests;

/// A proof that is being computed.
#[derive(Clone, Debug)]
pub struct Proof {
    /// In the order of the proof.
    parts: Vec<Part>,
    /// The number of the next leaf.
    next: u64,
}

/// A subtree whose root belongs to the proof.
#[derive(Clone, Debug)]
struct Part {
    leaves: Range<u64>,
    tree: Frontier,
}

impl Proof {
    /// Of the leaf with this number in the tree of `size` leaves; none if it has no such leaf. Leaves are
    /// [pushed](Self::push) from the end of `start` on.
    pub fn inclusion(index: u64, size: u64, start: &Frontier) -> Option<Self> {
        if index >= size {
            return None;
        }
        let (mut leaves, mut path) = (0..size, Vec::new());
        while leaves.end - leaves.start > 1 {
            let (left, right) = halves(&leaves);
            let (own, other) = if index < left.end { (left, right) } else { (right, left) };
            path.push(other);
            leaves = own;
        }
        Self::of(path, start)
    }

    /// That the tree of `size` leaves begins with that of `old`; none if it is smaller, or if `old` is empty, of which there
    /// is nothing to prove.
    pub fn consistency(old: u64, size: u64, start: &Frontier) -> Option<Self> {
        if old == 0 || old > size {
            return None;
        }
        let (mut leaves, mut path, mut whole) = (0..size, Vec::new(), true);
        while leaves.end != old {
            let (left, right) = halves(&leaves);
            if old <= left.end {
                path.push(right);
                leaves = left;
            } else {
                path.push(left);
                leaves = right;
                whole = false;
            }
        }
        // The old tree itself need not be proven: who asks has its root.
        if !whole {
            path.push(leaves);
        }
        Self::of(path, start)
    }

    pub fn push(&mut self, leaf: Hash) {
        let next = self.next;
        if let Some(part) = self.parts.iter_mut().find(|part| part.leaves.contains(&next)) {
            part.tree.push(leaf);
        }
        self.next += 1;
    }

    /// The proof; none where not all leaves were there.
    pub fn finish(self) -> Option<Vec<Hash>> {
        let root =
            |part: &Part| (part.tree.size() == part.leaves.end - part.leaves.start).then(|| part.tree.root());
        self.parts.iter().map(root).collect()
    }

    /// `path` is from the root down, a proof is from the leaf up.
    fn of(path: Vec<Range<u64>>, start: &Frontier) -> Option<Self> {
        let parts = path.into_iter().rev().map(|leaves| Part::new(leaves, start));
        Some(Self { parts: parts.collect::<Option<_>>()?, next: start.size() })
    }
}

impl Part {
    /// With those of its leaves that are in `start`; none where `start` has them in a subtree that goes beyond.
    fn new(leaves: Range<u64>, start: &Frontier) -> Option<Self> {
        let upto = start.size().min(leaves.end);
        if upto <= leaves.start {
            return Some(Self { leaves, tree: Frontier::default() });
        }
        let roots: Vec<_> = start
            .subtrees()
            .filter(|(of, _)| leaves.start <= of.start && of.end <= leaves.end)
            .map(|(_, root)| root)
            .collect();
        let tree = Frontier::new(upto - leaves.start, roots)?;
        Some(Self { leaves, tree })
    }
}

impl Frontier {
    /// The perfect subtrees, with the leaves of each.
    fn subtrees(&self) -> impl Iterator<Item = (Range<u64>, Hash)> {
        let (size, mut begin) = (self.size, 0);
        let bits = (0..u64::BITS).rev().map(|bit| 1 << bit).filter(move |bit| size & bit != 0);
        bits.zip(&self.roots).map(move |(leaves, root)| {
            begin += leaves;
            (begin - leaves..begin, *root)
        })
    }
}

/// Whether `proof` shows that the tree of `size` leaves and this root has the leaf, with this number.
pub fn includes(leaf: Hash, index: u64, proof: &[Hash], size: u64, root: Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut fold, mut last, mut have) = (index, size - 1, leaf);
    for part in proof {
        if last == 0 {
            return false;
        }
        if fold & 1 == 1 || fold == last {
            have = Hash::node(part, &have);
            while fold & 1 == 0 && fold != 0 {
                (fold, last) = (fold >> 1, last >> 1);
            }
        } else {
            have = Hash::node(&have, part);
        }
        (fold, last) = (fold >> 1, last >> 1);
    }
    last == 0 && have == root
}

/// Whether `proof` shows that the tree of `size` leaves and this root begins with the tree of the other.
pub fn is_consistent(old: (u64, Hash), new: (u64, Hash), proof: &[Hash]) -> bool {
    let ((old, old_root), (size, root)) = (old, new);
    if old == 0 || old > size {
        return false;
    }
    if old == size {
        return proof.is_empty() && old_root == root;
    }
    // A tree that is a whole subtree of the other is not in the proof.
    let own = old.is_power_of_two().then_some(old_root);
    let mut path = own.into_iter().chain(proof.iter().copied());
    let Some(first) = path.next() else { return false };
    let (mut fold, mut last, mut have_old, mut have) = (old - 1, size - 1, first, first);
    while fold & 1 == 1 {
        (fold, last) = (fold >> 1, last >> 1);
    }
    for part in path {
        if last == 0 {
            return false;
        }
        if fold & 1 == 1 || fold == last {
            have_old = Hash::node(&part, &have_old);
            have = Hash::node(&part, &have);
            while fold & 1 == 0 && fold != 0 {
                (fold, last) = (fold >> 1, last >> 1);
            }
        } else {
            have = Hash::node(&have, &part);
        }
        (fold, last) = (fold >> 1, last >> 1);
    }
    last == 0 && have_old == old_root && have == root
}

/// As the RFC parts a tree: left is the largest power of two that is less than all. There are at least two leaves.
fn halves(leaves: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let count = leaves.end - leaves.start;
    // Of 2 to 2^64 - 1 leaves: the highest bit of all but one.
    let middle = leaves.start + (1 << (count - 1).ilog2());
    (leaves.start..middle, middle..leaves.end)
}
