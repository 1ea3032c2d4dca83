//! Disks that fail, and files that somebody removes or changes: what counts then, and that the log goes on.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    slice,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    AuditStage, Config, Journal, LOG, RequestId, Signer, draft, files, open, opening, read, settings, stages,
    verified,
};
use crate::audit::segment::faults::{Step, fail};

fn outcome() -> super::Draft {
    draft(AuditStage::Outcome, RequestId::new())
}

/// With a first segment in which there is an intent, and a second one that is written.
fn with_open_call(directory: &Path) -> (Journal, RequestId) {
    let mut journal = open(directory);
    let request = RequestId::new();
    journal.append(&[draft(AuditStage::Intent, request)], true).unwrap();
    journal.settings.segment_bytes = 1;
    journal.rotate().unwrap();
    journal.settings.segment_bytes = u64::MAX;
    assert_eq!(files(directory).len(), 2);
    (journal, request)
}

/// Ends of this call, in what counts.
fn ends(directory: &Path, request: RequestId) -> Vec<String> {
    let of = |(_, stage, of): (u64, String, String)| (of == request.to_string()).then_some(stage);
    read(directory).into_iter().filter_map(of).filter(|stage| stage != "intent").collect()
}

fn lose(journal: &mut Journal, directory: &Path) {
    fs::remove_file(files(directory).last().unwrap()).unwrap();
    journal.look().unwrap_err();
}

/// Whatever fails of it, with the room for the ends of calls that are under way.
#[test]
fn a_rotation_that_fails_leaves_the_log_as_it_was() {
    // The old file is written and synced first.
    let steps = [(Step::Reserve, 0), (Step::Append, 1), (Step::Sync, 1)];
    let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::Other];
    for (step, passed) in steps {
        for kind in kinds {
            let directory = TempDir::new().unwrap();
            let mut journal = open(directory.path());
            let request = RequestId::new();
            journal.append(&[draft(AuditStage::Intent, request)], true).unwrap();
            journal.settings.segment_bytes = 1;
            let generation = journal.reach().borrow().generation;
            fail(step, passed, kind);
            journal.rotate().unwrap();
            assert_eq!(files(directory.path()).len(), 1, "{step:?} {kind}: nothing is left of the new one");
            assert_ne!(journal.reach().borrow().generation, generation, "readers look again");
            // Not with every tick.
            journal.rotate().unwrap();
            assert_eq!(files(directory.path()).len(), 1);
            journal.append(&[draft(AuditStage::Outcome, request)], true).unwrap();
            journal.rotates_from = Instant::now();
            journal.rotate().unwrap();
            assert_eq!(files(directory.path()).len(), 2);
            journal.append(&[outcome()], true).unwrap();
            journal.close().unwrap();
            let report = verified(directory.path());
            assert_eq!((report.fault, report.void), (None, vec![]), "{step:?} {kind}");
            assert_eq!(ends(directory.path(), request), ["outcome"]);
        }
    }
}

/// The file is not written any more, but what was acknowledged is still in it.
#[test]
fn what_was_acknowledged_counts_unless_its_file_is_lost() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("a short write", |_| fail(Step::Append, 0, ErrorKind::StorageFull)),
        ("a sync", |_| fail(Step::Sync, 0, ErrorKind::Other)),
        ("chmod", |file| fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap()),
        ("link", |file| fs::hard_link(file, file.with_file_name("other")).unwrap()),
    ];
    for (harm, do_it) in harms {
        let directory = TempDir::new().unwrap();
        let mut journal = open(directory.path());
        journal.append(&[outcome()], true).unwrap();
        do_it(&files(directory.path())[0]);
        journal.append(&[outcome()], true).unwrap_err();
        assert!(!journal.is_open(), "{harm}");
        let failed = fs::metadata(&files(directory.path())[0]).unwrap();
        assert!(failed.blocks() * 512 < 1 << 20, "{harm}: the room that it kept is given back");
        assert_ne!(failed.mode() & 0o777, 0o400, "{harm}: nobody has closed it in order");
        journal.reopen().unwrap();
        assert_eq!(opening(directory.path())["trusted"], 2, "{harm}");
        assert_eq!(fs::metadata(&files(directory.path())[0]).unwrap().mode() & 0o777, 0o400, "{harm}");
        assert_eq!(journal.take_lost(), 0);
        journal.append(&[outcome()], true).unwrap();
        journal.close().unwrap();
        let report = verified(directory.path());
        assert_eq!((report.fault, report.void.as_slice()), (None, slice::from_ref(&(2..3))), "{harm}");
    }
}

#[test]
fn ends_that_are_lost_with_their_file_are_written_again() {
    let directory = TempDir::new().unwrap();
    let (mut journal, request) = with_open_call(directory.path());
    journal.append(&[draft(AuditStage::Outcome, request)], true).unwrap();
    for _ in 0..3 {
        lose(&mut journal, directory.path());
        // Whatever comes between.
        fail(Step::Append, 1, ErrorKind::Other);
        journal.reopen().unwrap_err();
        assert_eq!(opening(directory.path())["open_from"], 1, "a crash now leaves it to the next start");
        journal.reopen().unwrap();
        assert_eq!(ends(directory.path(), request), ["outcome"]);
    }
    journal.close().unwrap();
    let report = verified(directory.path());
    assert_eq!((report.fault, report.open), (None, 0));
    drop(open(directory.path()));
    assert_eq!(ends(directory.path(), request), ["outcome"]);
}

/// The process ends, and calls that it has let through do not.
#[test]
fn a_log_with_calls_under_way_does_not_end_in_order() {
    let directory = TempDir::new().unwrap();
    let (journal, request) = with_open_call(directory.path());
    journal.close().unwrap();
    assert_eq!(stages(directory.path()).last().unwrap(), "checkpoint");
    assert!(!stages(directory.path()).contains(&"shutdown".to_owned()));
    let left = fs::metadata(files(directory.path()).last().unwrap()).unwrap();
    assert_eq!(left.mode() & 0o777, 0o600, "whoever takes it next closes the calls");
    let report = verified(directory.path());
    assert_eq!((report.fault, report.open), (None, 1));
    open(directory.path()).close().unwrap();
    assert_eq!(ends(directory.path(), request), ["recovered"]);
    let report = verified(directory.path());
    assert_eq!((report.fault, report.open), (None, 0));
}

#[test]
fn a_disk_that_goes_on_failing_is_not_filled_up() {
    let directory = TempDir::new().unwrap();
    let mut journal = open(directory.path());
    fail(Step::Sync, 0, ErrorKind::Other);
    journal.append(&[outcome()], true).unwrap_err();
    for _ in 0..10 {
        fail(Step::Sync, 0, ErrorKind::Other);
        journal.reopen().unwrap_err();
        assert_eq!(files(directory.path()).len(), 1);
    }
    journal.reopen().unwrap();
    journal.close().unwrap();
    assert_eq!(verified(directory.path()).fault, None);
}

/// Signed, and told elsewhere: that is not what a disk does.
#[test]
fn signed_records_that_are_lost_with_their_file_are_told() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = with_open_call(directory.path());
    journal.append(&[outcome()], true).unwrap();
    journal.checkpoint.at -= Duration::from_secs(1);
    journal.append(&[outcome()], true).unwrap();
    journal.tell();
    let (trusted, signed) = (2, journal.checkpoint.covers);
    for _ in 0..2 {
        lose(&mut journal, directory.path());
        journal.reopen().unwrap();
        let opening = opening(directory.path());
        assert_eq!((&opening["trusted"], &opening["signed"]), (&trusted.into(), &signed.into()));
    }
    assert_eq!(journal.take_lost(), 2, "outcomes that were acknowledged");
    journal.close().unwrap();
    let report = verified(directory.path());
    assert_eq!((report.fault.as_ref(), report.lost.as_slice()), (None, slice::from_ref(&(trusted..signed))));
    assert!(!report.is_good());
}

/// It may be that nobody but the gateway has a key that checks what is written there.
#[test]
fn a_directory_that_is_made_again_has_the_key_and_says_what_is_lost() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = with_open_call(directory.path());
    journal.append(&[outcome()], true).unwrap();
    journal.checkpoint.at -= Duration::from_secs(1);
    journal.tick().unwrap();
    journal.tell();
    let signed = journal.checkpoint.covers;
    fs::remove_dir_all(directory.path().join(LOG)).unwrap();
    journal.look().unwrap_err();
    journal.reopen().unwrap();
    assert_eq!(journal.take_lost(), 1, "the outcome: of the intent the end is still to come");
    journal.append(&[outcome()], true).unwrap();
    journal.close().unwrap();
    assert_eq!(verified(directory.path()).lost, slice::from_ref(&(0..signed)));
}

#[test]
fn a_checkpoint_over_void_records_is_told_to_nobody() {
    let directory = TempDir::new().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    let audit = directory.path().join("audit");
    fs::create_dir(&audit).unwrap();
    let config = Config { checkpoints: Some(elsewhere.clone()), ..Config::at(&audit) };
    let mut journal = Journal::open(settings(&audit), LOG, &Signer::of(&config).unwrap()).unwrap();
    journal.checkpoint.at -= Duration::from_secs(1);
    fail(Step::Sync, 0, ErrorKind::Other);
    journal.append(&[outcome()], true).unwrap_err();
    let next = journal.chain.next();
    journal.append(&[outcome()], true).unwrap_err();
    assert_eq!(journal.chain.next(), next, "what is not tried has no place");
    journal.reopen().unwrap();
    journal.tell();
    let told = elsewhere.join(LOG);
    assert!(!told.exists());
    assert_eq!((journal.checkpoint.covers, journal.told), (0, 0));
    // The next one is.
    journal.checkpoint.at -= Duration::from_secs(1);
    journal.append(&[outcome()], true).unwrap();
    journal.tell();
    assert!(told.exists());
}

#[test]
fn what_stands_in_the_place_of_the_next_segment_is_moved_aside() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = with_open_call(directory.path());
    let file = |number: u64| directory.path().join(LOG).join(format!("{number:020}.jsonl"));
    for _ in 0..2 {
        let next = file(journal.chain.next());
        fs::write(&next, "left").unwrap();
        lose_by_mode(&mut journal, directory.path());
        journal.reopen().unwrap();
        assert_eq!(fs::read_to_string(next.with_extension("torn")).unwrap(), "left");
    }
    // Also where it is no file, and the log only goes on.
    fs::create_dir(file(journal.chain.next())).unwrap();
    journal.settings.segment_bytes = 1;
    journal.rotate().unwrap();
    assert!(journal.is_open() && files(directory.path()).len() == 5);
}

/// Without a look at the newest name, which may be another's.
fn lose_by_mode(journal: &mut Journal, directory: &Path) {
    let written = journal.segment.as_ref().unwrap().path().to_owned();
    assert!(written.starts_with(directory));
    fs::set_permissions(&written, Permissions::from_mode(0o640)).unwrap();
    journal.look().unwrap_err();
}
