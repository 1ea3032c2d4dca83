//! Four replicas, one server: over every interval no more than the limit, by the server's own clock.

use std::time::{Duration, Instant};

use prebuild_gateway::{limit::By, rule::Rate};

use super::{
    load::{Replicas, count, demand, excess},
    server::Server,
};
use crate::ALONE;

/// Of all the time, and a pause after.
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_replicas_are_never_over() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let replicas = Replicas::start(&server.resolved()).await;
    let rate = Rate::per_second(count(300), count(60));
    let demands = [1, 5].map(|cost| demand("acme", "rates.org.all", rate, cost));
    let begun = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..ROUNDS {
        calls.extend(replicas.hammer(&demands, Duration::from_millis(900)).await);
        // A burst and a half is saved up, and there is to be but one.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let length = begun.elapsed();

    let shared = calls.iter().filter_map(|call| match call.by {
        By::Store { at } => Some((call, at)),
        By::Local => None,
    });
    let shared: Vec<_> = shared.collect();
    let passed: Vec<_> =
        shared.iter().filter(|(call, _)| call.passed).map(|(call, at)| (*at, call.cost)).collect();
    let spent: u32 = passed.iter().map(|(_, cost)| cost).sum();
    // The machine may be too busy for an answer in time now and then.
    assert!(shared.len() * 100 >= calls.len() * 99, "{} of {} by the store", shared.len(), calls.len());
    let over = excess(passed.iter().copied(), 300.0, 60.0);
    println!(
        "{} calls, {} passed, {spent} spent in {length:?}, {over:.3} over the limit",
        calls.len(),
        passed.len()
    );
    assert!(over <= 1e-3, "{over} over");
    // The worst interval is used up: short by no more than one of the calls that cost most.
    assert!(over > -5.5, "{over}");
}
