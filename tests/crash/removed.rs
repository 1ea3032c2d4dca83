//! Files that go at random times, under load: what upstream saw has its intent in a file that can still be reached, or
//! was acknowledged before.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    gateway::Setting,
    joined::{Logged, logged, segments, violations},
    load::{CLIENTS, Ended, Load, Upstream},
};
use crate::ALONE;

const ROUNDS: usize = 20;

/// Kept under another name, so that the test can tell what had been acknowledged in it; and how long it was: what is
/// written to it later reaches nobody.
fn remove(file: &Path, aside: &Path) -> u64 {
    fs::hard_link(file, aside).unwrap();
    fs::remove_file(file).unwrap();
    fs::metadata(aside).unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_takes_no_intent_of_a_later_call_with_it() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let (audit, aside) = (directory.path().join("audit"), directory.path().join("aside"));
    fs::create_dir(&aside).unwrap();
    let upstream = Upstream::start().await;
    let gateway = Setting::new(upstream.address, &audit, directory.path()).start();
    let instance = audit.join("gateway-0");
    let (load, begun) = (Load::start(gateway.address, CLIENTS), Instant::now());
    let mut lengths = BTreeMap::new();
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(50 + 7 * round as u64)).await;
        let newest = segments(&instance).pop().unwrap();
        let name = aside.join(newest.file_name().unwrap());
        lengths.insert(name.clone(), remove(&newest, &name));
        // It goes on in another file, by itself.
        while segments(&instance).last().is_none_or(|next| *next <= newest) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not go on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let got = load.end().await;
    gateway.end();
    let refused = got.values().filter(|ended| matches!(ended, Ended::Stopped(_))).count();
    println!("{ROUNDS} removals, {} calls, {refused} refused meanwhile", got.len());

    // Of what was removed only what was acknowledged before counts: all else was refused.
    let mut all: BTreeMap<_, Logged> = logged(&audit);
    for (name, length) in lengths {
        OpenOptions::new().write(true).open(name).unwrap().set_len(length).unwrap();
    }
    let removed = directory.path().join("removed");
    fs::create_dir_all(&removed).unwrap();
    fs::rename(&aside, removed.join("gateway-0")).unwrap();
    let seen = upstream.seen();
    let refused = Ended::Stopped("AUDIT_UNAVAILABLE".to_owned());
    for (project, gone) in logged_of_removed(&removed) {
        // Its intent was written and not acknowledged: it stands for nothing, and its refusal may be one of a count.
        if got.get(&project) == Some(&refused) && !seen.contains(&project) {
            continue;
        }
        let of = all.entry(project).or_default();
        of.intents = of.intents.max(gone.intents);
        if of.ends.is_empty() {
            of.ends = gone.ends;
        }
    }
    let found = violations(&seen, &got, &all);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found[..found.len().min(20)].join("\n"));
    assert!(seen.len() > 10 * ROUNDS);
}

/// One file at a time: each says that those before it do not count, as they are gone.
fn logged_of_removed(removed: &Path) -> Vec<(uuid::Uuid, Logged)> {
    let files = segments(&removed.join("gateway-0"));
    let mut all = Vec::new();
    for file in files {
        let alone = removed.join(file.file_stem().unwrap());
        fs::create_dir_all(alone.join("gateway-0")).unwrap();
        fs::rename(&file, alone.join("gateway-0").join(file.file_name().unwrap())).unwrap();
        all.extend(logged(&alone));
    }
    all
}
