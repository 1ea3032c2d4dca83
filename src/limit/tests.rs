//! Buckets on a clock that is moved by hand.

use std::{num::NonZeroU32, time::Duration};

use governor::clock::FakeRelativeClock;

use super::{Limits, Rate, Refused};
use crate::{
    call::OrgId,
    error::{Code, Retry},
};

mod refusals;

fn limits(clock: &FakeRelativeClock) -> (Limits<FakeRelativeClock>, OrgId, OrgId) {
    let rate = Rate::per_second(NonZeroU32::new(2).unwrap(), NonZeroU32::new(3).unwrap());
    let (acme, globex) = (OrgId::from("acme"), OrgId::from("globex"));
    (Limits::new([(acme.clone(), rate), (globex.clone(), rate)], clock.clone()), acme, globex)
}

#[test]
fn a_burst_passes_and_the_next_call_is_told_how_long_to_wait() {
    let clock = FakeRelativeClock::default();
    let (limits, acme, _) = limits(&clock);
    for _ in 0..3 {
        limits.take(&acme).unwrap();
    }
    let Err(Refused::Exceeded { wait, .. }) = limits.take(&acme) else { panic!("a fourth call") };
    assert_eq!(wait, Duration::from_millis(500));
    clock.advance(wait);
    limits.take(&acme).unwrap();
    limits.take(&acme).unwrap_err();
}

#[test]
fn one_org_never_spends_anothers_share() {
    let clock = FakeRelativeClock::default();
    let (limits, acme, globex) = limits(&clock);
    while limits.take(&acme).is_ok() {}
    for _ in 0..3 {
        limits.take(&globex).unwrap();
    }
}

#[test]
fn admitted_calls_never_exceed_burst_plus_rate_times_time() {
    let clock = FakeRelativeClock::default();
    let (limits, acme, _) = limits(&clock);
    let step = Duration::from_millis(10);
    let mut admitted: Vec<u32> = Vec::new();
    for tick in 0..2_000 {
        for _ in 0..3 {
            if limits.take(&acme).is_ok() {
                admitted.push(tick);
            }
        }
        clock.advance(step);
    }
    for (first, from) in admitted.iter().enumerate() {
        for (last, to) in admitted.iter().enumerate().skip(first) {
            let count = (last - first + 1) as f64;
            let seconds = f64::from(to - from) * step.as_secs_f64();
            assert!(count <= 3.0 + 2.0 * seconds + 1e-9, "{count} calls in {seconds} s");
        }
    }
    assert!(admitted.len() >= 42, "3 at once and 2 a second for 20 s: {}", admitted.len());
}

#[test]
fn the_refusal_names_the_limit_and_the_time() {
    let clock = FakeRelativeClock::default();
    let (limits, acme, _) = limits(&clock);
    while limits.take(&acme).is_ok() {}
    let error = limits.take(&acme).unwrap_err().refusal(&acme);
    assert_eq!(error.code, Code::ResourceExhausted);
    assert_eq!(error.retry, Retry::After(Duration::from_millis(500)));
    assert_eq!(error.rule.as_deref(), Some("limits.requests"));
    assert_eq!(error.details[0].type_url, "type.googleapis.com/google.rpc.QuotaFailure");
}

#[test]
fn an_org_without_a_bucket_does_not_pass() {
    let (limits, ..) = limits(&FakeRelativeClock::default());
    let nobody = OrgId::from("nobody");
    assert_eq!(limits.take(&nobody), Err(Refused::NoBucket));
    assert_eq!(Refused::NoBucket.refusal(&nobody).code, Code::Internal);
}
