//! Calls in flight, and rates by class and cost.

use prebuild_gateway::sandbox::Rules;

use super::*;
use crate::harness::{Answer, GLOBEX_KEY, Upstream, json};

#[tokio::test]
async fn an_org_that_waits_for_a_slow_upstream_does_not_take_anothers_places() {
    let empty = json(200, &value!({"prebuilds": []}));
    let (gate, held) = Answer::held(empty.clone());
    let upstream = Upstream::start([held, Answer::Bytes(empty)]).await;
    let gateway =
        Gateway::with_policy(upstream.address, &policy("orgs.acme.limits.in_flight = 1"), |_| {}).await;
    let [mut first, mut second] = [Raw::connect(gateway.address).await, Raw::connect(gateway.address).await];
    let waiting = tokio::spawn(async move { asked(&mut first, "ListPrebuilds", &value!({})).await });
    upstream.arrived(1).await;
    let wrong = asked(&mut second, "ListPrebuilds", &value!({})).await.result.unwrap_err();
    assert_eq!((wrong.code, wrong.reason.as_deref()), (8, Some("ORG_BUSY")));
    assert_eq!(wrong.rule.as_deref(), Some("limits.in_flight"));
    call(&mut second, GRPC, GLOBEX_KEY, "ListPrebuilds", &value!({})).await.0.result.unwrap();
    gate.cancel();
    waiting.await.unwrap().result.unwrap();
    assert_eq!(decided(&gateway, "limits.in_flight", "enforce", "broken").await, 1);
}

#[tokio::test]
async fn a_class_has_its_own_rate_and_a_method_its_cost() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let text = policy(
        "rates.org.expensive = { per_hour = 1, burst = 5 }\nrates.subject.mutate = { per_hour = 1, burst = 1 }\n\
         costs.CreatePrebuild = 2",
    );
    let gateway = Gateway::with_policy(upstream.address, &text, ada).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let spoken = asked(&mut raw, "CreatePrebuild", &creation(&upstream, 0)).await;
        ids.push(made(spoken, "prebuild"));
    }
    // One is left, and it takes two; of the org, whoever asks.
    for key in [ACME_KEY, ADA_KEY] {
        let spoken = call(&mut raw, GRPC, key, "CreatePrebuild", &creation(&upstream, 0)).await.0;
        assert_eq!(refused(spoken), ("RATE_LIMITED".to_owned(), "rates.org.expensive".to_owned()));
    }
    // Each subject has its own.
    let delete = |at: usize| value!({"prebuildId": ids[at]});
    asked(&mut raw, "DeletePrebuild", &delete(0)).await.result.unwrap();
    let spoken = asked(&mut raw, "DeletePrebuild", &delete(1)).await;
    assert_eq!(refused(spoken), ("RATE_LIMITED".to_owned(), "rates.subject.mutate".to_owned()));
    call(&mut raw, CONNECT, ADA_KEY, "DeletePrebuild", &delete(1)).await.0.result.unwrap();
    for _ in 0..20 {
        asked(&mut raw, "ListPrebuilds", &value!({})).await.result.unwrap();
    }
}
