//! `kill -9` and power cuts at random times, under load.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use uuid::Uuid;

use super::{
    disk::Disk,
    gateway::{Gateway, Setting},
    joined::{logged, segments, verified, violations},
    load::{CLIENTS, Ended, Load, Upstream},
};
use crate::{ALONE, rounds};

/// Calls that upstream sees in one round, at most.
const MOST: usize = 80;
const PATIENCE: Duration = Duration::from_secs(10);

/// What all rounds came to.
#[derive(Debug, Default)]
struct Sum {
    got: BTreeMap<Uuid, Ended>,
}

/// One process under load, until `fail` ends it in the middle.
async fn round(setting: &Setting, upstream: &Upstream, sum: &mut Sum, fail: impl FnOnce(&Gateway)) {
    let gateway = setting.start();
    let chance = Uuid::new_v4().as_bytes().to_owned();
    let (due, begun) = (upstream.seen().len() + 1 + usize::from(chance[0]) % MOST, Instant::now());
    let load = Load::start(gateway.address, CLIENTS);
    while upstream.seen().len() < due {
        assert!(begun.elapsed() < PATIENCE, "no load");
        tokio::time::sleep(Duration::from_micros(u64::from(chance[1]) * 10)).await;
    }
    fail(&gateway);
    gateway.kill();
    sum.got.extend(load.end().await);
}

fn judge(name: &str, count: usize, upstream: &Upstream, audit: &Path, sum: &Sum, begun: Instant) {
    let (seen, logged) = (upstream.seen(), logged(audit));
    let recovered = logged.values().filter(|call| call.ends.iter().any(|end| end == "recovered")).count();
    let made = sum.got.values().filter(|ended| **ended == Ended::Made).count();
    println!(
        "{count} {name} in {:.1?}: {} calls, upstream saw {}, {made} were answered with an object, {} intents, {recovered} recovered",
        begun.elapsed(),
        sum.got.len(),
        seen.len(),
        logged.values().filter(|call| call.intents > 0).count(),
    );
    let found = violations(&seen, &sum.got, &logged);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found[..found.len().min(20)].join("\n"));
    assert_eq!(verified(audit).open, 0);
    assert!(seen.len() > 10 * count, "upstream saw only {}", seen.len());
    assert!(recovered > 0, "no crash left a call open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_leaves_no_effect_without_intent_and_no_answer_without_outcome() {
    let _alone = ALONE.lock().await;
    let (count, _) = rounds();
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let upstream = Upstream::start().await;
    let setting = Setting::new(upstream.address, &audit, directory.path());
    let (mut sum, begun) = (Sum::default(), Instant::now());
    for _ in 0..count {
        round(&setting, &upstream, &mut sum, |_| {}).await;
    }
    // What the last one left open is closed at the next start.
    setting.start().end();
    judge("kills", count, &upstream, &audit, &sum, begun);
}

/// What nobody was told is on stable storage may be gone, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_leaves_no_effect_without_intent_and_no_answer_without_outcome() {
    let _alone = ALONE.lock().await;
    let (_, count) = rounds();
    let directory = TempDir::new().unwrap();
    let Some(mut disk) = Disk::ext4(directory.path()) else { return };
    let audit = disk.path().join("audit");
    let upstream = Upstream::start().await;
    let setting = Setting::new(upstream.address, &audit, directory.path());
    let (mut sum, begun) = (Sum::default(), Instant::now());
    for _ in 0..count {
        // With its power a machine loses whoever could say that something has reached its disk.
        let cut = |gateway: &Gateway| {
            gateway.freeze();
            disk.cut_power();
        };
        round(&setting, &upstream, &mut sum, cut).await;
        disk.remount();
    }
    setting.start().end();
    judge("power cuts", count, &upstream, &audit, &sum, begun);
}

/// Serving within a second with a gigabyte of log, of which one segment is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_reads_the_end_of_a_log_and_not_all_of_it() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let upstream = Upstream::start().await;
    let setting = Setting::new(upstream.address, &audit, directory.path());
    let gateway = setting.start();
    let load = Load::start(gateway.address, CLIENTS);
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.kill();
    load.end().await;
    // Closed segments are opened by nobody: with one that cannot be read it starts all the same.
    setting.start().kill();
    let first = segments(&audit.join("gateway-0")).remove(0);
    fs::write(&first, "no record").unwrap();
    let gateway = setting.start();
    println!("serving after {:?}", gateway.began_in);
    gateway.end();
}
