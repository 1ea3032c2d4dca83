//! Buckets of orgs and subjects: how exact, how many, and who has which.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::clock::{FakeRelativeClock, MonotonicClock};

use super::{Demand, Holder, Local, MAX_SUBJECTS, Taken};
use crate::{limit::Bucket, rule::Rate};

mod exactness;
mod shadows;

type Faked = Local<FakeRelativeClock>;

fn faked() -> (Faked, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Local::new(clock.clone()), clock)
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn rate(calls: u32, burst: u32) -> Rate {
    Rate::per_second(count(calls), count(burst))
}

/// In force, of acme's own or a subject's, at a cost of one.
fn demand(subject: Option<&str>, rule: &str, rate: Rate) -> Demand {
    let subject = subject.map(Into::into);
    let bucket = Bucket { org: "acme".into(), subject, rule: rule.into(), candidate: false, level: 0 };
    Demand { bucket, rate, cost: NonZeroU32::MIN, in_force: true, is_partial: false }
}

fn costing(cost: u32, demand: Demand) -> Demand {
    Demand { cost: count(cost), ..demand }
}

fn passes(local: &Faked, demand: &Demand) -> bool {
    !local.take(std::slice::from_ref(demand))[0].is_refused()
}

/// How many pass before one does not.
fn drain(local: &Faked, demand: &Demand) -> usize {
    (0..1_000_000).take_while(|_| passes(local, demand)).count()
}

#[test]
fn a_burst_passes_and_the_next_call_is_told_how_long_to_wait() {
    let (local, clock) = faked();
    let org = demand(None, "rates.org.all", rate(2, 3));
    let left = |taken: Vec<Taken>| if let Taken::Passed { left, .. } = taken[0] { Some(left) } else { None };
    assert_eq!([2, 1, 0].map(Some), [0; 3].map(|_| left(local.take(std::slice::from_ref(&org)))));
    let refused = local.take(std::slice::from_ref(&org))[0];
    let Taken::Refused { wait, full_in } = refused else { panic!("a fourth call") };
    assert_eq!((wait, full_in), (Duration::from_millis(500), Duration::from_millis(1_500)));
    for _ in 0..1_000 {
        assert!(!passes(&local, &org));
    }
    clock.advance(wait - Duration::from_nanos(1));
    assert!(!passes(&local, &org));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(drain(&local, &org), 1, "refused calls have taken nothing");
}

#[test]
fn a_cost_is_taken_whole_or_not_at_all_and_above_the_burst_never() {
    let (local, clock) = faked();
    let org = || demand(None, "rates.org.all", rate(1, 5));
    assert!(passes(&local, &costing(3, org())));
    let Taken::Refused { wait, .. } = local.take(&[costing(3, org())])[0] else { panic!() };
    assert_eq!(wait, Duration::from_secs(1));
    assert!(passes(&local, &costing(2, org())));
    clock.advance(Duration::from_secs(60));
    assert!(!passes(&local, &costing(6, org())));
    assert!(passes(&local, &costing(5, org())));
}

#[test]
fn each_org_subject_and_class_has_its_own() {
    let (local, _) = faked();
    let one = rate(1, 1);
    let mut globex = demand(None, "rates.org.all", one);
    globex.bucket.org = "globex".into();
    let mut globex_ci = demand(Some("ci"), "rates.subject.all", one);
    globex_ci.bucket.org = "globex".into();
    for own in [
        demand(None, "rates.org.all", one),
        demand(None, "rates.org.read", one),
        demand(Some("ci"), "rates.subject.all", one),
        demand(Some("cd"), "rates.subject.all", one),
        globex,
        globex_ci,
    ] {
        assert_eq!(drain(&local, &own), 1, "{own:?}");
    }
}

#[test]
fn what_one_refuses_is_not_taken_of_any_other() {
    let (local, _) = faked();
    let subject = demand(Some("ci"), "rates.subject.all", rate(1, 2));
    let org = demand(None, "rates.org.all", rate(1, 5));
    let class = demand(None, "rates.org.mutate", rate(1, 9));
    // In whatever order they are asked for.
    let asked = [org.clone(), class.clone(), subject.clone()];
    for turn in 0..100 {
        let taken = local.take(&asked);
        assert_eq!(taken[2].is_refused(), turn >= 2);
        assert!(!taken[0].is_refused() && !taken[1].is_refused());
    }
    assert_eq!((drain(&local, &org), drain(&local, &class)), (3, 7));
}

#[test]
fn a_changed_rate_starts_without_a_burst_and_an_unchanged_one_goes_on() {
    let (local, clock) = faked();
    let rated = |calls, burst| demand(None, "rates.org.all", rate(calls, burst));
    let other = demand(None, "rates.org.read", rate(10, 10));
    assert_eq!(drain(&local, &rated(10, 10)), 10);
    assert!(!passes(&local, &rated(10, 1_000)), "a reload is worth no burst");
    clock.advance(Duration::from_millis(300));
    assert_eq!(drain(&local, &rated(10, 1_000)), 3);
    assert_eq!(drain(&local, &rated(10, 10)), 0, "back again, it has let nothing fill up");
    clock.advance(Duration::from_millis(500));
    assert_eq!(drain(&local, &rated(10, 10)), 5);
    assert_eq!(drain(&local, &rated(10, 1_000)), 0);
    assert_eq!(drain(&local, &other), 10, "a rule that is new is full");
    // However many reloads there are, what is kept of them has a bound, and none brings a burst.
    for burst in 1..1_000 {
        assert!(!passes(&local, &rated(10, 10_000 + burst)));
    }
    assert!(!passes(&local, &rated(10, 10)));
}

/// On no interval more than the greater of both rates lets pass, however often they take turns.
#[test]
fn reloading_back_and_forth_brings_no_burst() {
    let (local, clock) = faked();
    let rated = |burst, level| {
        let mut demand = demand(None, "rates.org.all", rate(1, burst));
        demand.bucket.level = level;
        demand
    };
    let (common, own) = (rated(10, 1), rated(8, 2));
    let mut passed = drain(&local, &common);
    for _ in 0..10 {
        clock.advance(Duration::from_secs(10));
        passed += drain(&local, &own);
        passed += drain(&local, &common);
    }
    assert!((80..=10 + 100).contains(&passed), "{passed}");
}

/// An org's audited entry and a common one in mode warn: each sees every call once.
#[test]
fn entries_of_one_rule_that_are_only_looked_at_count_apart() {
    let (local, _) = faked();
    let mut narrow = Demand { in_force: false, ..demand(None, "rates.org.all", rate(1, 3)) };
    narrow.bucket.level = 2;
    let mut broad = narrow.clone();
    broad.bucket.level = 1;
    let faster = Demand { rate: rate(2, 3), ..broad.clone() };
    for turn in 0..4 {
        let taken = local.take(&[narrow.clone(), broad.clone()]);
        assert!(taken.iter().all(|taken| taken.is_refused() == (turn == 3)), "{turn}: {taken:?}");
    }
    assert!(local.take(&[faster])[0].is_refused(), "a changed rate begins without a burst");
}

#[test]
fn rates_at_their_bounds_are_counted_right() {
    let (local, clock) = faked();
    let hour =
        |calls, burst| Rate { calls: count(calls), per: Duration::from_secs(3_600), burst: count(burst) };
    let slowest = demand(None, "rates.org.all", hour(1, 1_000_000));
    assert!(passes(&local, &costing(1_000_000, slowest.clone())) && !passes(&local, &slowest));
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(drain(&local, &slowest), 1);
    let quickest = demand(None, "rates.org.read", rate(u32::MAX, u32::MAX));
    assert!(passes(&local, &costing(1_000_000, quickest)));
    let beyond = demand(None, "rates.org.mutate", hour(1, u32::MAX));
    assert!(passes(&local, &beyond), "and nothing overflows");
}

/// Names that nobody has heard of, thrice as many as are kept: neither do they fill the memory, nor is anything of their
/// org's forgotten.
#[test]
fn made_up_subjects_are_bounded_and_cost_their_org_no_state() {
    let (local, _) = faked();
    let hourly = Rate { per: Duration::from_secs(3_600), ..rate(1, 10) };
    let org = demand(None, "rates.org.all", hourly);
    assert_eq!(drain(&local, &org), 10);
    let mut others = demand(Some("ci"), "rates.subject.all", hourly);
    others.bucket.org = "globex".into();
    assert_eq!(drain(&local, &others), 10);
    for number in 0..3 * MAX_SUBJECTS {
        let taken = local.take(&[demand(Some(&number.to_string()), "rates.subject.all", hourly)]);
        assert!(!taken[0].is_refused());
    }
    let subjects = local.subjects.of(&"acme".into());
    subjects.run_pending_tasks();
    let kept = subjects.entry_count();
    assert!((1..=MAX_SUBJECTS).contains(&kept), "{kept}");
    assert_eq!(drain(&local, &others), 0, "nor has another org's subject a new bucket");
    assert_eq!(drain(&local, &org), 0, "the org's bucket is as empty as before");
}

#[test]
fn a_holder_is_kept_until_its_slowest_bucket_is_full_and_then_forgotten() {
    let local = Local::new(MonotonicClock);
    local.take(&[demand(Some("ci"), "rates.subject.all", rate(1_000, 10))]);
    let slow = Rate { calls: count(1), per: Duration::from_secs(60), burst: count(60) };
    local.take(&[demand(Some("cd"), "rates.subject.all", rate(1_000, 10))]);
    local.take(&[demand(Some("cd"), "rates.subject.expensive", slow)]);
    let holder = |name: &str| Holder { org: "acme".into(), subject: Some(name.into()), in_force: true };
    let subjects = local.subjects.of(&"acme".into());
    let kept_for = |name: &str| subjects.get(&holder(name)).map(|shelf| shelf.kept_for());
    assert_eq!(kept_for("ci"), Some(Duration::from_millis(1_010)));
    assert_eq!(kept_for("cd"), Some(Duration::from_secs(3_601)));
    let patience = Instant::now() + Duration::from_secs(20);
    while subjects.contains_key(&holder("ci")) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!subjects.contains_key(&holder("ci")) && subjects.contains_key(&holder("cd")));
}
