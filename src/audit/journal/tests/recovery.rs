//! That nothing is signed of a log that was altered between two runs, and nothing of it is lost.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    AuditStage, Chain, Config, Journal, LOG, Map, Record, RequestId, Signer, Value, copy, draft, open,
    segment, settings, signer,
};
use crate::audit::{
    recover::{Problem, Refused},
    tree::Hash,
};

/// A log whose checkpoints are also kept elsewhere.
struct Kept {
    logs: TempDir,
    elsewhere: TempDir,
    signer: Signer,
}

impl Kept {
    fn new() -> Self {
        let (logs, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let config = Config {
            checkpoints: Some(elsewhere.path().join("kept")),
            signing_key: None,
            ..Config::at(logs.path())
        };
        Self { signer: Signer::of(&config).unwrap(), logs, elsewhere }
    }

    fn open(&self) -> io::Result<Journal> {
        Journal::open(settings(self.logs.path()), LOG, &self.signer)
    }

    /// From start to end, with so many calls.
    fn run(&self, calls: usize) {
        let mut journal = self.open().unwrap();
        for _ in 0..calls {
            journal.append(&[draft(AuditStage::Outcome, RequestId::new())], true).unwrap();
        }
        journal.close().unwrap();
    }

    /// Where its newest checkpoint stands.
    fn file(&self) -> PathBuf {
        self.elsewhere.path().join("kept").join(LOG)
    }

    fn log(&self) -> PathBuf {
        self.logs.path().join(LOG)
    }
}

/// Why the log is not gone on with. Nothing of it is touched then.
fn refused(log: &Path, open: impl FnOnce() -> io::Result<Journal>) -> Problem {
    let before = files(log);
    let error = open().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert_eq!(files(log), before);
    error.into_inner().unwrap().downcast::<Refused>().unwrap().problem().clone()
}

fn files(log: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn newest(log: &Path) -> PathBuf {
    segment::list(log).unwrap().pop().unwrap().path
}

/// As somebody does who may write there.
fn write(file: &Path, content: impl AsRef<[u8]>) {
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    fs::write(file, content).unwrap();
}

#[test]
fn the_files_of_another_log_are_left_as_they_are() {
    let directory = TempDir::new().unwrap();
    (0..2).for_each(|_| open(directory.path()).close().unwrap());
    let other = directory.path().join("gateway-1");
    copy(&directory.path().join(LOG), &other);
    let signer = signer(directory.path());
    let open = || Journal::open(settings(directory.path()), "gateway-1", &signer);
    assert_eq!(refused(&other, open), Problem::Foreign);
}

#[test]
fn a_file_whose_beginning_was_altered_is_not_set_aside() {
    let directory = TempDir::new().unwrap();
    (0..2).for_each(|_| open(directory.path()).close().unwrap());
    let log = directory.path().join(LOG);
    let signer = signer(directory.path());
    let open = || Journal::open(settings(directory.path()), LOG, &signer);
    let (file, good) = (newest(&log), fs::read(newest(&log)).unwrap());
    // In the first line; instead of it more than a record may have, without an end; and in the last line of a closed file.
    let mut altered = good.clone();
    altered[10] = b'!';
    write(&file, altered);
    assert_eq!(refused(&log, open), Problem::Foreign);
    write(&file, vec![b'x'; 1 << 16]);
    assert_eq!(refused(&log, open), Problem::Foreign);
    write(&file, &good[..good.len() - 2]);
    fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
    assert_eq!(refused(&log, open), Problem::Closed);
    write(&file, good);
    open().unwrap();
}

#[test]
fn a_log_that_was_cut_or_rolled_back_is_not_gone_on_with() {
    let kept = Kept::new();
    kept.run(3);
    let young = kept.elsewhere.path().join("young");
    copy(&kept.log(), &young);
    kept.run(3);
    let told = fs::read_to_string(kept.file()).unwrap();
    let file = newest(&kept.log());
    let good = fs::read(&file).unwrap();
    let ends: Vec<_> =
        good.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    write(&file, &good[..=ends[2]]);
    assert!(matches!(refused(&kept.log(), || kept.open()), Problem::RolledBack { kept: 11, there: 9 }));
    fs::remove_dir_all(kept.log()).unwrap();
    copy(&young, &kept.log());
    assert!(matches!(refused(&kept.log(), || kept.open()), Problem::RolledBack { kept: 11, there: 6 }));
    fs::remove_dir_all(kept.log()).unwrap();
    fs::create_dir(kept.log()).unwrap();
    fs::write(kept.log().join("lock"), "").unwrap();
    assert!(matches!(refused(&kept.log(), || kept.open()), Problem::RolledBack { kept: 11, there: 0 }));
    assert_eq!(fs::read_to_string(kept.file()).unwrap(), told, "the evidence is not written over");
}

#[test]
fn a_log_that_took_another_way_is_not_gone_on_with() {
    let kept = Kept::new();
    kept.run(3);
    let told = fs::read(kept.file()).unwrap();
    fs::remove_dir_all(kept.log()).unwrap();
    fs::remove_file(kept.file()).unwrap();
    (0..3).for_each(|_| kept.run(3));
    fs::write(kept.file(), &told).unwrap();
    assert_eq!(refused(&kept.log(), || kept.open()), Problem::Forked(5));
    // What it should be compared with is gone.
    fs::remove_file(segment::list(&kept.log()).unwrap()[0].path.clone()).unwrap();
    assert_eq!(refused(&kept.log(), || kept.open()), Problem::Incomparable(5));
    fs::write(kept.file(), "no checkpoint").unwrap();
    assert_eq!(refused(&kept.log(), || kept.open()), Problem::NotKept);
}

/// However far it goes back, if the log is still that one.
#[test]
fn a_log_that_passes_by_what_was_kept_is_gone_on_with() {
    let kept = Kept::new();
    kept.run(3);
    let told = fs::read(kept.file()).unwrap();
    (0..3).for_each(|_| kept.run(3));
    fs::write(kept.file(), &told).unwrap();
    kept.run(1);
    assert_ne!(fs::read(kept.file()).unwrap(), told);
    // A file in between was altered, and the chain of it made anew.
    let middle = segment::list(&kept.log()).unwrap()[1].path.clone();
    let text = fs::read_to_string(&middle).unwrap();
    let lines: Vec<_> = text.lines().collect();
    write(&middle, lines[..lines.len() - 2].join("\n") + "\n");
    fs::write(kept.file(), &told).unwrap();
    assert_eq!(refused(&kept.log(), || kept.open()), Problem::Apart);
    // Nothing leads from what was kept over a file that is lost.
    write(&middle, "no record");
    assert_eq!(refused(&kept.log(), || kept.open()), Problem::Incomparable(5));
}

/// A log that fits, but for what takes the key.
#[test]
fn a_checkpoint_that_was_not_signed_is_found() {
    let directory = TempDir::new().unwrap();
    let signer = signer(directory.path());
    let named = signer.named(LOG).unwrap();
    let log = directory.path().join(LOG);
    fs::create_dir(&log).unwrap();
    fs::write(log.join("lock"), "").unwrap();
    let own = |members: &[(&str, Value)]| -> Map<String, Value> {
        members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let begin = own(&[("tree", Value::Array(Vec::new())), ("trusted", 0.into()), ("open_from", 0.into())]);
    for (problem, expected) in [("size", Problem::Checkpoint(1)), ("root", Problem::Checkpoint(1))]
        .map(|(what, problem)| (what, Some(problem)))
        .into_iter()
        .chain([("signature", None), ("nothing", None)])
    {
        let (mut chain, mut lines) = (Chain::new(LOG), Vec::new());
        chain.add(&Record::own(AuditStage::Segment, begin.clone()).tail(), &mut lines);
        let root = if problem == "root" { Hash::leaf(b"other") } else { chain.tree().root() };
        let mut note = named.sign(if problem == "size" { 2 } else { 1 }, root);
        if problem == "signature" {
            // Within the base64 of the signature, behind the key id.
            let at = note.len() - 20;
            let other = if note.as_bytes()[at] == b'A' { "B" } else { "A" };
            note.replace_range(at..=at, other);
        }
        let members = own(&[("checkpoint", note.into())]);
        chain.add(&Record::own(AuditStage::Checkpoint, members).tail(), &mut lines);
        let mut file = OpenOptions::new();
        let file = file.create(true).truncate(true).write(true).open(log.join(format!("{:020}.jsonl", 0)));
        file.unwrap().write_all(&lines).unwrap();
        let open = || Journal::open(settings(directory.path()), LOG, &signer);
        match (problem, expected) {
            (_, Some(expected)) => assert_eq!(refused(&log, open), expected),
            ("signature", None) => assert!(matches!(refused(&log, open), Problem::Forged(_))),
            (_, None) => open().unwrap().close().unwrap(),
        }
    }
}
