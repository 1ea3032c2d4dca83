//! The two fields as the draft writes them, and their bounds.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{HttpResponse, LEFT, POLICY, RETRY_AFTER, mark, tell};
use crate::{
    call::{Context, RequestId},
    error::{Code, Origin},
    front::Body,
    rule::{Rate, Remaining},
};

fn left(rule: &str, (calls, per, burst): (u32, u64, u32), left: u32, full_in: Duration) -> Remaining {
    let count = |count| NonZeroU32::new(count).unwrap();
    let rate = Rate { calls: count(calls), per: Duration::from_secs(per), burst: count(burst) };
    Remaining { rule: rule.into(), rate, calls: left, full_in }
}

/// `RateLimit-Policy` and `RateLimit` of a call with these rates.
fn told(remaining: Vec<Remaining>) -> [Option<String>; 2] {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    context.set_remaining(remaining);
    let mut response = HttpResponse::new(Body::empty());
    tell(&context, &mut response);
    [POLICY, LEFT].map(|name| Some(response.headers().get(name)?.to_str().unwrap().to_owned()))
}

#[test]
fn each_rate_is_a_string_with_two_whole_numbers() {
    let [policy, rates] = told(vec![
        left("rates.subject.expensive", (5, 60, 5), 0, Duration::from_millis(59_001)),
        left("rates.org.all", (50, 1, 100), 42, Duration::from_millis(1_160)),
    ]);
    assert_eq!(policy.unwrap(), "\"rates.subject.expensive\";q=5;w=60, \"rates.org.all\";q=100;w=2");
    assert_eq!(rates.unwrap(), "\"rates.subject.expensive\";r=0;t=60, \"rates.org.all\";r=42;t=2");
}

#[test]
fn a_full_bucket_has_nothing_to_wait_for_and_a_quick_one_a_second() {
    let [policy, rates] = told(vec![left("rates.org.all", (1_000, 1, 1), 1, Duration::ZERO)]);
    assert_eq!(
        (&*policy.unwrap(), &*rates.unwrap()),
        ("\"rates.org.all\";q=1;w=1", "\"rates.org.all\";r=1;t=0")
    );
}

#[test]
fn only_the_scarcest_are_told() {
    let rates = (0..6).map(|n| left(&format!("rates.{n}"), (1, 1, 10), n, Duration::ZERO)).collect();
    for told in told(rates) {
        let told = told.unwrap();
        assert!(told.contains("rates.3") && !told.contains("rates.4"), "{told}");
        assert!(told.len() < 512, "{told}");
    }
}

#[test]
fn without_a_rate_nothing_is_told_and_a_name_that_needs_escapes_is_left_out() {
    assert_eq!(told(Vec::new()), [None, None]);
    assert_eq!(told(vec![left("ra\"tes", (1, 1, 1), 0, Duration::ZERO)]), [None, None]);
}

#[test]
fn only_who_is_refused_for_too_much_is_told_twice_when_to_come_again() {
    let wait = |code, origin, said: Option<&'static str>| {
        let mut metadata = http::HeaderMap::new();
        metadata.extend(said.map(|said| (http::header::RETRY_AFTER, http::HeaderValue::from_static(said))));
        mark(code, origin, &mut metadata);
        metadata.get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
    };
    let exhausted = Code::ResourceExhausted;
    assert_eq!(wait(exhausted, Origin::Gateway, Some("2")).as_deref(), Some("2"));
    assert_eq!(wait(exhausted, Origin::Gateway, None), None);
    assert_eq!(wait(exhausted, Origin::Upstream, Some("2")), None);
    assert_eq!(wait(Code::Unavailable, Origin::Gateway, Some("2")), None);
}
