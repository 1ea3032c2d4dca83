//! Rates that are in force for a share of the calls only.

use std::time::Duration;

use super::{asking, limits};
use crate::{
    call::Call,
    policy::{Edition, Ground, Texts},
    rpc::GET_PREBUILD,
    rule::Draw,
};

const COMMON: &str = "rates.org.all = { per_second = 20, burst = 20 }\n";

fn edition(policy: &str) -> Edition {
    let ground = Ground { orgs: vec!["acme".into()], in_flight: 400, ..Ground::default() };
    Edition::of(&Texts { policy: policy.to_owned(), rules: Vec::new() }, &ground).unwrap()
}

fn drawn(edition: &Edition, draw: u128) -> Call {
    let (_, bound) = edition.apply(&"acme".into(), &"ci".into(), &GET_PREBUILD, Draw::new(draw));
    asking("ci", bound.quotas)
}

/// Of 200 calls a second for 20 seconds.
async fn passed(policy: &str) -> u32 {
    let (edition, (limits, clock)) = (edition(policy), limits());
    let mut passed = 0;
    for request in 0..4_000 {
        passed += u32::from(limits.take(&drawn(&edition, request)).await.is_ok());
        clock.advance(Duration::from_millis(5));
    }
    passed
}

#[tokio::test]
async fn a_tighter_rate_for_a_share_of_the_calls_lets_no_more_pass() {
    let without = passed(COMMON).await;
    for share in ["0.1", "0.5", "0.9"] {
        let own = format!("orgs.acme.rates.org.all = {{ per_second = 10, burst = 10, share = {share} }}\n");
        let with = passed(&format!("{COMMON}{own}")).await;
        assert!(with <= without && with >= without / 3, "{share}: {with}, and {without} without");
    }
}

/// The buckets of a share begin as full as any.
#[tokio::test]
async fn an_entry_for_a_share_of_the_calls_does_not_starve_them() {
    let own = "orgs.acme.rates.org.all = { per_second = 10, burst = 10, share = 0.5 }\n";
    let (edition, (limits, _)) = (edition(&format!("{COMMON}{own}")), limits());
    let (rest, share) = (calls(&edition, 1), calls(&edition, 2));
    limits.take(&rest[0]).await.unwrap();
    for call in &share[..10] {
        limits.take(call).await.unwrap();
    }
    limits.take(&share[10]).await.unwrap_err();
    for call in &rest[1..10] {
        limits.take(call).await.unwrap();
    }
    limits.take(&rest[10]).await.unwrap_err();
    let remaining = rest[1].context.remaining();
    assert_eq!(remaining.len(), 1, "no rule is told twice: {remaining:?}");
    let remaining = share[10].context.remaining();
    assert_eq!((remaining.len(), remaining[0].calls), (1, 0), "the scarcer one: {remaining:?}");
}

/// Calls for which so many entries are in force.
fn calls(edition: &Edition, entries: usize) -> Vec<Call> {
    let all = (0..100).map(|request| drawn(edition, request));
    let in_force = |call: &Call| call.bound.quotas.iter().filter(|quota| quota.rate.is_enforced()).count();
    all.filter(|call| in_force(call) == entries).collect()
}
