//! What a server that works makes of demands.

use std::{num::NonZeroU32, time::Duration};

use prebuild_gateway::{
    limit::{Bucket, By, Decision, Demand, Shared, Taken},
    rpc::Class,
    rule::Rate,
    store::Store,
    telemetry::Metrics,
};

use super::{
    load::{count, demand, demand as demand_of, passed},
    server::Server,
};
use crate::ALONE;

/// Fills a thousand times a second: what begins empty is full soon.
fn quick() -> Rate {
    Rate::per_second(count(1000), count(10))
}

/// Fills by nothing while a test looks.
fn slow(burst: u32) -> Rate {
    Rate { calls: NonZeroU32::MIN, per: Duration::from_secs(3600), burst: count(burst) }
}

async fn replica(server: &Server) -> Shared {
    let metrics = Metrics::new();
    let store = Store::open(server.resolved(), metrics.clone());
    while store.trouble().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Shared::new(store, count(1), [], metrics)
}

/// By the store.
async fn take(shared: &Shared, demands: &[Demand]) -> Decision {
    let decision = shared.take(Class::Mutate, demands).await;
    assert_ne!(decision.by, By::Local);
    decision
}

/// An org that is known for longer than any of these buckets takes to fill.
async fn make_old(server: &Server, shared: &Shared, org: &str) {
    take(shared, &[demand(org, "rates.org.all", quick(), 1)]).await;
    let key = format!("prebuild-gateway:{{{org}}}:rates");
    server.tell(&["HSET", &key, "#birth", "0"]);
}

#[tokio::test]
async fn a_new_org_begins_without_a_burst_and_fills() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    let first = take(&shared, &[demand("acme", "rates.org.all", slow(10), 1)]).await;
    let [Taken::Refused { wait, full_in }] = first.taken[..] else { panic!("{first:?}") };
    assert_eq!((wait, full_in), (Duration::from_secs(3600), Duration::from_secs(36_000)));
    // Ten milliseconds for all of its burst.
    take(&shared, &[demand("globex", "rates.org.all", quick(), 1)]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let full = take(&shared, &[demand("globex", "rates.org.all", quick(), 1)]).await;
    let expected = Taken::Passed { left: 9, full_in: Duration::from_millis(1) };
    assert_eq!(full.taken, [expected]);
}

#[tokio::test]
async fn in_force_is_all_or_nothing_and_others_are_beside() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    let beside = Demand { in_force: false, ..demand("acme", "rates.org.read", slow(5), 1) };
    let demands = [demand("acme", "a", slow(2), 1), demand("acme", "b", slow(1), 1), beside];
    let left = |decision: &Decision| {
        decision
            .taken
            .iter()
            .map(|taken| match taken {
                Taken::Passed { left, .. } => i64::from(*left),
                Taken::Refused { .. } => -1,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(left(&take(&shared, &demands).await), [1, 0, 4]);
    // `b` has none: `a` keeps its own, and so does what is beside.
    assert_eq!(left(&take(&shared, &demands).await), [1, -1, 4]);
    assert_eq!(left(&take(&shared, &demands[..1]).await), [0]);
    // One that is used up beside refuses nobody.
    for _ in 0..4 {
        take(&shared, &demands[2..]).await;
    }
    let other = [demand("acme", "c", slow(9), 1), demands[2].clone()];
    assert_eq!(left(&take(&shared, &other).await), [8, -1]);
}

#[tokio::test]
async fn costs_subjects_orgs_and_candidates_are_kept_apart() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    make_old(&server, &shared, "globex").await;
    let demand = |org, subject: Option<&str>, candidate| {
        let bucket =
            Bucket { subject: subject.map(Into::into), candidate, ..demand(org, "r", slow(5), 5).bucket };
        Demand { bucket, ..demand_of(org, "r", slow(5), 5) }
    };
    for each in [
        demand("acme", None, false),
        demand("acme", None, true),
        demand("acme", Some("ada"), false),
        demand("acme", Some("ada:{x}"), false),
        demand("globex", None, false),
    ] {
        assert!(passed(&take(&shared, std::slice::from_ref(&each)).await), "{each:?}");
        assert!(!passed(&take(&shared, &[each]).await));
    }
    // More than the whole burst never passes.
    let huge = demand_of("acme", "huge", slow(5), 6);
    assert!(!passed(&take(&shared, &[huge]).await));
}

#[tokio::test]
async fn a_clock_that_is_set_back_changes_nothing() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    let demands = [demand("acme", "r", slow(3), 1)];
    for _ in 0..3 {
        assert!(passed(&take(&shared, &demands).await));
    }
    let key = "prebuild-gateway:{acme}:rates";
    // The server's clock is an hour back, and then where it was: as seen from what it saw last.
    for ahead in [3_600_000_000_i64, -3_600_000_000] {
        let before = full_in(&take(&shared, &demands).await);
        let seen: i64 = server.ask(&["HGET", key, "#seen"]).unwrap();
        if ahead > 0 {
            server.tell(&["HSET", key, "#seen", &(seen + ahead).to_string()]);
            server.tell(&["HINCRBY", key, "#behind", &ahead.to_string()]);
        }
        let after = full_in(&take(&shared, &demands).await);
        assert!(after <= before && before - after < Duration::from_secs(5), "{before:?} {after:?}");
    }
}

#[tokio::test]
async fn another_server_that_knows_the_org_gives_no_burst() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    let demands = [demand("acme", "r", slow(3), 1)];
    assert!(passed(&take(&shared, &demands).await));
    // A replica that took over, or a restart with data of some seconds ago.
    server.tell(&["HSET", "prebuild-gateway:{acme}:rates", "#server", "other"]);
    assert!(!passed(&take(&shared, &demands).await));
}

#[tokio::test]
async fn full_buckets_are_forgotten_and_orgs_too() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&["--hash-max-listpack-entries", "16"]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    for subject in 0..600 {
        let subject = format!("subject-{subject}");
        let mut demand = demand("acme", "r", quick(), 1);
        demand.bucket.subject = Some(subject.as_str().into());
        take(&shared, &[demand]).await;
    }
    let key = "prebuild-gateway:{acme}:rates";
    let fields: usize = server.ask(&["HLEN", key]).unwrap();
    assert!(fields < 200, "{fields}");
    let ttl: u64 = server.ask(&["TTL", key]).unwrap();
    assert!((7 * 24 * 3600 - 60..=7 * 24 * 3600).contains(&ttl), "{ttl}");
}

async fn a_rate_that_comes_back_brings_no_burst(server: &Server, shared: &Shared) {
    make_old(server, shared, "initech").await;
    for subject in [None, Some("ada:{x}")] {
        let rated = |burst| {
            let mut demand = demand("initech", "r", slow(burst), 1);
            demand.bucket.subject = subject.map(Into::into);
            demand
        };
        let [live, changed] = [rated(3), rated(4)];
        assert!(is_let(shared, &live).await);
        assert!(!is_let(shared, &changed).await, "no burst");
        // Four hours later all are full.
        let key = "prebuild-gateway:{initech}:rates";
        server.tell(&["HINCRBY", key, "#behind", "-14400000000"]);
        for _ in 0..4 {
            assert!(is_let(shared, &changed).await);
        }
        assert!(!is_let(shared, &changed).await);
        assert!(!is_let(shared, &live).await, "what passed meanwhile is gone of it too");
        server.tell(&["HINCRBY", key, "#behind", "-7200000000"]);
        assert!(is_let(shared, &live).await && is_let(shared, &live).await && !is_let(shared, &live).await);
    }
}

/// Of the only demand.
async fn is_let(shared: &Shared, demand: &Demand) -> bool {
    passed(&take(shared, std::slice::from_ref(demand)).await)
}

/// As in the memory of one process: what is only looked at never takes of the bucket in force, and a rate that takes the
/// place of another brings no burst.
#[tokio::test]
async fn a_shadow_and_a_changed_rate_are_other_buckets() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    let live = demand("acme", "r", slow(2), 1);
    let shadow = Demand { in_force: false, ..live.clone() };
    assert!(is_let(&shared, &shadow).await && is_let(&shared, &shadow).await);
    assert!(!is_let(&shared, &shadow).await);
    assert!(is_let(&shared, &live).await, "it has its own");
    let changed = demand("acme", "r", slow(5), 1);
    assert!(!is_let(&shared, &changed).await, "no burst");
    assert!(is_let(&shared, &live).await && !is_let(&shared, &live).await, "where it was");
    a_rate_that_comes_back_brings_no_burst(&server, &shared).await;
    // Nobody's rate has changed but this one's.
    assert!(is_let(&shared, &demand("acme", "other", slow(5), 1)).await);
    // A row of changes, and back to the first: forgotten, it begins as empty as any other.
    for burst in 10..20 {
        assert!(!is_let(&shared, &demand("acme", "r", slow(burst), 1)).await);
    }
    assert!(!is_let(&shared, &live).await);
}

fn on(level: u8, is_partial: bool, mut demand: Demand) -> Demand {
    demand.bucket.level = level;
    Demand { is_partial, ..demand }
}

/// An org's own entry takes the place of the common one, and that one its again.
#[tokio::test]
async fn a_rate_that_moves_to_another_level_brings_no_burst() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    for subject in [None, Some("ci")] {
        let at = |level, rate| {
            let mut demand = on(level, false, demand("acme", "r", rate, 1));
            demand.bucket.subject = subject.map(Into::into);
            demand
        };
        let (common, own, same) = (at(1, slow(2)), at(2, slow(3)), at(2, slow(2)));
        assert!(is_let(&shared, &common).await && is_let(&shared, &common).await);
        assert!(!is_let(&shared, &common).await);
        assert!(!is_let(&shared, &own).await && !is_let(&shared, &same).await, "{subject:?}");
        assert!(!is_let(&shared, &common).await, "nor on the way back");
        // After as long as one call takes there is one, whatever it is asked by.
        server.tell(&["HINCRBY", "prebuild-gateway:{acme}:rates", "#behind", "-3600000000"]);
        assert!(is_let(&shared, &own).await && !is_let(&shared, &own).await, "{subject:?}");
        assert!(!is_let(&shared, &common).await, "{subject:?}");
    }
    // Nobody had anything of this one.
    let other = on(2, false, demand("acme", "other", slow(2), 1));
    assert!(is_let(&shared, &other).await && is_let(&shared, &other).await);
}

/// An entry for a share of the calls stands beside the common one, and drains none but with its own calls.
#[tokio::test]
async fn an_entry_for_a_share_of_the_calls_is_apart_from_the_common_one() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    let common = on(1, false, demand("acme", "r", slow(3), 1));
    let part = on(2, true, demand("acme", "r", slow(2), 1));
    let outside = Demand { in_force: false, ..part.clone() };
    let passes = async |demands: [&Demand; 2]| {
        let decision = take(&shared, &demands.map(Clone::clone)).await;
        decision.taken.iter().zip(demands).all(|(taken, demand)| !demand.in_force || !taken.is_refused())
    };
    assert!(passes([&outside, &common]).await);
    assert!(passes([&part, &common]).await && passes([&part, &common]).await);
    assert!(!passes([&part, &common]).await && !passes([&outside, &common]).await);
}

/// However many subjects have entries of their own, with as many rates: no list of them is too long.
#[tokio::test]
async fn subjects_with_rates_of_their_own_are_as_many_as_there_are() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    for _ in 0..2 {
        for subject in 1..=12 {
            let mut own = on(3, false, demand("acme", "r", slow(subject + 1), 1));
            own.bucket.subject = Some(format!("s{subject}").as_str().into());
            assert!(is_let(&shared, &own).await, "{subject}");
        }
    }
}

#[tokio::test]
async fn made_up_subjects_are_bounded_and_take_no_bucket_of_their_org() {
    const MOST: usize = 20_000;
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server).await;
    make_old(&server, &shared, "acme").await;
    let own = demand("acme", "rates.org.mutate", slow(2), 1);
    assert!(is_let(&shared, &own).await && is_let(&shared, &own).await);
    let key = "prebuild-gateway:{acme}:rates";
    let fill = "local at = redis.call('TIME')[1] * 1000000 + 3600000000 \
                for i = 1, 20000 do redis.call('HSET', KEYS[1], 'ufl:r:1/1/1:' .. i, string.format('%.0f', at)) end";
    server.tell(&["EVAL", fill, "1", key]);
    let mut longest = 0;
    for index in 0..300 {
        let subject = format!("made-up-{index}");
        for in_force in [true, false] {
            let mut each = Demand { in_force, ..demand("acme", "r", slow(2), 1) };
            each.bucket.subject = Some(subject.as_str().into());
            assert!(is_let(&shared, &each).await);
        }
        longest = longest.max(server.ask::<usize>(&["HLEN", key]).unwrap());
    }
    assert!((MOST - 100..=MOST + 20).contains(&longest), "{longest}");
    assert!(!is_let(&shared, &own).await, "its own are where they were");
}

fn full_in(decision: &Decision) -> Duration {
    match decision.taken[..] {
        [Taken::Passed { full_in, .. } | Taken::Refused { full_in, .. }] => full_in,
        _ => panic!("{decision:?}"),
    }
}
