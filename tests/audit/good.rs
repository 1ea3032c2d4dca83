//! Logs that are as they should be, whatever has happened to the process and its files.

use std::{fs, io::Write as _, os::unix::fs::symlink};

use prebuild_gateway::audit::{
    key::SigningKey,
    read::Instance,
    verify::{Kept, Reason, Report, Trust, verify},
};
use serde_json::json;
use tempfile::tempdir;

use super::forge::{Forge, file, small};

/// The report on a log as it was stored.
fn report(forge: &Forge, kept: &[&str]) -> Report {
    let directory = tempdir().unwrap();
    forge.store(directory.path());
    of(directory.path(), kept)
}

fn of(directory: &std::path::Path, kept: &[&str]) -> Report {
    let instances = Instance::all(directory).unwrap();
    let kept: Vec<_> = kept.iter().map(|note| Kept::parse((*note).to_owned()).unwrap()).collect();
    verify(&instances[0], &Trust::Beside, &kept.iter().collect::<Vec<_>>()).unwrap()
}

/// The number of the first bad record, and what is wrong with it.
fn bad(forge: &Forge, kept: &[&str]) -> (u64, Reason) {
    let fault = report(forge, kept).fault.unwrap();
    (fault.record, fault.reason)
}

#[test]
fn a_log_of_several_files_is_good() {
    let forge = small("gateway-0");
    let told = report(&forge, &[]);
    assert_eq!(told.fault, None);
    assert_eq!((told.log.as_str(), told.records, told.first, told.files), ("gateway-0", forge.next(), 0, 5));
    assert_eq!(told.signed.unwrap().checkpoint.size, forge.next() - 1);
    assert!(!told.kept && !told.torn && told.void.is_empty() && told.open == 0);
}

#[test]
fn it_is_what_the_checkpoints_kept_elsewhere_say() {
    let mut forge = small("gateway-0");
    let old = forge.note();
    forge.segment();
    forge.call();
    let new = forge.checkpoint();
    assert!(report(&forge, &[&old, &new]).kept);
    // Of another key, of another log, of none.
    assert!(matches!(bad(&forge, &[&small("gateway-0").note()]).1, Reason::Checkpoint(_) | Reason::Forked));
    assert!(matches!(bad(&forge, &[&small("gateway-1").note()]).1, Reason::Stranger(_) | Reason::Forked));
}

#[test]
fn a_log_that_was_rolled_back_is_found_with_a_checkpoint_alone() {
    let mut forge = small("gateway-0");
    let younger = forge.next();
    forge.segment();
    forge.call();
    let kept = forge.checkpoint();
    forge.segments.pop();
    let told = report(&forge, &[]);
    assert_eq!((told.fault, told.records), (None, younger));
    assert_eq!(bad(&forge, &[&kept]), (younger, Reason::RolledBack));
    // Also where all of it is gone but its key.
    forge.segments.clear();
    assert_eq!(bad(&forge, &[]), (0, Reason::Empty));
    assert_eq!(bad(&forge, &[&kept]), (0, Reason::RolledBack));
}

/// The key was changed, and then the origin.
#[test]
fn a_log_may_have_several_keys_if_all_are_trusted() {
    let mut forge = small("gateway-0");
    let (old, first) = (forge.verifier(), forge.next());
    forge.segment();
    forge.key = SigningKey::generate().unwrap();
    let new = forge.verifier();
    let kept = Kept::parse(forge.checkpoint()).unwrap();
    forge.segment();
    forge.site = "audit.example.org";
    let moved = forge.verifier();
    forge.checkpoint();
    let directory = tempdir().unwrap();
    forge.store(directory.path());
    let log = &Instance::all(directory.path()).unwrap()[0];
    let verdict =
        |trust: Trust| verify(log, &trust, &[&kept]).unwrap().fault.map(|fault| (fault.record, fault.reason));
    assert_eq!(verdict(Trust::Named(vec![moved.clone(), old.clone(), new.clone()])), None);
    assert_eq!(verdict(Trust::Keys(vec![*old.key(), *new.key()])), None);
    let by_none = |(_, reason)| matches!(reason, Reason::Checkpoint(_) | Reason::Stranger(_));
    for some in [vec![new.clone()], vec![old.clone()], vec![old.clone(), moved], vec![]] {
        assert!(verdict(Trust::Named(some)).is_some_and(by_none));
    }
    let (at, reason) = verdict(Trust::Named(vec![old, new])).unwrap();
    assert_eq!((at, reason), (first + 3, Reason::Stranger("audit.example.org/gateway-0".to_owned())));
}

/// What anybody can write: it fits, and nobody has signed it.
#[test]
fn a_log_of_which_a_trusted_key_has_signed_nothing_is_not_good() {
    let mut forge = Forge::new("gateway-0");
    forge.call();
    let directory = tempdir().unwrap();
    forge.store(directory.path());
    let log = &Instance::all(directory.path()).unwrap()[0];
    assert_eq!(verify(log, &Trust::Beside, &[]).unwrap().fault, None);
    for trust in [Trust::Named(vec![forge.verifier()]), Trust::Keys(vec![forge.key.public()])] {
        let fault = verify(log, &trust, &[]).unwrap().fault.unwrap();
        assert_eq!((fault.record, fault.reason), (0, Reason::Unsigned));
    }
}

/// Whoever can put a file beside the logs must not hide them.
#[test]
fn logs_are_seen_whatever_stands_beside_them() {
    let directory = tempdir().unwrap();
    let logs = [small("gateway-0"), small("gateway-1")];
    logs.iter().for_each(|forge| drop(forge.store(directory.path())));
    let names = || -> Vec<_> {
        let all = Instance::all(directory.path()).unwrap();
        all.iter().map(|one| (one.is_named(), one.name().to_owned())).collect()
    };
    let both = [(true, "gateway-0".to_owned()), (true, "gateway-1".to_owned())];
    assert_eq!(names(), both);
    fs::write(directory.path().join("key.pub"), format!("{}\n", logs[0].verifier())).unwrap();
    assert_eq!(names(), both);
    let stray = directory.path().join(file(0));
    fs::write(&stray, logs[0].segments[0].lines.concat()).unwrap();
    assert_eq!(names()[1..], both);
    // A key by itself is a log of which nothing is left.
    fs::remove_file(stray).unwrap();
    for (_, name) in both {
        fs::remove_dir_all(directory.path().join(name)).unwrap();
    }
    assert_eq!(of(directory.path(), &[]).fault.unwrap().reason, Reason::Empty);
}

/// Rolled back, and then written on: only the root tells.
#[test]
fn a_log_that_took_another_way_is_found() {
    let mut forge = small("gateway-0");
    let mut other = forge.fork();
    forge.call();
    let kept = forge.checkpoint();
    other.record("gap", &json!({ "count": 1 }), json!({}));
    other.call();
    for _ in 0..9 {
        other.call();
    }
    other.checkpoint();
    assert_eq!(report(&other, &[]).fault, None);
    assert_eq!(bad(&other, &[&kept]), (forge.next() - 2, Reason::Forked));
}

#[test]
fn the_newest_file_may_end_within_a_record() {
    let forge = small("gateway-0");
    let directory = tempdir().unwrap();
    let place = forge.store(directory.path());
    let newest = place.join(file(forge.segments[4].first));
    fs::OpenOptions::new().append(true).open(&newest).unwrap().write_all(br#"{"metadata":{"seq"#).unwrap();
    let told = of(directory.path(), &[]);
    assert_eq!((told.fault, told.torn, told.records), (None, true, forge.next()));
    // Or have been begun just now.
    fs::write(place.join(file(forge.next() + 1)), "").unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&newest)
        .unwrap()
        .set_len(forge.segments[4].lines.concat().len() as u64)
        .unwrap();
    assert_eq!(of(directory.path(), &[]).fault, None);
    // Another one may not.
    let older = place.join(file(forge.segments[1].first));
    fs::OpenOptions::new().append(true).open(&older).unwrap().write_all(b"{").unwrap();
    let fault = of(directory.path(), &[]).fault.unwrap();
    assert_eq!(
        (fault.record, fault.reason, fault.file),
        (forge.segments[2].first, Reason::Torn, place.join(file(forge.segments[2].first)))
    );
}

/// The file failed, and what was not on disk was written again behind.
#[test]
fn void_records_do_not_count() {
    for left in [0, 2, 5] {
        let mut forge = small("gateway-0");
        let trusted = forge.next();
        (0..2).for_each(|_| forge.call());
        forge.intent();
        let void = forge.next();
        forge.segment_after_failure(trusted);
        forge.call();
        forge.checkpoint();
        let failed = &mut forge.segments[4];
        failed.lines.truncate(failed.lines.len() - left);
        if left > 0 {
            failed.lines.push(b"{\"metadata\":{".to_vec());
        }
        let told = report(&forge, &[]);
        assert_eq!(told.fault, None, "{left}");
        assert_eq!((told.void.as_slice(), told.open), (std::slice::from_ref(&(trusted..void)), 0));
        // One that can be trusted must be there.
        let failed = &mut forge.segments[4];
        failed.lines.truncate(usize::try_from(trusted - failed.first).unwrap() - 1);
        assert_eq!(bad(&forge, &[]), (trusted - 1, Reason::Missing(void)), "{left}");
    }
}

/// The file was removed, and with it what was signed: what is left is consistent, and the log is not good.
#[test]
fn records_that_were_signed_and_are_gone_are_lost() {
    let mut forge = small("gateway-0");
    let trusted = forge.next();
    forge.segment();
    forge.call();
    let signed = forge.next();
    forge.checkpoint();
    let void = forge.next();
    forge.segment_after_loss(trusted, signed);
    forge.call();
    forge.checkpoint();
    let lost = forge.segments.remove(5);
    let told = report(&forge, &[]);
    assert_eq!((told.fault.as_ref(), told.records), (None, forge.next()));
    assert_eq!(told.lost, std::slice::from_ref(&(trusted..signed)));
    assert_eq!(told.void, std::slice::from_ref(&(trusted..void)));
    assert!(!told.is_good());
    // Whether or not it is found again: nobody can tell that it is what it was.
    forge.segments.insert(5, lost);
    assert!(!report(&forge, &[]).is_good());
    // Also where the file is the first that is left.
    forge.segments.drain(..6);
    assert_eq!(report(&forge, &[]).lost, std::slice::from_ref(&(trusted..signed)));

    let mut forge = small("gateway-0");
    let next = forge.next();
    forge.segment_after_loss(next - 1, next + 1);
    assert_eq!(bad(&forge, &[]), (next, Reason::Field("signed")));
}

/// The tree of what can be trusted binds what is before void records to what is behind them.
#[test]
fn an_edit_before_void_records_is_found() {
    let mut forge = small("gateway-0");
    forge.call();
    let trusted = forge.next();
    forge.call();
    forge.segment_after_failure(trusted);
    forge.checkpoint();
    assert_eq!(report(&forge, &[]).fault, None);
    // The last record that counts has no record behind it that has its hash, and no checkpoint either.
    let segment = &mut forge.segments[4];
    let last = segment.lines.len() - 3;
    let text = String::from_utf8(segment.lines[last].clone()).unwrap();
    segment.lines[last] = text.replace("subject-", "Subject-").into_bytes();
    let (record, reason) = bad(&forge, &[]);
    assert!(record >= trusted - 1, "{record} {reason}");
    assert_eq!(reason, Reason::Tree("trusted_tree"));
}

#[test]
fn a_file_of_void_records_may_be_gone() {
    let mut forge = small("gateway-0");
    let trusted = forge.next();
    forge.segment();
    forge.call();
    forge.segment_after_failure(trusted);
    forge.call();
    forge.checkpoint();
    assert_eq!(report(&forge, &[]).fault, None);
    forge.segments.remove(5);
    let told = report(&forge, &[]);
    assert_eq!(told.fault, None);
    assert_eq!(told.void, std::slice::from_ref(&(trusted..trusted + 3)));
    // A checkpoint within shows that somebody was told of them.
    forge.segments.remove(4);
    assert_eq!(bad(&forge, &[]).0, forge.segments[3].first + forge.segments[3].lines.len() as u64);
}

/// The only file of a log was cut while it was written.
#[test]
fn all_that_is_before_a_segment_may_be_void() {
    let mut forge = Forge::new("gateway-0");
    forge.call();
    let kept = forge.checkpoint();
    let void = forge.next();
    forge.segment_after_failure(0);
    forge.checkpoint();
    for left in [1, 0] {
        let told = report(&forge, &[]);
        assert_eq!((told.fault, told.first, told.records), (None, void, forge.next()));
        assert_eq!(told.void, std::slice::from_ref(&(0..void)));
        // Somebody was told of them.
        assert_eq!(bad(&forge, &[&kept]), (3, Reason::Incomparable));
        forge.segments[0].lines.truncate(left);
    }
    forge.forget(1);
    assert_eq!(report(&forge, &[]).fault, None);
}

/// What anybody can add to a log: that all of it is void, and a tree that is the right one.
#[test]
fn a_log_that_is_called_void_is_not_what_a_kept_checkpoint_says() {
    let mut forge = small("gateway-0");
    let (kept, size) = (forge.note(), forge.next());
    forge.segment_after_failure(0);
    forge.segments.drain(..5);
    assert_eq!(report(&forge, &[]).fault, None);
    assert_eq!(bad(&forge, &[&kept]), (size, Reason::Incomparable));
}

#[test]
fn what_is_pruned_may_be_gone_once_that_is_signed() {
    let mut forge = small("gateway-0");
    let kept = forge.note();
    forge.segment();
    forge.prune(2);
    let first = forge.segments[2].first;
    // Announced, but not signed: anybody can write that.
    let mut announced = forge.fork();
    announced.forget(2);
    assert_eq!(bad(&announced, &[]), (first - 1, Reason::Unpruned));
    forge.checkpoint();
    assert_eq!(report(&forge, &[]).fault, None);
    // The removal stops half way.
    forge.forget(1);
    assert_eq!(report(&forge, &[]).fault, None);
    forge.forget(1);
    let told = report(&forge, &[&kept]);
    assert_eq!((told.fault, told.first, told.kept), (None, first, true));
    // More than that is missing.
    forge.forget(1);
    assert_eq!(bad(&forge, &[]).1, Reason::Unpruned);
}

#[test]
fn a_checkpoint_of_what_is_pruned_cannot_be_compared() {
    let mut forge = Forge::new("gateway-0");
    let old = forge.checkpoint();
    forge.segment();
    forge.prune(1);
    forge.checkpoint();
    forge.forget(1);
    assert_eq!(report(&forge, &[]).fault, None);
    assert_eq!(bad(&forge, &[&old]), (1, Reason::Incomparable));
}

#[test]
fn a_prune_with_another_root_is_bad() {
    let mut forge = small("gateway-0");
    let size = forge.segments[1].first;
    let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
    let at = forge.next();
    forge.record("pruned", &json!({ "first": 0, "size": size, "root": root }), json!({}));
    forge.checkpoint();
    assert_eq!(bad(&forge, &[]), (at, Reason::Pruned));
}

#[test]
fn intents_have_one_end() {
    let mut forge = small("gateway-0");
    let open = forge.next();
    let call = forge.intent();
    assert_eq!((report(&forge, &[]).fault, report(&forge, &[]).open), (None, 1));
    forge.record("shutdown", &json!({}), json!({}));
    assert_eq!(bad(&forge, &[]), (open, Reason::Open));
    forge.checkpoint();
    assert_eq!(bad(&forge, &[]), (open, Reason::Open));
    // Recovered at the next start.
    forge.segment();
    forge.end("recovered", call);
    forge.record("shutdown", &json!({}), json!({}));
    assert_eq!(report(&forge, &[]).fault, None);
    let second = forge.next();
    forge.end("outcome", call);
    assert_eq!(bad(&forge, &[]), (second, Reason::SecondEnd));
}

#[test]
fn a_second_intent_is_bad() {
    let mut forge = small("gateway-0");
    let call = forge.intent();
    let second = forge.next();
    forge.end("intent", call);
    assert_eq!(bad(&forge, &[]), (second, Reason::SecondIntent));
}

#[test]
fn a_segment_opens_a_file_and_nothing_else_does() {
    let mut forge = small("gateway-0");
    let at = forge.next();
    let fields = json!({ "tree": forge.tree.roots(), "trusted": at, "open_from": at });
    forge.record("segment", &fields, json!({}));
    assert_eq!(bad(&forge, &[]), (at, Reason::Reopened));
}

#[test]
fn a_log_in_another_ones_place_is_found() {
    let directory = tempdir().unwrap();
    let forge = small("gateway-0");
    fs::rename(forge.store(directory.path()), directory.path().join("gateway-1")).unwrap();
    let fault = of(directory.path(), &[]).fault.unwrap();
    assert_eq!((fault.record, fault.reason), (0, Reason::Log("gateway-0".to_owned())));
    // A copy that is looked at by itself may have any name.
    assert_eq!(of(&directory.path().join("gateway-1"), &[]).fault, None);
}

#[test]
fn links_and_pipes_are_not_read() {
    let directory = tempdir().unwrap();
    let forge = small("gateway-0");
    let place = forge.store(directory.path());
    let segment = place.join(file(forge.segments[2].first));
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&segment, &elsewhere).unwrap();
    symlink(&elsewhere, &segment).unwrap();
    assert!(Instance::all(directory.path()).is_err());
    fs::remove_file(&segment).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &segment, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(Instance::all(directory.path()).is_err());
    fs::remove_file(&segment).unwrap();
    fs::create_dir(&segment).unwrap();
    assert!(Instance::all(directory.path()).is_err());
}
