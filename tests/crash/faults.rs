//! Disks that are full, that fail a sync, and that hang: closed within 2 s with nothing sent upstream, and open again
//! within 2 s of the repair, by itself (promise P5).

use std::{
    fs,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use uuid::Uuid;

use super::{
    disk::Disk,
    gateway::Setting,
    joined::{logged, records, violations},
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
}

/// Every sync from the 60th on takes 3 s: no call waits for longer than 2 s, and what was sent is told to be unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_closes_it_in_time() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let upstream = Upstream::start().await;
    let mut setting = Setting::new(upstream.address, &audit, directory.path());
    // Microseconds. Two such syncs are more than the health checks' patience.
    let inject = "inject=fdatasync:delay_enter=5000000:when=60..62";
    setting.under = under_strace(inject);
    let gateway = setting.start();
    let load = Load::start(gateway.address, CLIENTS);
    let (caller, begun) = (caller(), Instant::now());
    let mut longest = Duration::ZERO;
    let mut was_closed = false;
    // Until it has hung, and is open again.
    loop {
        let (project, asked) = (Uuid::new_v4(), Instant::now());
        let ended = create(&caller, gateway.address, project).await;
        longest = longest.max(asked.elapsed());
        if ended == unavailable() {
            assert!(!upstream.seen().contains(&project), "something of it went upstream");
        }
        was_closed |= ended == unavailable();
        if was_closed && ended == Ended::Made {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "not open again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let got = load.end().await;
    gateway.end();
    println!("hung: the longest call took {longest:?}, open again {:?} after the start", begun.elapsed());
    // An intent and an end, each at most 2 s.
    assert!(longest < 2 * SOON + Duration::from_millis(500), "{longest:?}");
    let found = violations(&upstream.seen(), &got, &logged(&audit));
    assert!(found.is_empty(), "{}", found.join("\n"));
}
