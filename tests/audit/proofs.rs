//! Proofs as they are printed, checked without the log: by the page that describes them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prebuild_gateway::audit::{
    checkpoint::Checkpoint,
    prove::{ProveError, consistency, inclusion},
    read::Instance,
    tree::{
        Hash,
        proof::{includes, is_consistent},
    },
    verify::{Kept, Trust, verify},
};
use tempfile::tempdir;

use super::forge::{Forge, small};

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Hash> {
    let hash = |line: &str| Hash::from_bytes(STANDARD.decode(line).unwrap().try_into().unwrap());
    lines.map(hash).collect()
}

fn proofs(forge: &Forge, first: u64) {
    let directory = tempdir().unwrap();
    forge.store(directory.path());
    let instance = &Instance::all(directory.path()).unwrap()[0];
    let report = verify(instance, &Trust::Beside, &[]).unwrap();
    assert_eq!(report.fault, None);
    let records = forge.segments.iter().flat_map(|segment| segment.lines.iter().zip(segment.first..));
    for (line, record) in records {
        let proof = match inclusion(instance, &report, record) {
            Ok(proof) => proof,
            Err(ProveError::Gone(before)) => {
                assert!(record < first && before == first, "{record}");
                continue;
            }
            // The newest checkpoint is not in the tree that it is of.
            Err(error) => {
                assert_eq!((record, error.to_string().contains("no checkpoint")), (forge.next() - 1, true));
                continue;
            }
        };
        let (head, note) = proof.split_once("\n\n").unwrap();
        let mut head = head.lines();
        assert_eq!(head.next(), Some("c2sp.org/tlog-proof@v1"));
        let extra = head.next().unwrap().strip_prefix("extra ").unwrap();
        let shown = STANDARD.decode(extra).unwrap();
        assert_eq!(shown, line[..line.len() - 1]);
        assert_eq!(head.next(), Some(format!("index {record}").as_str()));
        let checkpoint = Checkpoint::open(note, &forge.verifier()).unwrap();
        let Checkpoint { size, root, .. } = checkpoint;
        assert!(includes(Hash::leaf(&shown), record, &hashes(head), size, root), "{record}");
    }
}

#[test]
fn each_record_before_the_newest_checkpoint_can_be_proven() {
    proofs(&small("gateway-0"), 0);
}

#[test]
fn so_can_those_that_are_left_when_others_are_pruned_or_void() {
    let mut forge = small("gateway-0");
    forge.segment();
    forge.prune(2);
    forge.checkpoint();
    forge.forget(2);
    proofs(&forge, forge.segments[0].first);
    let trusted = forge.next();
    forge.call();
    let first = forge.next();
    forge.segment_after_failure(trusted);
    forge.call();
    forge.checkpoint();
    proofs(&forge, first);
}

#[test]
fn the_log_begins_as_it_did() {
    let mut forge = small("gateway-0");
    let mut olds = vec![forge.note()];
    for call in 0..9 {
        forge.call();
        if call % 3 == 0 {
            forge.segment();
        }
        olds.push(forge.checkpoint());
    }
    let directory = tempdir().unwrap();
    forge.store(directory.path());
    let instance = &Instance::all(directory.path()).unwrap()[0];
    for old in olds {
        let kept = Kept::parse(old.clone()).unwrap();
        let report = verify(instance, &Trust::Beside, &[&kept]).unwrap();
        assert_eq!(report.fault, None);
        let proof = consistency(instance, &report, kept.says()).unwrap();
        let (head, note) = proof.split_once("\n\n").unwrap();
        let mut head = head.lines();
        let before = Checkpoint::open(&old, &forge.verifier()).unwrap();
        assert_eq!(head.next(), Some(format!("old {}", before.size).as_str()));
        let now = Checkpoint::open(note, &forge.verifier()).unwrap();
        assert_eq!(now.size, forge.next() - 1);
        assert!(is_consistent((before.size, before.root), (now.size, now.root), &hashes(head)));
    }
}
