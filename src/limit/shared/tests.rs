//! What a replica does alone, and what it says to the store and hears from it. What the store does needs a real one:
//! `tests/redis.rs`.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use redis::Value;

use super::{script, strict::Strict};
use crate::{
    limit::{Bucket, Demand, Taken},
    rule::Rate,
};

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn demand(rule: &str, rate: Rate, cost: u32) -> Demand {
    let bucket = Bucket { org: "acme".into(), subject: None, rule: rule.into(), candidate: false };
    Demand { bucket, rate, cost: count(cost), in_force: true }
}

fn passes(taken: &[Taken]) -> bool {
    taken.iter().all(|taken| matches!(taken, Taken::Passed { .. }))
}

#[test]
fn alone_it_begins_without_a_burst_and_at_its_part_of_the_pace() {
    let (strict, begun) = (Strict::new(count(4)), Instant::now());
    // 10 a second: the part is one in 400 ms, and bursts of 2.
    let demands = [demand("r", Rate::per_second(count(10), count(8)), 1)];
    let take = |millis| strict.take(&"acme".into(), &demands, begun + Duration::from_millis(millis));
    let first = take(0);
    let [Taken::Refused { wait, full_in }] = first[..] else { panic!("{first:?}") };
    assert_eq!((wait, full_in), (Duration::from_millis(400), Duration::from_millis(800)));
    assert!(!passes(&take(399)) && passes(&take(400)) && !passes(&take(799)) && passes(&take(800)));
    assert!(passes(&take(9000)) && passes(&take(9000)) && !passes(&take(9000)));
}

#[test]
fn alone_a_call_that_costs_more_than_the_part_of_the_burst_passes_in_time() {
    let (strict, begun) = (Strict::new(count(10)), Instant::now());
    let rate = Rate { calls: count(6), per: Duration::from_secs(60), burst: count(5) };
    let take = |cost, seconds| {
        passes(&strict.take(&"acme".into(), &[demand("r", rate, cost)], begun + Duration::from_secs(seconds)))
    };
    // 100 s for each of 5.
    assert!(!take(5, 0) && !take(5, 499) && take(5, 500) && !take(5, 999) && take(5, 1000));
    assert!(!take(6, 1_000_000));
}

#[test]
fn alone_in_force_is_all_or_nothing_too() {
    let (strict, begun) = (Strict::new(count(1)), Instant::now());
    let rate = |burst| Rate::per_second(count(1), count(burst));
    let beside = Demand { in_force: false, ..demand("beside", rate(1), 1) };
    let demands = [demand("a", rate(2), 1), demand("b", rate(1), 1), beside.clone()];
    let take = |demands: &[Demand]| strict.take(&"acme".into(), demands, begun + Duration::from_secs(10));
    assert!(passes(&[]) && strict.take(&"acme".into(), &[], begun).is_empty());
    assert!(passes(&take(&demands)));
    let second = take(&demands);
    assert!(matches!(
        second[..],
        [Taken::Passed { left: 1, .. }, Taken::Refused { .. }, Taken::Refused { .. }]
    ));
    assert!(passes(&take(&demands[..1])) && !passes(&take(&demands[..1])));
}

#[test]
fn alone_too_what_is_looked_at_and_what_had_another_rate_is_another_bucket() {
    let (strict, begun) = (Strict::new(count(1)), Instant::now());
    let rate = |burst| Rate { calls: count(1), per: Duration::from_secs(10), burst: count(burst) };
    let take = |demand: &Demand, seconds| {
        let at = begun + Duration::from_secs(seconds);
        passes(&strict.take(&"acme".into(), std::slice::from_ref(demand), at))
    };
    let live = demand("r", rate(1), 1);
    let shadow = Demand { in_force: false, ..live.clone() };
    assert!(!take(&live, 0) && take(&live, 10) && !take(&live, 10));
    assert!(take(&shadow, 10) && !take(&shadow, 10), "a bucket of its own");
    assert!(take(&shadow, 20) && take(&live, 20), "which takes nothing of the one in force");
    let changed = demand("r", rate(3), 1);
    assert!(!take(&changed, 100) && take(&changed, 110) && !take(&changed, 110), "no burst");
    assert!(take(&live, 110) && !take(&live, 110), "changed back, it is where it was");
}

#[test]
fn the_store_hears_how_long_an_org_was_without_it() {
    let (strict, begun, org) = (Strict::new(count(2)), Instant::now(), "acme".into());
    let after = |seconds| begun + Duration::from_secs(seconds);
    let demands = [demand("r", Rate::per_second(count(1), count(1)), 1)];
    assert_eq!(strict.away(&org, after(1)), Duration::ZERO);
    strict.take(&org, &demands, after(2));
    assert_eq!(strict.away(&org, after(5)), Duration::from_secs(3));
    assert_eq!(strict.away(&"globex".into(), after(5)), Duration::ZERO);
    // A call that was sent before the last one was decided here: that one is still to be told.
    strict.take(&org, &demands, after(6));
    strict.back(&org, after(5));
    assert_eq!(strict.away(&org, after(7)), Duration::from_secs(2));
    strict.back(&org, after(7));
    assert_eq!(strict.away(&org, after(8)), Duration::ZERO);
    // And the next time it begins without a burst again.
    assert!(!passes(&strict.take(&org, &demands, after(100))));
}

#[test]
fn paces_are_rounded_up() {
    let rate = Rate { calls: count(3), per: Duration::from_secs(1), burst: count(10) };
    let arguments = script::arguments(&[demand("r", rate, 2)], Duration::from_millis(3));
    assert_eq!(
        arguments,
        [
            "3000",
            "604803333",
            "20000",
            "ofl:r:3/1000000000/10",
            "3333340",
            "666668",
            "1",
            "ofl:r",
            "3/1000000000/10"
        ]
    );
}

#[test]
fn what_is_no_answer_is_none() {
    let demands = [demand("r", Rate::per_second(count(1), count(1)), 1)];
    let (int, array) = (Value::Int, Value::Array);
    assert!(script::answer(&demands, &array(vec![int(5), int(1), int(0)])).is_some());
    for wrong in [
        Value::Nil,
        int(1),
        array(vec![]),
        array(vec![int(5)]),
        array(vec![int(5), int(1)]),
        array(vec![int(5), int(2), int(0)]),
        array(vec![int(5), int(1), int(-1)]),
        array(vec![int(5), int(1), int(0), int(1), int(0)]),
        array(vec![int(5), Value::Okay, int(0)]),
    ] {
        assert_eq!(script::answer(&demands, &wrong), None, "{wrong:?}");
    }
}

proptest! {
    /// Over every interval, of all replicas together: no more than the limit, where no call costs more than the part.
    #[test]
    fn all_replicas_alone_are_within_the_limit(
        calls in 1_u32..1000,
        part in 3_u32..20,
        replicas in 1_u32..6,
        asked in proptest::collection::vec((0_usize..6, 0_u64..50_000, 1_u32..4), 1..300),
    ) {
        let burst = part * replicas;
        let rate = Rate::per_second(count(calls), count(burst));
        let each: Vec<_> = (0..replicas).map(|_| Strict::new(count(replicas))).collect();
        let begun = Instant::now();
        let (mut now, mut passed) = (0_u64, Vec::new());
        for (replica, later, cost) in asked {
            now += later;
            let at = begun + Duration::from_micros(now);
            let strict = &each[replica % each.len()];
            if passes(&strict.take(&"acme".into(), &[demand("r", rate, cost)], at)) {
                passed.push((now, u64::from(cost)));
            }
        }
        for (index, (from, _)) in passed.iter().enumerate() {
            let mut spent = 0;
            for (to, cost) in &passed[index..] {
                spent += cost;
                // In millionths of a call, to keep whole numbers.
                prop_assert!(spent * 1_000_000 <= u64::from(burst) * 1_000_000 + (to - from) * u64::from(calls));
            }
        }
    }
}
