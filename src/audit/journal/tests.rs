//! A log on disk: that it goes on where it was left, wherever that was.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};
use tempfile::TempDir;

use super::{Journal, Settings};
use crate::{
    audit::{
        Config,
        chain::Chain,
        line::{self, Draft},
        reach::Positions,
        read::Instance,
        record::Record,
        retention::Retention,
        segment,
        signer::Signer,
        tree::Frontier,
        verify::{Report, Trust, verify},
    },
    call::RequestId,
    telemetry::metrics::AuditStage,
};

mod faults;
mod kept;
mod recovery;

const LOG: &str = "gateway-0";

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        segment_bytes: 64 << 20,
        segment_age: Duration::from_secs(3600),
        retention: Retention { bytes: u64::MAX, age: Duration::MAX },
        shipped: Positions::default(),
    }
}

fn signer(directory: &Path) -> Signer {
    Signer::of(&Config::at(directory)).unwrap()
}

fn open(directory: &Path) -> Journal {
    Journal::open(settings(directory), LOG, &signer(directory)).unwrap()
}

fn draft(stage: AuditStage, request: RequestId) -> Draft {
    let members = Map::from_iter([("value".to_owned(), Value::from("x".repeat(100)))]);
    Record::own(stage, members).with_request(request).draft()
}

/// All records, each held to its place; the segments' beginnings may say that some before them are void.
fn read(directory: &Path) -> Vec<(u64, String, String)> {
    let mut records: Vec<(u64, String, String)> = Vec::new();
    let mut chain = Chain::new(LOG);
    for segment in segment::list(&directory.join(LOG)).unwrap() {
        let text = fs::read_to_string(&segment.path).unwrap();
        for (index, line) in text.lines().enumerate() {
            let read =
                line::read(line.as_bytes()).unwrap_or_else(|| panic!("{}: {line}", segment.path.display()));
            if index == 0 {
                assert_eq!(read.metadata.sequence, segment.first);
                assert!(read.is(AuditStage::Segment));
                records.retain(|(sequence, ..)| *sequence < read.unmapped.trusted);
                if read.unmapped.trusted == segment.first && chain.next() > 0 {
                    assert_eq!(read.unmapped.tree, chain.tree().roots());
                }
                let tree = Frontier::new(segment.first, read.unmapped.tree.clone()).unwrap();
                chain = Chain::resume(LOG, tree, read.unmapped.prev);
            }
            assert!(chain.follow(line.as_bytes(), &read), "{line}");
            let request = read.request().map(|request| request.to_string()).unwrap_or_default();
            records.push((read.metadata.sequence, read.unmapped.stage.into_owned(), request));
        }
    }
    records
}

/// By the page, with the key beside it.
fn verified(directory: &Path) -> Report {
    let instance = Instance::open(&directory.join(LOG)).unwrap().unwrap();
    verify(&instance, &Trust::Beside, &[]).unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    segment::list(&directory.join(LOG)).unwrap().into_iter().map(|segment| segment.path).collect()
}

/// What the first record of the newest segment says.
fn opening(directory: &Path) -> Value {
    let text = fs::read_to_string(files(directory).last().unwrap()).unwrap();
    serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap()["unmapped"].take()
}

fn stages(directory: &Path) -> Vec<String> {
    read(directory).into_iter().map(|(_, stage, _)| stage).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_log_goes_on_in_a_new_segment_with_each_start() {
    let directory = TempDir::new().unwrap();
    for _ in 0..3 {
        let mut journal = open(directory.path());
        let request = RequestId::new();
        journal.append(&[draft(AuditStage::Intent, request)], true).unwrap();
        journal.append(&[draft(AuditStage::Outcome, request)], true).unwrap();
        journal.close().unwrap();
    }
    let expected = ["segment", "intent", "outcome", "shutdown", "checkpoint"];
    assert_eq!(stages(directory.path()), expected.repeat(3));
}

#[test]
fn a_successor_begins_while_its_predecessor_drains() {
    let directory = TempDir::new().unwrap();
    let first = open(directory.path());
    let second = open(directory.path());
    assert_eq!((first.name(), second.name()), (LOG, "gateway-0-2"));
    first.close().unwrap();
    assert_eq!(open(directory.path()).name(), LOG);
    assert!(second.is_open());
}

/// A crash leaves any part of what was not yet synced. Wherever it cuts, what is whole counts, what is torn goes aside, and
/// every intent without an end gets one, once.
#[test]
fn it_is_resumed_wherever_a_crash_has_cut_it() {
    let source = TempDir::new().unwrap();
    let mut journal = open(source.path());
    let requests: Vec<_> = (0..4).map(|_| RequestId::new()).collect();
    for request in &requests {
        journal.append(&[draft(AuditStage::Intent, *request)], true).unwrap();
    }
    journal.append(&[draft(AuditStage::Outcome, requests[1])], true).unwrap();
    journal.append(&[draft(AuditStage::Reject, requests[2])], true).unwrap();
    let file = segment::list(&source.path().join(LOG)).unwrap().pop().unwrap();
    let whole = fs::read(&file.path).unwrap();
    let before = read(source.path());
    // Nobody writes any more; it is as if it had been killed.
    drop(journal);

    for cut in (0..=whole.len()).step_by(37).chain([whole.len()]) {
        let directory = TempDir::new().unwrap();
        copy(&source.path().join(LOG), &directory.path().join(LOG));
        let name = file.path.file_name().unwrap();
        fs::write(directory.path().join(LOG).join(name), &whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        open(directory.path()).close().unwrap();

        let records = read(directory.path());
        assert_eq!(records[..lines], before[..lines], "{cut}");
        let at = |stage: &str| -> Vec<&String> {
            records.iter().filter(|(_, other, _)| other == stage).map(|(.., request)| request).collect()
        };
        let ended: Vec<_> = ["outcome", "reject", "recovered"].into_iter().flat_map(at).collect();
        let mut intents = at("intent");
        assert_eq!(intents.len(), ended.len(), "{cut}: {records:?}");
        intents.retain(|request| !ended.contains(request));
        assert!(intents.is_empty(), "{cut}");
        let torn = directory.path().join(LOG).join(name).with_extension("torn");
        let is_torn = cut > 0 && whole[cut - 1] != b'\n' || cut == 0;
        assert_eq!(torn.exists(), is_torn, "{cut}");
        // A second start finds nothing to do.
        open(directory.path()).close().unwrap();
        assert_eq!(
            stages(directory.path()).iter().filter(|stage| *stage == "recovered").count(),
            at("recovered").len()
        );
    }
}

#[test]
fn intents_of_earlier_segments_are_found_without_reading_all() {
    let directory = TempDir::new().unwrap();
    let settings = Settings { segment_bytes: 2000, ..settings(directory.path()) };
    let mut journal = Journal::open(settings.clone(), LOG, &signer(directory.path())).unwrap();
    let old = RequestId::new();
    for number in 0..200 {
        let request = if number == 150 { old } else { RequestId::new() };
        journal.append(&[draft(AuditStage::Intent, request)], true).unwrap();
        if number != 150 {
            journal.append(&[draft(AuditStage::Outcome, request)], true).unwrap();
        }
        journal.tick().unwrap();
    }
    drop(journal);
    let files = segment::list(&directory.path().join(LOG)).unwrap();
    assert!(files.len() > 50, "{}", files.len());
    // What is not looked at need not be there.
    for early in &files[..20] {
        fs::remove_file(&early.path).unwrap();
    }
    let journal = Journal::open(settings, LOG, &signer(directory.path())).unwrap();
    journal.close().unwrap();
    let all: Vec<_> = files[20..].iter().map(|file| fs::read_to_string(&file.path).unwrap()).collect();
    assert!(all.iter().all(|text| !text.contains("recovered")));
    let last = segment::list(&directory.path().join(LOG)).unwrap().pop().unwrap();
    let last = fs::read_to_string(last.path).unwrap();
    let recovered: Vec<_> = last.lines().filter(|line| line.contains(r#""stage":"recovered""#)).collect();
    assert_eq!(recovered.len(), 1);
    assert!(recovered[0].contains(&old.to_string()));
}

/// Cut within what was in doubt, or within what was known.
#[test]
fn what_a_failed_file_held_is_void_from_what_was_not_known_to_be_there() {
    for (cut, trusted) in [(1, 2), (2, 0)] {
        what_a_cut_file_held(cut, trusted);
    }
}

fn what_a_cut_file_held(cut: usize, trusted: u64) {
    let directory = TempDir::new().unwrap();
    let mut journal = open(directory.path());
    let (known, doubtful) = (RequestId::new(), RequestId::new());
    journal.append(&[draft(AuditStage::Outcome, known)], true).unwrap();
    journal.append(&[draft(AuditStage::Outcome, doubtful)], false).unwrap();
    // By another writer, so that the next look finds it.
    let file = segment::list(&directory.path().join(LOG)).unwrap().pop().unwrap();
    let text = fs::read_to_string(&file.path).unwrap();
    let kept: usize = text.split_inclusive('\n').take(3 - cut).map(str::len).sum();
    let opened = fs::OpenOptions::new().append(true).open(&file.path).unwrap();
    opened.set_len(kept as u64 + 3).unwrap();
    journal.look().unwrap_err();
    assert!(!journal.is_open());
    journal.reopen().unwrap();
    journal.append(&[draft(AuditStage::Outcome, doubtful)], true).unwrap();
    journal.close().unwrap();
    let records = segment::list(&directory.path().join(LOG)).unwrap();
    let text = fs::read_to_string(&records[1].path).unwrap();
    let read = line::read(text.lines().next().unwrap().as_bytes()).unwrap();
    assert_eq!(
        (read.metadata.sequence, read.unmapped.trusted),
        (3, trusted),
        "of a file that was cut below what was known nothing is trusted"
    );
    drop(open(directory.path()));
}
