//! Against the definition, written as it stands in the RFC, and against proofs that are not quite right.

use proptest::prelude::*;

use super::{super::tests::root_of, Frontier, Hash, Proof, includes, is_consistent};

/// PATH(m, D[n]) of RFC 6962, section 2.1.1.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, other) =
        if index < left.len() { (path(index, left), right) } else { (path(index - left.len(), right), left) };
    path.push(root_of(other));
    path
}

/// SUBPROOF(m, D[n], b) of RFC 6962, section 2.1.2.
fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root_of(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    if old <= left.len() {
        [subproof(old, left, whole), vec![root_of(right)]].concat()
    } else {
        [subproof(old - left.len(), right, false), vec![root_of(left)]].concat()
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| Hash::leaf(&n.to_be_bytes())).collect()
}

fn frontier(leaves: &[Hash]) -> Frontier {
    let mut tree = Frontier::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree
}

fn computed(proof: Option<Proof>, leaves: &[Hash]) -> Option<Vec<Hash>> {
    let mut proof = proof?;
    leaves.iter().for_each(|leaf| proof.push(*leaf));
    proof.finish()
}

/// A number of leaves, and one below it.
fn size_and_less() -> impl Strategy<Value = (usize, usize)> {
    (1_usize..130).prop_flat_map(|size| (Just(size), 0..size))
}

proptest! {
    #[test]
    fn inclusion_is_as_defined((size, index) in size_and_less(), start in 0_usize..130, bit in 0_usize..256) {
        let leaves = leaves(size);
        let (n, at) = (size as u64, index as u64);
        let proof = computed(Proof::inclusion(at, n, &Frontier::default()), &leaves).unwrap();
        prop_assert_eq!(&proof, &path(index, &leaves));
        let root = root_of(&leaves);
        prop_assert!(includes(leaves[index], at, &proof, n, root));
        // Without the leaves before, if the tree of them is known.
        let start = start.min(index);
        let late = Proof::inclusion(at, n, &frontier(&leaves[..start]));
        prop_assert_eq!(computed(late, &leaves[start..]), Some(proof.clone()));
        // Another leaf, number, size, root or proof.
        prop_assert!(!includes(Hash::default(), at, &proof, n, root));
        prop_assert!(!includes(leaves[index], at + 1, &proof, n, root));
        prop_assert!(!includes(leaves[index], at, &proof, n, Hash::default()));
        prop_assert!(!includes(leaves[index], at, &[proof.as_slice(), &[root]].concat(), n, root));
        for part in 0..proof.len() {
            let mut bad = proof.clone();
            bad[part] = flipped(bad[part], bit);
            prop_assert!(!includes(leaves[index], at, &bad, n, root));
            bad.remove(part);
            prop_assert!(!includes(leaves[index], at, &bad, n, root));
        }
    }

    #[test]
    fn consistency_is_as_defined((size, old) in size_and_less(), start in 0_usize..130, bit in 0_usize..256) {
        let (leaves, old) = (leaves(size), old + 1);
        let (n, m) = (size as u64, old as u64);
        let proof = computed(Proof::consistency(m, n, &Frontier::default()), &leaves).unwrap();
        prop_assert_eq!(&proof, &subproof(old, &leaves, true));
        let (before, now) = ((m, root_of(&leaves[..old])), (n, root_of(&leaves)));
        prop_assert!(is_consistent(before, now, &proof));
        let start = start.min(old - 1);
        // Its leaves may be in larger subtrees: then there is none, but never another one.
        let late = computed(Proof::consistency(m, n, &frontier(&leaves[..start])), &leaves[start..]);
        prop_assert!(late.is_none_or(|late| late == proof));
        prop_assert!(!is_consistent((m, Hash::default()), now, &proof));
        prop_assert!(!is_consistent(before, (n, Hash::default()), &proof));
        prop_assert!(!is_consistent(before, now, &[proof.as_slice(), &[now.1]].concat()));
        for part in 0..proof.len() {
            let mut bad = proof.clone();
            bad[part] = flipped(bad[part], bit);
            prop_assert!(!is_consistent(before, now, &bad));
            bad.remove(part);
            prop_assert!(!is_consistent(before, now, &bad));
        }
    }
}

#[test]
fn what_cannot_be_proven() {
    let start = Frontier::default();
    assert!(Proof::inclusion(3, 3, &start).is_none());
    assert!(Proof::inclusion(0, 0, &start).is_none());
    assert!(Proof::consistency(0, 3, &start).is_none());
    assert!(Proof::consistency(4, 3, &start).is_none());
    let root = root_of(&leaves(3));
    assert!(!includes(root, 0, &[], 0, root));
    assert!(!is_consistent((0, root), (3, root), &[]));
    assert!(!is_consistent((4, root), (3, root), &[]));
    // The leaf is within a subtree of which only the root is known.
    assert!(Proof::inclusion(1, 9, &frontier(&leaves(8))).is_none());
    // Leaves are missing.
    assert_eq!(computed(Proof::inclusion(1, 3, &start), &leaves(2)), None);
}

/// Of the RFC's reference implementation (certificate-transparency, `merkletree_test`): its eight leaves.
#[test]
fn known_proofs() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let leaves = inputs.map(Hash::leaf);
    let start = Frontier::default();
    let hex = |proof: Option<Proof>| -> Vec<_> {
        computed(proof, &leaves).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        hex(Proof::inclusion(5, 8, &start)),
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
    assert_eq!(
        hex(Proof::consistency(6, 8, &start)),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}
