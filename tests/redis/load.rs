//! Replicas that ask for more than there is, and what they were given.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use prebuild_gateway::{
    limit::{Bucket, By, Decision, Demand, Shared, Taken},
    rpc::Class,
    rule::Rate,
    store::{self, Store},
    telemetry::Metrics,
};

pub(crate) const REPLICAS: u32 = 4;
/// Calls of one replica that ask at the same time.
const TASKS: usize = 4;
/// Between two calls of a task: many times what the limits let pass, and a machine that is not at its end.
const PACE: Duration = Duration::from_millis(2);

/// A call that passed, or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) replica: usize,
    pub(crate) sent: Instant,
    pub(crate) took: Duration,
    pub(crate) passed: bool,
    pub(crate) cost: u32,
    pub(crate) by: By,
}

pub(crate) struct Replicas {
    pub(crate) each: Vec<Arc<Shared>>,
    pub(crate) stores: Vec<Store>,
}

pub(crate) fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

pub(crate) fn demand(org: &str, rule: &str, rate: Rate, cost: u32) -> Demand {
    let bucket = Bucket { org: org.into(), subject: None, rule: rule.into(), candidate: false, level: 0 };
    Demand { bucket, rate, cost: count(cost), in_force: true, is_partial: false }
}

pub(crate) fn passed(decision: &Decision) -> bool {
    decision.taken.iter().all(|taken| matches!(taken, Taken::Passed { .. }))
}

impl Replicas {
    /// All of them with a good connection.
    pub(crate) async fn start(server: &store::Server) -> Self {
        let metrics = Metrics::new();
        let stores: Vec<_> = (0..REPLICAS).map(|_| Store::open(server.clone(), metrics.clone())).collect();
        let each = stores
            .iter()
            .map(|store| Arc::new(Shared::new(store.clone(), count(REPLICAS), [], metrics.clone())));
        let replicas = Self { each: each.collect(), stores };
        replicas.await_up().await;
        replicas
    }

    pub(crate) async fn await_up(&self) {
        let begun = Instant::now();
        while self.stores.iter().any(|store| store.trouble().is_some()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", self.stores[0].trouble());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// All ask all the time, for so long.
    pub(crate) async fn hammer(&self, demands: &[Demand], length: Duration) -> Vec<Call> {
        let until = Instant::now() + length;
        let tasks: Vec<_> = (0..self.each.len() * TASKS)
            .map(|task| {
                let replica = task % self.each.len();
                let shared = self.each[replica].clone();
                // Some ask for more than others.
                let demand = demands[task / self.each.len() % demands.len()].clone();
                tokio::spawn(async move { ask(replica, &shared, demand, until).await })
            })
            .collect();
        let mut calls = Vec::new();
        for task in tasks {
            calls.extend(task.await.unwrap());
        }
        calls
    }
}

async fn ask(replica: usize, shared: &Shared, demand: Demand, until: Instant) -> Vec<Call> {
    let mut calls = Vec::new();
    while Instant::now() < until {
        let sent = Instant::now();
        let decision = shared.take(Class::Mutate, std::slice::from_ref(&demand)).await;
        let (took, passed, cost) = (sent.elapsed(), passed(&decision), demand.cost.get());
        calls.push(Call { replica, sent, took, passed, cost, by: decision.by });
        tokio::time::sleep(PACE).await;
    }
    calls
}

/// By how much calls that passed at these times, of these costs, were over `burst + rate * t` on the worst interval; at or
/// below zero, they never were.
pub(crate) fn excess(passed: impl IntoIterator<Item = (Duration, u32)>, rate: f64, burst: f64) -> f64 {
    let mut passed: Vec<_> = passed.into_iter().collect();
    passed.sort_unstable();
    // From the call before which the interval begins best, to each call.
    let (mut before, mut best, mut worst) = (0.0_f64, f64::INFINITY, f64::NEG_INFINITY);
    for (at, cost) in passed {
        let filled = rate * at.as_secs_f64();
        best = best.min(before - filled);
        before += f64::from(cost);
        worst = worst.max(before - filled - best - burst);
    }
    worst
}
