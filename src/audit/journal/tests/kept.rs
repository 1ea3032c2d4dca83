//! What is kept, and that what is removed leaves no hole.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    AuditStage, Config, Journal, LOG, RequestId, Retention, Settings, Signer, draft, files, read, segment,
    settings, signer, stages, verified,
};

/// A log of several segments of which retention keeps none but the newest.
fn doomed(directory: &Path, signer: &Signer, retention: Retention) -> Journal {
    let keeps = Retention { bytes: u64::MAX, age: Duration::MAX };
    let settings = Settings { segment_bytes: 1, retention: keeps, ..settings(directory) };
    let mut journal = Journal::open(settings, LOG, signer).unwrap();
    for _ in 0..4 {
        journal.append(&[draft(AuditStage::Outcome, RequestId::new())], true).unwrap();
        journal.rotate().unwrap();
    }
    journal.settings.retention = retention;
    // A checkpoint speaks for all of them.
    journal.checkpoint.at -= Duration::from_secs(1);
    journal
}

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

#[test]
fn what_is_older_than_retention_says_is_removed() {
    let directory = TempDir::new().unwrap();
    let mut journal = doomed(
        directory.path(),
        &signer(directory.path()),
        Retention { bytes: u64::MAX, age: Duration::ZERO },
    );
    journal.settings.segment_bytes = u64::MAX;
    journal.tick().unwrap();
    assert_eq!((files(directory.path()).len(), journal.pruned()), (1, 4));
    journal.close().unwrap();
    assert_eq!(verified(directory.path()).fault, None);
}

#[test]
fn a_segment_that_cannot_be_removed_keeps_those_behind_it() {
    let directory = TempDir::new().unwrap();
    let mut journal =
        doomed(directory.path(), &signer(directory.path()), Retention { bytes: 0, age: Duration::MAX });
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

/// A start goes back to what stands there: what is before must not be gone.
#[test]
fn nothing_is_removed_before_a_checkpoint_behind_it_was_told() {
    let (directory, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let config = Config { checkpoints: Some(elsewhere.path().to_owned()), ..Config::at(directory.path()) };
    let signer = Signer::of(&config).unwrap();
    let mut journal = doomed(directory.path(), &signer, Retention { bytes: 0, age: Duration::MAX });
    journal.settings.segment_bytes = u64::MAX;
    let all = files(directory.path());
    // No file can take the place of this.
    let told = elsewhere.path().join(LOG);
    fs::create_dir(&told).unwrap();
    for _ in 0..3 {
        journal.tick().unwrap();
        journal.tell();
    }
    assert_eq!((files(directory.path()), journal.told), (all, 0));
    fs::remove_dir(&told).unwrap();
    journal.tell();
    journal.tick().unwrap();
    assert_eq!((files(directory.path()).len(), journal.pruned()), (1, 4));
    journal.close().unwrap();
    Journal::open(settings(directory.path()), LOG, &signer).expect("it goes on");
}

/// Neither its age nor its bytes count, and what is behind it is removed when it is due.
#[test]
fn a_segment_that_somebody_removed_holds_up_nothing() {
    let directory = TempDir::new().unwrap();
    let mut journal = doomed(
        directory.path(),
        &signer(directory.path()),
        Retention { bytes: u64::MAX, age: Duration::ZERO },
    );
    journal.settings.segment_bytes = u64::MAX;
    fs::remove_file(&files(directory.path())[0]).unwrap();
    journal.tick().unwrap();
    assert_eq!(files(directory.path()).len(), 1);
    assert_eq!(journal.figures().bytes, fs::metadata(&files(directory.path())[0]).unwrap().len());
}
