//! What is kept of a log, and what it tells of the rest.

use std::{
    fs::{self, File},
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    AuditStage, Journal, LOG, RequestId, Retention, Settings, draft, read, segment, settings, signer,
};

/// Writes records for long enough that a checkpoint covers some of them.
fn write(directory: &TempDir, retention: Retention, each: impl Fn()) {
    let settings = Settings { segment_bytes: 3000, retention, ..settings(directory.path()) };
    let mut journal = Journal::open(settings, LOG, &signer(directory.path())).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1600) {
        let request = RequestId::new();
        journal.append(&[draft(AuditStage::Intent, request)], true).unwrap();
        journal.append(&[draft(AuditStage::Outcome, request)], true).unwrap();
        each();
        journal.tick().unwrap();
    }
    journal.close().unwrap();
}

/// What the newest record `pruned` says, and the files that are left.
fn pruned(directory: &TempDir) -> (Option<Value>, Vec<segment::Named>) {
    let files = segment::list(&directory.path().join(LOG)).unwrap();
    let texts: String = files.iter().map(|file| fs::read_to_string(&file.path).unwrap()).collect();
    let pruned = texts.lines().rfind(|line| line.contains(r#""stage":"pruned""#));
    (pruned.map(|line| serde_json::from_str::<Value>(line).unwrap()["unmapped"].take()), files)
}

#[test]
fn a_log_keeps_what_retention_says_and_tells_what_it_removed() {
    let soon = Duration::from_millis(100);
    for (reason, retention) in [
        ("bytes", Retention { bytes: 12_000, age: Duration::MAX }),
        ("age", Retention { bytes: u64::MAX, age: soon }),
    ] {
        let directory = TempDir::new().unwrap();
        write(&directory, retention, || ());
        let (pruned, files) = pruned(&directory);
        let (pruned, first) = (pruned.expect("it is told"), files[0].first);
        assert!(first > 0);
        assert_eq!((&pruned["size"], &pruned["reason"]), (&first.into(), &reason.into()));
        // Whether it was due can be told from what is left.
        let time = |name: &str| humantime::parse_rfc3339(pruned[name].as_str().unwrap()).unwrap();
        let kept = fs::read_to_string(&files[0].path).unwrap();
        let kept: Value = serde_json::from_str(kept.lines().next().unwrap()).unwrap();
        let until = time("until").duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(until.as_millis(), u128::from(kept["time"].as_u64().unwrap()));
        assert!(reason == "bytes" || time("time").duration_since(time("until")).unwrap() > soon);
        read(directory.path());
    }
}

/// Else whoever can set the times of files has them removed, and that signed.
#[test]
fn a_file_is_as_old_as_the_log_says() {
    let directory = TempDir::new().unwrap();
    let kept = Retention { bytes: u64::MAX, age: Duration::from_secs(24 * 3600) };
    write(&directory, kept, || {
        for file in segment::list(&directory.path().join(LOG)).unwrap() {
            File::open(&file.path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
    });
    let (pruned, files) = pruned(&directory);
    assert_eq!((pruned, files[0].first), (None, 0));
    assert!(files.len() > 3);
}
