//! Disks that are full, that fail a sync, and that hang: closed within 2 s with nothing sent upstream, and open again
//! within 2 s of the repair, by itself (promise P5).

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use uuid::Uuid;

use super::{
    disk::Disk,
    gateway::Setting,
    joined::{logged, records, segments, verified, violations},
    load::{CLIENTS, Ended, Load, Upstream, caller, create},
};
use crate::ALONE;

/// P5
const SOON: Duration = Duration::from_secs(2);

/// As a grandchild, so that the child is the gateway, and ends as it does.
fn under_strace(inject: &str) -> Vec<String> {
    let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject];
    words.map(str::to_owned).to_vec()
}

fn unavailable() -> Ended {
    Ended::Stopped("AUDIT_UNAVAILABLE".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_closes_it_and_room_opens_it_again() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let Some(disk) = Disk::tmpfs(directory.path(), 24 << 20) else { return };
    let (audit, ballast) = (disk.path().join("audit"), disk.path().join("ballast"));
    let upstream = Upstream::start().await;
    let gateway = Setting::new(upstream.address, &audit, directory.path()).start();
    let load = Load::start(gateway.address, CLIENTS);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Whatever is left, while calls are under way: their ends have their room all the same.
    let filled = fs::write(&ballast, vec![0; 32 << 20]);
    assert!(filled.is_err(), "the disk is not full");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut got = load.end().await;

    let caller = caller();
    // What was kept for the ends of 64 calls is more than they took: that is used first.
    let (begun, mut in_a_row) = (Instant::now(), 0);
    while in_a_row < 20 {
        let is_refused = create(&caller, gateway.address, Uuid::new_v4()).await == unavailable();
        in_a_row = if is_refused { in_a_row + 1 } else { 0 };
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not closed");
        tokio::time::sleep(Duration::from_millis(if is_refused { 20 } else { 0 })).await;
    }
    for _ in 0..5 {
        let (project, begun) = (Uuid::new_v4(), Instant::now());
        assert_eq!(create(&caller, gateway.address, project).await, unavailable());
        assert!(begun.elapsed() < SOON);
        assert!(!upstream.seen().contains(&project), "something of it went upstream");
    }
    fs::remove_file(&ballast).unwrap();
    let begun = Instant::now();
    while create(&caller, gateway.address, Uuid::new_v4()).await == unavailable() {
        assert!(begun.elapsed() < SOON, "not open again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("full: open again after {:?}", begun.elapsed());
    gateway.end();
    let not_recorded = Ended::Stopped("OUTCOME_NOT_RECORDED".to_owned());
    assert!(!got.values().any(|ended| *ended == not_recorded), "the room for an end was not kept");
    got.retain(|_, ended| *ended != unavailable());
    let found = violations(&upstream.seen(), &got, &logged(&audit));
    assert!(found.is_empty(), "{}", found.join("\n"));
    verified(&audit);
    assert!(records(&audit.join("gateway-0")).iter().any(|record| record["unmapped"]["stage"] == "gap"));
}

/// The n-th sync fails, as a disk does once and then says that all is well: nothing of that file is trusted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_failed_a_sync_is_never_trusted_again() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let upstream = Upstream::start().await;
    let mut setting = Setting::new(upstream.address, &audit, directory.path());
    let inject = "inject=fdatasync:error=EIO:when=40+97";
    setting.under = under_strace(inject);
    let gateway = setting.start();
    let load = Load::start(gateway.address, CLIENTS);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let got = load.end().await;
    gateway.end();
    let refused = got.values().filter(|ended| **ended == unavailable()).count();
    let made = got.values().filter(|ended| **ended == Ended::Made).count();
    let records = records(&audit.join("gateway-0"));
    let segments = records.iter().filter(|record| record["unmapped"]["stage"] == "segment");
    println!("failed syncs: {made} made, {refused} refused, {} segments", segments.clone().count());
    assert!(refused > 0 && made > 0 && segments.count() > 1);
    let found = violations(&upstream.seen(), &got, &logged(&audit));
    assert!(found.is_empty(), "{}", found.join("\n"));
    verified(&audit);
}

/// One sync takes half a minute: no call waits for longer than 2 s for the log, and when it is over all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_closes_it_in_time() {
    const HANGS: Duration = Duration::from_secs(30);
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let upstream = Upstream::start().await;
    let mut setting = Setting::new(upstream.address, &audit, directory.path());
    setting.under = under_strace(&format!("inject=fdatasync:delay_enter={}:when=60", HANGS.as_micros()));
    let gateway = setting.start();
    let load = Load::start(gateway.address, CLIENTS);
    let caller = caller();
    let (mut longest, mut closed) = (Duration::ZERO, None);
    let again = loop {
        let (project, asked) = (Uuid::new_v4(), Instant::now());
        let ended = create(&caller, gateway.address, project).await;
        longest = longest.max(asked.elapsed());
        if ended == unavailable() {
            assert!(!upstream.seen().contains(&project), "something of it went upstream");
            // This one has waited for as long as the disk has hung, or not as long.
            closed.get_or_insert(asked);
        }
        match closed {
            Some(closed) if ended == Ended::Made => break closed.elapsed(),
            Some(closed) => assert!(closed.elapsed() < HANGS + SOON, "not open again"),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let got = load.end().await;
    gateway.end();
    println!(
        "hung: the longest call took {longest:?}, open again {again:?} after the first one that found it hung"
    );
    // An intent and an end, each at most 2 s.
    assert!(longest < 2 * SOON + Duration::from_millis(500), "{longest:?}");
    assert!(again > HANGS - 2 * SOON, "{again:?}");
    let found = violations(&upstream.seen(), &got, &logged(&audit));
    assert!(found.is_empty(), "{}", found.join("\n"));
    verified(&audit);
}

/// What an operator, or somebody who hides, does to the file that is written.
type Harm = fn(&Path, &Path);

const HARMS: [(&str, Harm); 7] = [
    ("rm", |file, _| fs::remove_file(file).unwrap()),
    ("mv", |file, elsewhere| fs::rename(file, elsewhere).unwrap()),
    ("swap", |file, elsewhere| {
        fs::copy(file, elsewhere).unwrap();
        fs::rename(elsewhere, file).unwrap();
    }),
    ("truncate", |file, _| OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()),
    ("chmod", |file, _| fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap()),
    ("symlink", |file, elsewhere| {
        fs::rename(file, elsewhere).unwrap();
        symlink(elsewhere, file).unwrap();
    }),
    ("link", |file, elsewhere| fs::hard_link(file, elsewhere).unwrap()),
];

/// A call behind it is refused with nothing sent, or its intent is where a reader finds it; within 2 s calls pass again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_to_the_file_no_call_behind_it_is_sent_without_intent() {
    let _alone = ALONE.lock().await;
    let upstream = Upstream::start().await;
    let caller = caller();
    for (harm, do_it) in HARMS {
        let directory = TempDir::new().unwrap();
        let audit = directory.path().join("audit");
        let gateway = Setting::new(upstream.address, &audit, directory.path()).start();
        let mut refused = 0;
        // The writer looks by itself, too: of some tries one is before it.
        for round in 0..4 {
            assert_ne!(create(&caller, gateway.address, Uuid::new_v4()).await, unavailable(), "{harm}");
            let newest = segments(&audit.join("gateway-0")).pop().unwrap();
            do_it(&newest, &directory.path().join(round.to_string()));
            let begun = Instant::now();
            let project = loop {
                let project = Uuid::new_v4();
                if create(&caller, gateway.address, project).await != unavailable() {
                    break project;
                }
                refused += 1;
                assert!(!upstream.seen().contains(&project), "{harm}: something of it went upstream");
                assert!(begun.elapsed() < SOON, "{harm}: not open again");
            };
            assert_eq!(logged(&audit)[&project].intents, 1, "{harm}");
        }
        assert!(refused > 0, "{harm}: nothing was refused");
        gateway.end();
    }
}
