//! The server fails in every way there is, under load: how long decisions take, what passes meanwhile, and after.

use std::time::{Duration, Instant};

use prebuild_gateway::{limit::By, rule::Rate, store::Store};

use super::{
    load::{Call, REPLICAS, Replicas, count, demand, excess},
    server::Server,
};
use crate::ALONE;

const RATE: u32 = 400;
const BURST: u32 = 100;
const HEALTHY: Duration = Duration::from_millis(600);
const BROKEN: Duration = Duration::from_millis(1500);
/// What a busy machine may add to a decision.
const SLACK: Duration = Duration::from_millis(40);
/// Calls over the limit, in seconds of it: a call's time is known to within what it took, and replicas do not see it at
/// the same moment that the server is there or is not. Far less than a second burst.
const BLURRED: f64 = 0.1;

/// How the server fails, and is mended.
struct Fault {
    name: &'static str,
    breaks: fn(&mut Server),
    mends: fn(&mut Server),
    /// Nobody has to do without the server.
    stays: bool,
}

const FAULTS: [Fault; 8] = [
    Fault {
        name: "killed (kill -9), restarted empty",
        breaks: Server::kill,
        mends: Server::restart,
        stays: false,
    },
    Fault {
        name: "paused (SIGSTOP)",
        breaks: |server| server.signal("STOP"),
        mends: |server| server.signal("CONT"),
        stays: false,
    },
    Fault {
        name: "read-only (REPLICAOF)",
        breaks: |server| server.tell(&["REPLICAOF", "127.0.0.1", "1"]),
        mends: |server| server.tell(&["REPLICAOF", "NO", "ONE"]),
        stays: false,
    },
    Fault {
        name: "too few replicas (min-replicas-to-write)",
        breaks: |server| server.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
        mends: |server| server.tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
        stays: false,
    },
    Fault {
        name: "full (maxmemory, noeviction)",
        breaks: |server| server.tell(&["CONFIG", "SET", "maxmemory", "1"]),
        mends: |server| server.tell(&["CONFIG", "SET", "maxmemory", "0"]),
        stays: false,
    },
    Fault {
        name: "slow (answers after 1.5 s)",
        breaks: |server| server.tell(&["CLIENT", "PAUSE", "1500", "ALL"]),
        mends: |_| {},
        stays: false,
    },
    Fault {
        name: "emptied (FLUSHALL)",
        breaks: |server| server.tell(&["FLUSHALL"]),
        mends: |_| {},
        stays: true,
    },
    Fault {
        name: "org evicted (DEL)",
        breaks: |server| server.tell(&["DEL", "prebuild-gateway:{acme}:rates"]),
        mends: |_| {},
        stays: true,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_fault_lets_more_pass_or_takes_longer() {
    let _alone = ALONE.lock().await;
    println!("limit {RATE}/s, burst {BURST}, {REPLICAS} replicas\n");
    println!(
        "| fault | decision, median | 99 % | longest | passed while broken, of the limit | over the limit | back after |"
    );
    println!("|---|---|---|---|---|---|---|");
    for fault in &FAULTS {
        run(fault).await;
    }
}

async fn run(fault: &Fault) {
    let mut server = Server::start(&[]);
    let replicas = Replicas::start(&server.resolved()).await;
    let demands = [demand("acme", "rates.org.all", Rate::per_second(count(RATE), count(BURST)), 1)];
    let begun = Instant::now();
    // The burst is saved up, and spent just before the fault, which must not bring a second one.
    let mut calls = replicas.hammer(&demands, Duration::from_millis(50)).await;
    tokio::time::sleep(Duration::from_secs(u64::from(BURST)).div_f64(f64::from(RATE))).await;
    calls.extend(replicas.hammer(&demands, HEALTHY).await);

    (fault.breaks)(&mut server);
    let broken = replicas.hammer(&demands, BROKEN).await;
    (fault.mends)(&mut server);
    let mended = Instant::now();
    replicas.await_up().await;
    let back = mended.elapsed();
    let after = replicas.hammer(&demands, HEALTHY).await;

    let (median, most, longest) = times(&broken);
    let passed = broken.iter().filter(|call| call.passed).count();
    let share = passed as f64 / (f64::from(RATE) * BROKEN.as_secs_f64());
    report_alone(fault, &broken);
    let all_shared = after.iter().rev().take(50).all(|call| matches!(call.by, By::Store { .. }));
    calls.extend(broken.iter().chain(&after));
    let over = excess(passes(&calls, begun), f64::from(RATE), f64::from(BURST));
    println!(
        "| {} | {median:.2?} | {most:.2?} | {longest:.1?} | {:.0} % | {} | {back:.0?} |",
        fault.name,
        share * 100.0,
        if over > 0.0 { format!("{over:.1} calls") } else { "0".to_owned() },
    );
    assert!(longest <= Store::PATIENCE + SLACK, "{}: {longest:?}", fault.name);
    assert!(all_shared, "{}: not back", fault.name);
    let slack = f64::from(RATE) * BLURRED;
    assert!(over <= slack, "{}: {over} over", fault.name);
    let expected = begun.elapsed().as_secs_f64() * f64::from(RATE) + f64::from(BURST);
    assert!((calls.iter().filter(|call| call.passed).count() as f64) <= expected, "{}", fault.name);
}

/// Alone, no replica lets more pass than its part, and begins without a burst.
fn report_alone(fault: &Fault, broken: &[Call]) {
    let (rate, burst) = (f64::from(RATE / REPLICAS), f64::from(BURST / REPLICAS));
    for replica in 0..REPLICAS as usize {
        let alone = broken.iter().filter(|call| call.replica == replica && call.by == By::Local);
        let alone: Vec<Call> = alone.copied().collect();
        if fault.stays {
            continue;
        }
        let first = alone.iter().map(|call| call.sent).min().unwrap();
        let over = excess(passes(&alone, first), rate, burst);
        // To within the time that calls took.
        assert!(over <= rate * 0.06, "{}: replica {replica} {over} over its part", fault.name);
        let early =
            alone.iter().filter(|call| call.passed && call.sent < first + Duration::from_millis(100)).count();
        let part = rate * (0.1 + (Store::PATIENCE + SLACK).as_secs_f64());
        assert!(early as f64 <= part, "{}: replica {replica} began with {early}", fault.name);
    }
}

fn passes(calls: &[Call], begun: Instant) -> Vec<(Duration, u32)> {
    let passed = calls.iter().filter(|call| call.passed);
    passed.map(|call| (call.sent + call.took - begun, call.cost)).collect()
}

fn times(calls: &[Call]) -> (Duration, Duration, Duration) {
    let mut times: Vec<_> = calls.iter().map(|call| call.took).collect();
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1000];
    (at(500), at(990), at(1000))
}
