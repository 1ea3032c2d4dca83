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
    let bucket = Bucket { org: "acme".into(), subject: None, rule: rule.into(), candidate: false, level: 0 };
    Demand { bucket, rate, cost: count(cost), in_force: true, is_partial: false }
}

fn passes(taken: &[Taken]) -> bool {
    taken.iter().all(|taken| matches!(taken, Taken::Passed { .. }))
}

#[test]
fn alone_it_begins_without_a_burst_and_at_its_part_of_the_pace() {
    let (strict, begun) = (Strict::new(count(4)), Instant::now());
    // 10 a second: the part is one in 400 ms, and bursts of 2.
    let demands = [demand("r", Rate::per_second(count(10), count(8)), 1)];
    let take = |millis| strict.take(&"acme".into(), &demands, 0, begun + Duration::from_millis(millis));
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
        passes(&strict.take(
            &"acme".into(),
            &[demand("r", rate, cost)],
            0,
            begun + Duration::from_secs(seconds),
        ))
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
    let take = |demands: &[Demand]| strict.take(&"acme".into(), demands, 0, begun + Duration::from_secs(10));
    assert!(passes(&[]) && strict.take(&"acme".into(), &[], 0, begun).is_empty());
    assert!(passes(&take(&demands)));
    let second = take(&demands);
    assert!(matches!(
        second[..],
        [Taken::Passed { left: 1, .. }, Taken::Refused { .. }, Taken::Refused { .. }]
    ));
    assert!(passes(&take(&demands[..1])) && !passes(&take(&demands[..1])));
}

#[test]
fn alone_too_what_is_looked_at_keeps_what_a_refused_call_asked_for() {
    let (strict, begun) = (Strict::new(count(1)), Instant::now());
    let rate = |burst| Rate::per_second(count(1), count(burst));
    let beside = Demand { in_force: false, ..demand("beside", rate(1), 1) };
    let demands = [demand("a", rate(1), 2), beside];
    let take = |demands: &[Demand]| strict.take(&"acme".into(), demands, 0, begun + Duration::from_secs(10));
    strict.take(&"acme".into(), &demands, 0, begun);
    assert!(!passes(&take(&demands[..1])));
    take(&demands);
    assert!(passes(&take(&demands[1..])) && !passes(&take(&demands[1..])));
}

#[test]
fn alone_too_subjects_with_rates_of_their_own_are_as_many_as_there_are() {
    let (strict, begun) = (Strict::new(count(1)), Instant::now());
    for seconds in [0, 100, 200] {
        for subject in 1..=12 {
            let mut own = demand("r", Rate::per_second(count(1), count(subject)), 1);
            (own.bucket.level, own.bucket.subject) = (3, Some(format!("s{subject}").as_str().into()));
            let taken = strict.take(&"acme".into(), &[own], 0, begun + Duration::from_secs(seconds));
            assert_eq!(passes(&taken), seconds > 0, "{subject} at {seconds}");
        }
    }
}

#[test]
fn alone_too_what_is_looked_at_and_what_had_another_rate_is_another_bucket() {
    let (strict, begun) = (Strict::new(count(1)), Instant::now());
    let rate = |burst| Rate { calls: count(1), per: Duration::from_secs(10), burst: count(burst) };
    let take = |demand: &Demand, seconds| {
        let at = begun + Duration::from_secs(seconds);
        passes(&strict.take(&"acme".into(), std::slice::from_ref(demand), 0, at))
    };
    let live = demand("r", rate(1), 1);
    let shadow = Demand { in_force: false, ..live.clone() };
    assert!(!take(&live, 0) && take(&live, 10) && !take(&live, 10));
    assert!(take(&shadow, 10) && !take(&shadow, 10), "a bucket of its own");
    assert!(take(&shadow, 20) && take(&live, 20), "which takes nothing of the one in force");
    let changed = demand("r", rate(3), 1);
    assert!(!take(&changed, 100) && take(&changed, 110) && !take(&changed, 110), "no burst");
    assert!(!take(&live, 110) && take(&live, 120), "changed back, it is no burst either");
}

#[test]
fn the_store_hears_when_an_org_was_decided_about_alone() {
    let (strict, begun, org) = (Strict::new(count(2)), Instant::now(), "acme".into());
    let after = |seconds| begun + Duration::from_secs(seconds);
    let demands = [demand("r", Rate::per_second(count(1), count(1)), 1)];
    assert_eq!(strict.absence(&org), None);
    strict.take(&org, &demands, 0, after(2));
    strict.take(&org, &demands, 0, after(5));
    assert_eq!(
        strict.absence(&org),
        Some((after(2), after(5))),
        "until the last decision, whenever that is told"
    );
    assert_eq!(strict.absence(&"globex".into()), None);
    // One more was decided here while the store was told.
    strict.take(&org, &demands, 0, after(6));
    strict.back(&org, after(5));
    assert_eq!(strict.absence(&org), Some((after(5), after(6))));
    strict.back(&org, after(6));
    assert_eq!(strict.absence(&org), None);
    // And the next time it begins without a burst again.
    assert!(!passes(&strict.take(&org, &demands, 0, after(100))));
}

#[test]
fn alone_again_it_begins_without_a_burst_if_the_store_was_there_meanwhile() {
    let (strict, begun, org) = (Strict::new(count(2)), Instant::now(), "acme".into());
    let after = |seconds| begun + Duration::from_secs(seconds);
    // The part is one in 2 s, and bursts of 2.
    let demands = [demand("r", Rate::per_second(count(1), count(4)), 1)];
    let take = |gained, seconds| passes(&strict.take(&org, &demands, gained, after(seconds)));
    assert!(!take(1, 0) && take(1, 1000) && take(1, 1000));
    // Others spent the burst through the store, and it is gone once more. It has not heard of the end of the last time.
    assert!(!take(2, 1001) && take(2, 1003));
    assert_eq!(strict.absence(&org), Some((begun, after(1003))));
    // That is over by the next.
    assert!(!take(3, 2000) && !take(3, 2001) && take(3, 2002) && !take(3, 2003));
    assert_eq!(strict.absence(&org), Some((after(2000), after(2003))));
    // The answer to what was told before is late.
    strict.back(&org, after(1003));
    assert_eq!(strict.absence(&org), Some((after(2000), after(2003))));
}

#[test]
fn alone_what_is_looked_at_leaves_room_for_what_is_in_force() {
    let (strict, begun) = (Strict::new(count(1)), Instant::now());
    let rate = Rate { calls: count(1), per: Duration::from_secs(1), burst: count(1) };
    let of = |subject: String, in_force| {
        let mut demand = Demand { in_force, ..demand("r", rate, 1) };
        demand.bucket.subject = Some(subject.as_str().into());
        demand
    };
    let take = |demands: &[Demand]| strict.take(&"acme".into(), demands, 0, begun + Duration::from_secs(10));
    strict.take(&"acme".into(), &[of("first".into(), true), of("first".into(), false)], 0, begun);
    let shadows: Vec<_> = (0..10_000).map(|number| of(number.to_string(), false)).collect();
    for some in shadows.chunks(10) {
        assert!(passes(&take(some)));
    }
    // One more is not counted, and what is in force does not see any of it.
    let more = [of("more".into(), false), of("more".into(), true)];
    assert!(passes(&take(&more)));
    assert!(matches!(take(&more)[..], [Taken::Passed { .. }, Taken::Refused { .. }]));
    // Of those in force there are no more than the bound, also where several are new.
    for number in 0..9_998 {
        assert!(passes(&take(&[of(number.to_string(), true)])));
    }
    let two = [of("a".into(), true), of("b".into(), true)];
    assert!(take(&two).iter().all(Taken::is_refused));
    assert!(passes(&take(&two[..1])) && !passes(&take(&two[1..])));
}

#[test]
fn paces_are_rounded_up() {
    let rate = Rate { calls: count(3), per: Duration::from_secs(1), burst: count(10) };
    let arguments = script::arguments(
        &[demand("r", rate, 2)],
        Some((Duration::from_millis(3), Duration::from_millis(1))),
    );
    assert_eq!(
        arguments,
        [
            "3001",
            "1000",
            "604803333",
            "20000",
            "ofl0:r:3/1000000000/10",
            "3333340",
            "666668",
            "1",
            "ofl0:r",
            "3/1000000000/10"
        ]
    );
    let present = script::arguments(&[demand("r", rate, 2)], None);
    assert_eq!((&present[..2], &present[2..]), (&["-1".to_owned(), "-1".to_owned()][..], &arguments[2..]));
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
            if passes(&strict.take(&"acme".into(), &[demand("r", rate, cost)], 0, at)) {
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
