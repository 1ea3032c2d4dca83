//! Replicas that were without the server for a while, and are back: what they gave out is gone, and no more than that.

use std::time::{Duration, Instant};

use prebuild_gateway::{
    limit::{By, Decision, Demand, Shared, Taken},
    rpc::Class,
    rule::Rate,
    store::Store,
    telemetry::Metrics,
};

use super::{
    load::{Replicas, count, demand, excess, passed},
    server::{Server, resolve},
};
use crate::ALONE;

const KEY: &str = "prebuild-gateway:{acme}:rates";
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(1);

/// A replica with a user of its own, that the server may turn away while it serves all others.
struct Replica {
    user: &'static str,
    store: Store,
    shared: Shared,
}

impl Replica {
    async fn start(server: &Server, user: &'static str) -> Self {
        server.tell(&["ACL", "SETUSER", user, "on", ">secret", "~*", "+@all"]);
        let section =
            format!("url = \"{}\"\nusername = \"{user}\"\npassword = {{ env = \"P\" }}", server.url());
        let metrics = Metrics::new();
        let store = Store::open(resolve(&section, Some("secret")), metrics.clone());
        let replica = Self { user, store: store.clone(), shared: Shared::new(store, count(2), [], metrics) };
        replica.await_up().await;
        replica
    }

    async fn await_up(&self) {
        let begun = Instant::now();
        while self.store.trouble().is_some() {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.store.trouble());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn turn_away(&self, server: &Server) {
        server.tell(&["ACL", "SETUSER", self.user, "off"]);
        server.tell(&["CLIENT", "KILL", "USER", self.user]);
        let begun = Instant::now();
        while self.store.trouble().is_none() {
            assert!(begun.elapsed() < PATIENCE, "still there");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn let_in(&self, server: &Server) {
        server.tell(&["ACL", "SETUSER", self.user, "on"]);
        self.await_up().await;
    }

    async fn take(&self, demand: &Demand) -> Decision {
        self.shared.take(Class::Mutate, std::slice::from_ref(demand)).await
    }

    async fn take_alone(&self, demand: &Demand) -> Decision {
        let decision = self.take(demand).await;
        assert_eq!(decision.by, By::Local);
        decision
    }

    async fn take_shared(&self, demand: &Demand) -> Decision {
        let decision = self.take(demand).await;
        assert_ne!(decision.by, By::Local);
        decision
    }
}

fn left(decision: &Decision) -> u32 {
    match decision.taken[..] {
        [Taken::Passed { left, .. }] => left,
        _ => 0,
    }
}

/// However long it was away, and whatever it did there, its org waits no longer than until its bucket is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_returns_locks_nobody_out() {
    const FILL: Duration = Duration::from_millis(200);
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let (one, other) = (Replica::start(&server, "one").await, Replica::start(&server, "other").await);
    let demand = demand("acme", "rates.org.all", Rate::per_second(count(50), count(10)), 1);
    for is_always_asked in [false, true] {
        one.take_shared(&demand).await;
        one.turn_away(&server).await;
        one.take_alone(&demand).await;
        let begun = Instant::now();
        while begun.elapsed() < FILL * 10 {
            other.take_shared(&demand).await;
            if is_always_asked {
                one.take_alone(&demand).await;
            }
            tokio::time::sleep(LOOK * 5).await;
        }
        one.let_in(&server).await;
        one.take_shared(&demand).await;
        // And a new rule with it.
        let new = super::load::demand("acme", "rates.org.read", demand.rate, 1);
        other.take_shared(&new).await;
        tokio::time::sleep(FILL).await;
        for each in [&demand, &new] {
            let now = other.take_shared(each).await;
            assert!(left(&now) >= 8, "asked always: {is_always_asked}: {now:?}");
        }
    }
}

/// What is not filled in the time without the server is what that time fills.
#[tokio::test]
async fn a_short_absence_costs_as_much() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let one = Replica::start(&server, "one").await;
    let demand = demand("acme", "rates.org.all", Rate::per_second(count(10), count(100)), 1);
    one.take_shared(&demand).await;
    server.tell(&["HSET", KEY, "#birth", "0"]);
    assert_eq!(left(&one.take_shared(&demand).await), 99);
    one.turn_away(&server).await;
    let begun = Instant::now();
    one.take_alone(&demand).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    one.take_alone(&demand).await;
    let most = u32::try_from(begun.elapsed().as_millis() / 100).unwrap() + 3;
    one.let_in(&server).await;
    let after = left(&one.take_shared(&demand).await);
    assert!((100 - most - 1..=95).contains(&after), "{after}, {most}");
}

/// All save up their parts while they are alone, spend them at the end, and then find a server with a full bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_an_outage_brings_no_second_burst() {
    const RATE: f64 = 50.0;
    const BURST: f64 = 100.0;
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let replicas = Replicas::start(&server.resolved()).await;
    let demand = demand("acme", "rates.org.all", Rate::per_second(count(50), count(100)), 1);
    replicas.each[0].take(Class::Mutate, std::slice::from_ref(&demand)).await;
    server.tell(&["HSET", KEY, "#birth", "0"]);
    server.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    for replica in &replicas.each {
        let begun = Instant::now();
        // The first to try finds out.
        while replica.take(Class::Mutate, std::slice::from_ref(&demand)).await.by != By::Local {
            assert!(begun.elapsed() < PATIENCE);
        }
    }
    tokio::time::sleep(Duration::from_secs_f64(BURST / RATE * 1.1)).await;
    let (begun, mut passes) = (Instant::now(), Vec::new());
    let mut spend = async || {
        for replica in &replicas.each {
            loop {
                let decision = replica.take(Class::Mutate, std::slice::from_ref(&demand)).await;
                if !passed(&decision) {
                    break;
                }
                passes.push((begun.elapsed(), 1));
            }
        }
    };
    spend().await;
    server.tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    replicas.await_up().await;
    spend().await;
    let alone = passes.iter().filter(|(at, _)| *at < Duration::from_millis(100)).count();
    assert!(alone as f64 >= 0.9 * BURST, "{alone} were saved up");
    let over = excess(passes, RATE, BURST);
    println!("{over:.1} over the limit after an outage");
    assert!(over <= RATE * 0.1, "{over} over");
}
