//! Ten thousand tamperings by somebody who can write the log but has no key, all of them before a checkpoint that was kept
//! elsewhere: all are found.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use prebuild_gateway::audit::{
    read::Instance,
    verify::{Fault, Kept, Trust, verify},
};
use tempfile::tempdir;

use super::forge::{Forge, file};

const TAMPERINGS: u64 = 10_000;
/// Of each way, which are left for the verifier that others have written: tests/interop/test_verify.py. With
/// `PREBUILD_GATEWAY_TAMPERED=all` each tampering is.
const LEFT: u64 = 100;
const THREADS: u64 = 4;

/// The lines of a file, by its number.
type Files = Vec<(u64, Vec<Vec<u8>>)>;

/// What somebody does to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Edit,
    Delete,
    Swap,
    Insert,
    Duplicate,
    Truncate,
    Drop,
    RollBack,
    SwapFiles,
    Rename,
    /// A checkpoint is altered, or stands in another one's place.
    Checkpoint,
    /// A record is altered, and the chain behind it with it.
    Rechain,
    /// A new file behind says that most of what is before is void.
    Void,
    /// A new record behind says that files were pruned, which are removed.
    Prune,
}

const WAYS: [Way; 14] = [
    Way::Edit,
    Way::Delete,
    Way::Swap,
    Way::Insert,
    Way::Duplicate,
    Way::Truncate,
    Way::Drop,
    Way::RollBack,
    Way::SwapFiles,
    Way::Rename,
    Way::Checkpoint,
    Way::Rechain,
    Way::Void,
    Way::Prune,
];

/// SplitMix64: the same tamperings each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }
}

/// Some 30 records in four files.
fn log() -> Forge {
    let mut forge = Forge::new("gateway-0");
    for segment in 0..4 {
        if segment > 0 {
            forge.segment();
        }
        for _ in 0..2 {
            forge.call();
            forge.checkpoint();
        }
    }
    forge
}

#[test]
fn every_tampering_before_a_kept_checkpoint_is_found() {
    let _not_there = fs::remove_dir_all(left());
    let workers: Vec<_> = (0..THREADS).map(|worker| thread::spawn(move || tamper(worker))).collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

fn left() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("tampered")
}

fn tamper(worker: u64) {
    let forge = log();
    let kept = Kept::parse(forge.note()).unwrap();
    let trust = Trust::Named(vec![forge.verifier()]);
    let good: Files = forge.segments.iter().map(|one| (one.first, one.lines.clone())).collect();
    let directory = tempdir().unwrap();
    assert_eq!(found(directory.path(), &forge, &good, &trust, &kept), None);
    let all = std::env::var_os("PREBUILD_GATEWAY_TAMPERED").is_some_and(|left| left == "all");
    let mut random = Random(worker);
    for round in 0..TAMPERINGS / THREADS {
        let way = WAYS[usize::try_from(round).unwrap() % WAYS.len()];
        let (files, at) = loop {
            let (files, at) = tampered(way, &forge, &mut random);
            if files != good {
                break (files, at);
            }
        };
        if all || worker == 0 && round / (WAYS.len() as u64) < LEFT {
            leave(&left().join(format!("{way:?}-{worker}-{round}")), &forge, &files);
        }
        let fault = found(directory.path(), &forge, &files, &trust, &kept);
        assert!(fault.is_some(), "worker {worker}, round {round}, {way:?}: not found");
        let fault = fault.unwrap();
        // It is named, or the record before or behind it: of two that do not agree, either may have been altered.
        if let Some(at) = at {
            assert!(
                fault.record.abs_diff(at) <= 1,
                "worker {worker}, round {round}, {way:?} of {at}: {fault}"
            );
        }
    }
}

fn leave(directory: &Path, forge: &Forge, files: &Files) {
    fs::create_dir_all(directory).unwrap();
    store(directory, forge, files);
    fs::write(directory.join("kept"), forge.note()).unwrap();
}

fn store(directory: &Path, forge: &Forge, files: &Files) {
    let place = directory.join(&forge.name);
    let _not_there = fs::remove_dir_all(&place);
    fs::create_dir(&place).unwrap();
    fs::write(place.join("key.pub"), format!("{}\n", forge.verifier())).unwrap();
    for (first, lines) in files {
        fs::write(place.join(file(*first)), lines.concat()).unwrap();
    }
}

fn found(directory: &Path, forge: &Forge, files: &Files, trust: &Trust, kept: &Kept) -> Option<Fault> {
    store(directory, forge, files);
    let instances = Instance::all(directory).unwrap();
    verify(&instances[0], trust, &[kept]).unwrap().fault
}

/// The log's files afterwards, and the record that was touched where it was one.
fn tampered(way: Way, forge: &Forge, random: &mut Random) -> (Files, Option<u64>) {
    let mut files: Files = forge.segments.iter().map(|one| (one.first, one.lines.clone())).collect();
    let file = random.below(files.len());
    let line = random.below(files[file].1.len());
    let at = files[file].0 + line as u64;
    let lines = &mut files[file].1;
    match way {
        Way::Edit => {
            let byte = random.below(lines[line].len());
            lines[line][byte] ^= 1 << random.below(8);
        }
        Way::Delete => drop(lines.remove(line)),
        Way::Swap => {
            let other = random.below(lines.len());
            lines.swap(line, other);
            return (files, Some(at.min(at - line as u64 + other as u64)));
        }
        Way::Insert => {
            let inserted = inserted(forge, at, random);
            lines.insert(line, inserted);
        }
        Way::Duplicate => {
            let twice = lines[line].clone();
            lines.insert(line, twice);
        }
        Way::Truncate => {
            let mut bytes = lines.concat();
            bytes.truncate(random.below(bytes.len()));
            *lines = vec![bytes];
            return (files, None);
        }
        Way::Drop => {
            files.remove(file);
            return (files, None);
        }
        Way::RollBack => {
            lines.truncate(line);
            files.truncate(file + usize::from(line > 0));
            return (files, None);
        }
        Way::SwapFiles => {
            let other = random.below(files.len());
            let (one, two) = (files[file].1.clone(), files[other].1.clone());
            (files[file].1, files[other].1) = (two, one);
            return (files, None);
        }
        Way::Rename => {
            files[file].0 = random.next() % (2 * forge.next());
            // Two files of one name are one.
            let first = files[file].0;
            let alone = files.iter().filter(|(other, _)| *other == first).count() == 1;
            return if alone { (files, None) } else { tampered(way, forge, random) };
        }
        Way::Checkpoint | Way::Rechain | Way::Void | Way::Prune => return contrived(way, forge, random),
    }
    (files, Some(at))
}

/// A record that fits as far as it can without a key, or garbage.
fn inserted(forge: &Forge, at: u64, random: &mut Random) -> Vec<u8> {
    match random.below(3) {
        0 => b"{}\n".to_vec(),
        1 => b"\n".to_vec(),
        _ => {
            let lines: Vec<_> = forge.segments.iter().flat_map(|segment| &segment.lines).collect();
            let text = String::from_utf8(lines[usize::try_from(at).unwrap()].clone()).unwrap();
            text.replace("subject-", "subject-9").replace("\"time\":", "\"time\":1").into_bytes()
        }
    }
}

/// What takes more thought.
fn contrived(way: Way, forge: &Forge, random: &mut Random) -> (Files, Option<u64>) {
    let at = random.next() % forge.next();
    let changed = match way {
        Way::Rechain => forge.rechained(at, |tail| {
            let edited = tail.replace("subject-", "Subject-").replace("NOT_FOUND", "OK");
            if edited == tail { tail.replace("\"time\":", "\"at\":") } else { edited }
        }),
        Way::Checkpoint => {
            let (mut forge, parts) = (forge.fork(), ["\\n4", "+", "A", "a", "4", "\\n\\n", "w", "audit"]);
            let other = random.below(4);
            let line = forge.segments[other].lines.last().cloned().unwrap();
            let lines = &mut forge.segments[random.below(4)].lines;
            let own = lines.last_mut().unwrap();
            let note = |line: &[u8]| {
                let text = String::from_utf8(line.to_vec()).unwrap();
                let begin = text.find("\"checkpoint\":\"").unwrap();
                text[begin..text.rfind("\\n\"").unwrap()].to_owned()
            };
            let (text, part) = (note(own), parts[random.below(parts.len())]);
            let new = if random.below(2) == 0 { note(&line) } else { text.replacen(part, "B", 1) };
            *own = String::from_utf8(own.clone()).unwrap().replace(&text, &new).into_bytes();
            forge
        }
        Way::Void => {
            let mut forge = forge.fork();
            forge.segment_after_failure(at);
            for _ in 0..random.below(3) {
                forge.call();
            }
            let begin = usize::try_from(at).unwrap();
            for segment in &mut forge.segments[..4] {
                let first = usize::try_from(segment.first).unwrap();
                segment.lines.truncate(begin.saturating_sub(first));
            }
            forge.segments.retain(|segment| !segment.lines.is_empty());
            forge
        }
        _ => {
            let mut forge = forge.fork();
            let upto = 1 + random.below(3);
            forge.prune(upto);
            forge.forget(upto);
            forge
        }
    };
    (changed.segments.iter().map(|one| (one.first, one.lines.clone())).collect(), None)
}
