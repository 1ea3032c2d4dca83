//! Against the definition, written as it stands in the RFC.

use super::{Frontier, Hash};

/// MTH of RFC 6962, section 2.1.
pub(super) fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [leaf] => *leaf,
        leaves => {
            let half = leaves.len().next_power_of_two() / 2;
            Hash::node(&root_of(&leaves[..half]), &root_of(&leaves[half..]))
        }
    }
}

#[test]
fn it_grows_as_the_rfc_has_it() {
    let leaves: Vec<_> = (0..300_u32).map(|n| Hash::leaf(&n.to_be_bytes())).collect();
    let mut frontier = Frontier::default();
    for size in 0..=leaves.len() {
        assert_eq!(frontier.root(), root_of(&leaves[..size]), "{size}");
        assert_eq!(frontier.size(), size as u64);
        let again = Frontier::new(frontier.size(), frontier.roots().to_vec()).unwrap();
        assert_eq!(again, frontier);
        if let Some(leaf) = leaves.get(size) {
            frontier.push(*leaf);
        }
    }
}

/// Of the RFC's reference implementation (certificate-transparency, `merkletree_test`).
#[test]
fn known_roots() {
    let mut frontier = Frontier::default();
    assert_eq!(
        frontier.root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    frontier.push(Hash::leaf(b""));
    assert_eq!(
        frontier.root().to_string(),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    );
    frontier.push(Hash::leaf(&[0]));
    assert_eq!(
        frontier.root().to_string(),
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    );
}

#[test]
fn what_is_no_tree_and_no_hash() {
    assert_eq!(Frontier::new(3, vec![Hash::default()]), None);
    assert_eq!(Frontier::new(0, vec![Hash::default()]), None);
    let good = "0".repeat(62) + "9f";
    assert_eq!(good.parse::<Hash>().unwrap().to_string(), good);
    for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &("0".repeat(62) + "9F"), &("é".repeat(32))] {
        assert!(bad.parse::<Hash>().is_err(), "{bad}");
    }
}
