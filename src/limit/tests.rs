//! Buckets on a clock that is moved by hand.

use std::{num::NonZeroU32, time::Duration};

use governor::clock::FakeRelativeClock;
use prost::Message as _;
use tonic_types::pb;

use super::{Engine, Limits};
use crate::{
    call::{Call, tests::call},
    error::{Code, Error, Reason, Retry},
    proto::gitpod::v1 as api,
    rpc::GET_PREBUILD,
    rule::{Applied, Holder, Mode, Outcome, Quota, Rank, Rate},
};

mod in_flight;
mod refusals;
mod shares;

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

pub(super) fn rate(calls: u32, burst: u32) -> Rate {
    Rate::per_second(count(calls), count(burst))
}

fn applied<T>(rule: &str, mode: Mode, value: T) -> Applied<T> {
    Applied { rule: rule.into(), mode, candidate: false, value, link: None }
}

fn quota(rule: &str, mode: Mode, rate: Rate, holder: Holder, cost: u32) -> Quota {
    Quota { rate: applied(rule, mode, rate), rank: Rank::default(), holder, cost: count(cost) }
}

/// A call of acme's `subject` with these rates.
fn asking(subject: &str, quotas: Vec<Quota>) -> Call {
    let mut call = call(&GET_PREBUILD, &api::GetPrebuildRequest::default());
    call.identity.subject = subject.into();
    call.bound.quotas = quotas;
    call
}

fn limits() -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limits::new(Engine::local(clock.clone())), clock)
}

fn both(subjects: u32, orgs: u32) -> Vec<Quota> {
    vec![
        quota("rates.subject.all", Mode::Enforce, rate(1, subjects), Holder::Subject, 1),
        quota("rates.org.all", Mode::Enforce, rate(2, orgs), Holder::Org, 1),
    ]
}

fn violations(error: &Error) -> Vec<pb::quota_failure::Violation> {
    pb::QuotaFailure::decode(&*error.details[0].value).unwrap().violations
}

#[tokio::test]
async fn the_refusal_names_every_limit_and_the_longest_wait() {
    let (limits, _) = limits();
    let quotas = || {
        vec![
            quota("rates.subject.expensive", Mode::Enforce, rate(1, 5), Holder::Subject, 5),
            quota("rates.org.all", Mode::Enforce, rate(2, 5), Holder::Org, 5),
        ]
    };
    limits.take(&asking("ci", quotas())).await.unwrap();
    let over = asking("ci", quotas());
    let error = limits.take(&over).await.unwrap_err();
    assert_eq!((error.code, error.reason), (Code::ResourceExhausted, Some(Reason::RateLimited)));
    assert_eq!(error.rule.as_deref(), Some("rates.subject.expensive"));
    assert_eq!(error.retry, Retry::After(Duration::from_secs(5)));
    let [subject, org] = &violations(&error)[..] else { panic!("{error:?}") };
    assert_eq!(subject.subject, "org:acme subject:ci");
    assert_eq!(
        subject.description,
        "rates.subject.expensive: expensive calls, 1 per second, bursts of 5; this call counts as 5"
    );
    assert_eq!((&*org.subject, &*org.quota_id, org.quota_value), ("org:acme", "rates.org.all", 5));
    let rulings = over.context.rulings();
    assert!(rulings.len() == 2 && rulings.iter().all(|ruling| ruling.refuses()), "{rulings:?}");
}

#[tokio::test]
async fn what_is_left_is_told_the_scarcest_first() {
    let (limits, clock) = limits();
    let call = asking("ci", both(3, 3));
    limits.take(&call).await.unwrap();
    let told = |call: &Call| -> Vec<_> {
        let told = call.context.remaining().into_iter();
        told.map(|left| (left.rule.as_str().to_owned(), left.calls, left.full_in.as_millis())).collect()
    };
    let (subject, org) = ("rates.subject.all".to_owned(), "rates.org.all".to_owned());
    assert_eq!(told(&call), [(subject.clone(), 2, 1_000), (org.clone(), 2, 500)]);
    assert!(call.context.rulings().is_empty(), "kept rules are of no interest");
    clock.advance(Duration::from_millis(500));
    let other = asking("cd", both(3, 3));
    for _ in 0..3 {
        limits.take(&other).await.unwrap();
    }
    limits.take(&call).await.unwrap_err();
    assert_eq!(told(&call), [(org, 0, 1_500), (subject, 2, 500)], "nothing was taken of the subject's");
}

#[tokio::test]
async fn a_noisy_subject_costs_its_org_nothing_once_it_is_refused() {
    let (limits, _) = limits();
    let mut passed = 0;
    for _ in 0..1_000 {
        passed += usize::from(limits.take(&asking("noisy", both(2, 10))).await.is_ok());
    }
    assert_eq!(passed, 2);
    for _ in 0..4 {
        limits.take(&asking("ci", both(4, 10))).await.unwrap();
    }
    limits.take(&asking("cd", both(4, 10))).await.unwrap();
}

#[tokio::test]
async fn what_is_only_looked_at_passes_and_is_on_record() {
    let (limits, _) = limits();
    let mut tried = quota("rates.org.all", Mode::Audit, rate(1, 1), Holder::Org, 1);
    tried.rate.candidate = true;
    let quotas = [
        quota("rates.org.all", Mode::Enforce, rate(5, 5), Holder::Org, 1),
        tried,
        quota("rates.org.read", Mode::Warn, rate(1, 2), Holder::Org, 1),
    ];
    let mut seen = Vec::new();
    for _ in 0..4 {
        let call = asking("ci", quotas.to_vec());
        limits.take(&call).await.unwrap();
        assert_eq!(call.context.remaining().len(), 1, "only what is in force");
        let rulings = call.context.rulings();
        assert!(rulings.iter().all(|ruling| ruling.outcome == Outcome::Broken && !ruling.refuses()));
        seen.push(rulings.iter().map(|ruling| (ruling.candidate, ruling.warns())).collect::<Vec<_>>());
    }
    let (tried, warned) = ((true, false), (false, true));
    assert_eq!(seen, [vec![], vec![tried], vec![tried, warned], vec![tried, warned]]);
}

#[tokio::test]
async fn a_call_without_rates_passes_and_tells_nothing() {
    let (limits, _) = limits();
    let call = asking("ci", Vec::new());
    for _ in 0..1_000 {
        limits.take(&call).await.unwrap();
    }
    assert!(call.context.remaining().is_empty() && call.context.rulings().is_empty());
}
