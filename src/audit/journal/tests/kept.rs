//! What is kept, and that what is removed leaves no hole.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    AuditStage, Journal, LOG, RequestId, Retention, Settings, draft, files, read, segment, settings, signer,
    stages, verified,
};

/// A log of several segments of which retention keeps none but the newest.
fn doomed(directory: &TempDir, retention: Retention) -> Journal {
    let keeps = Retention { bytes: u64::MAX, age: Duration::MAX };
    let settings = Settings { segment_bytes: 1, retention: keeps, ..settings(directory.path()) };
    let mut journal = Journal::open(settings, LOG, &signer(directory.path())).unwrap();
    for _ in 0..4 {
        journal.append(&[draft(AuditStage::Outcome, RequestId::new())], true).unwrap();
        journal.rotate().unwrap();
    }
    journal.settings.retention = retention;
    // A checkpoint speaks for all of them.
    journal.checkpoint.at -= Duration::from_secs(1);
    journal
}

#[test]
fn a_log_keeps_what_retention_says_and_tells_what_it_removed() {
    let directory = TempDir::new().unwrap();
    let settings = Settings {
        segment_bytes: 3000,
        retention: Retention { bytes: 12_000, age: Duration::MAX },
        ..settings(directory.path())
    };
    let mut journal = Journal::open(settings, LOG, &signer(directory.path())).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1600) {
        let request = RequestId::new();
        journal.append(&[draft(AuditStage::Intent, request)], true).unwrap();
        journal.append(&[draft(AuditStage::Outcome, request)], true).unwrap();
        journal.tick().unwrap();
    }
    journal.close().unwrap();
    let files = segment::list(&directory.path().join(LOG)).unwrap();
    let first = files[0].first;
    assert!(first > 0);
    let texts: String = files.iter().map(|file| fs::read_to_string(&file.path).unwrap()).collect();
    let pruned = texts.lines().rfind(|line| line.contains(r#""stage":"pruned""#)).expect("it is told");
    let pruned: Value = serde_json::from_str(pruned).unwrap();
    assert_eq!(pruned["unmapped"]["size"], first);
    read(directory.path());
}

#[test]
fn what_is_older_than_retention_says_is_removed() {
    let directory = TempDir::new().unwrap();
    let mut journal = doomed(&directory, Retention { bytes: u64::MAX, age: Duration::ZERO });
    journal.settings.segment_bytes = u64::MAX;
    journal.tick().unwrap();
    assert_eq!((files(directory.path()).len(), journal.pruned()), (1, 4));
    journal.close().unwrap();
    assert_eq!(verified(directory.path()).fault, None);
}

#[test]
fn a_segment_that_cannot_be_removed_keeps_those_behind_it() {
    let directory = TempDir::new().unwrap();
    let mut journal = doomed(&directory, Retention { bytes: 0, age: Duration::MAX });
    journal.settings.segment_bytes = u64::MAX;
    let all = files(directory.path());
    // No file any more: it cannot be unlinked, by root neither.
    let aside = directory.path().join("aside");
    fs::rename(&all[1], &aside).unwrap();
    fs::create_dir(&all[1]).unwrap();
    for _ in 0..3 {
        journal.tick().unwrap();
        journal.prunes_from = Instant::now();
    }
    fs::remove_dir(&all[1]).unwrap();
    fs::rename(&aside, &all[1]).unwrap();
    assert_eq!(files(directory.path()), all[1..]);
    let pruned = || stages(directory.path()).iter().filter(|stage| *stage == "pruned").count();
    assert_eq!((pruned(), journal.pruned()), (1, 1), "it is said once");
    journal.tick().unwrap();
    assert_eq!((files(directory.path()).len(), pruned()), (1, 1));
    journal.close().unwrap();
    assert_eq!(verified(directory.path()).fault, None);
}

/// Neither its age nor its bytes count, and what is behind it is removed when it is due.
#[test]
fn a_segment_that_somebody_removed_holds_up_nothing() {
    let directory = TempDir::new().unwrap();
    let mut journal = doomed(&directory, Retention { bytes: u64::MAX, age: Duration::ZERO });
    journal.settings.segment_bytes = u64::MAX;
    fs::remove_file(&files(directory.path())[0]).unwrap();
    journal.tick().unwrap();
    assert_eq!(files(directory.path()).len(), 1);
    assert_eq!(journal.figures().bytes, fs::metadata(&files(directory.path())[0]).unwrap().len());
}
