//! What may be left running, over the wire.

use std::time::{Duration, SystemTime};

use prebuild_gateway::sandbox::ManualClock;

use super::*;
use crate::harness::{Answer, ID, Upstream, json, sharing, shown, soon};

const RULE: &str = "budgets.org.running_prebuilds";
const STEP: Duration = Duration::from_secs(600);

/// As soon as it is known what there is.
async fn created(raw: &mut Raw, request: &Value) -> Spoken {
    soon(async {
        loop {
            let spoken = asked(raw, "CreatePrebuild", request).await;
            let reason = spoken.result.as_ref().err().and_then(|wrong| wrong.reason.clone());
            if reason.as_deref() != Some("BUDGET_UNKNOWN") {
                return spoken;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_third_of_two_is_refused_by_the_names_of_the_two_until_one_has_ended() {
    let clock = ManualClock::starting_at(SystemTime::now());
    let upstream = Sandboxed::slow(STEP, clock.clock()).await;
    let gateway = Gateway::with_policy(upstream.address, &policy(&format!("{RULE} = 2")), |_| {}).await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = creation(&upstream, 0);
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(made(created(&mut raw, &request).await, "prebuild"));
    }
    for dialect in [GRPC, CONNECT] {
        let (spoken, _) = call(&mut raw, dialect, ACME_KEY, "CreatePrebuild", &request).await;
        let wrong = spoken.result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (8, Some("BUDGET_EXCEEDED")));
        assert_eq!(wrong.rule.as_deref(), Some(RULE));
        let [quota] = &wrong.quotas[..] else { panic!("{wrong:?}") };
        assert!(ids.iter().all(|id| quota.contains(id)), "{quota}");
    }
    let one = value!({"prebuildId": ids[0]});
    asked(&mut raw, "CancelPrebuild", &one).await.result.unwrap();
    clock.advance(STEP + Duration::from_secs(1));
    // It is seen to have ended.
    asked(&mut raw, "GetPrebuild", &one).await.result.unwrap();
    created(&mut raw, &request).await.result.unwrap();
    assert_eq!(upstream.sandbox.executed("CreatePrebuild"), 3);
    assert_eq!(upstream.sandbox.most_running(), 2);
}

#[tokio::test]
async fn before_the_first_count_nothing_is_added_and_the_orgs_own_credential_counts() {
    let (gate, held) = Answer::held(json(200, &value!({"prebuilds": []})));
    let pools = json(200, &value!({"warmPools": []}));
    let upstream = Upstream::start([held, Answer::Bytes(pools), Answer::Bytes(shown())]).await;
    let text = policy("orgs.acme.budgets.org.running_prebuilds = 2");
    let gateway = Gateway::with_policy(upstream.address, &text, |_| {}).await;
    // By the policy alone: nobody has asked for anything yet.
    let seen = upstream.arrived(1).await;
    assert!(seen[0].target.contains("/ListPrebuilds"));
    assert_eq!(seen[0].header("authorization"), Some("Bearer acme-token"));
    let mut raw = Raw::connect(gateway.address).await;
    let request = value!({"projectId": ID, "spec": {}});
    let wrong = asked(&mut raw, "CreatePrebuild", &request).await.result.unwrap_err();
    assert_eq!((wrong.code, wrong.reason.as_deref()), (14, Some("BUDGET_UNKNOWN")));
    let (check, is_ready) = gateway.check("budgets").await;
    assert_eq!((&check["ok"], is_ready), (&value!(false), true));
    assert_eq!(check["detail"], "not counted: acme: is being counted for the first time");
    gate.cancel();
    created(&mut raw, &request).await.result.unwrap();
    assert_eq!(upstream.seen().len(), 3);
    assert_eq!(gateway.check("budgets").await.0["ok"], true);
}

#[tokio::test]
async fn what_cannot_be_counted_is_said() {
    let upstream = Upstream::start([Answer::Bytes(json(403, &value!({"code": "permission_denied"})))]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy(""), |_| {}).await;
    assert_eq!(gateway.check("budgets").await, (Value::Null, true));
    gateway.set_policy(&policy("orgs.acme.budgets.org.running_prebuilds = 2"));
    let detail = soon(async {
        loop {
            let (check, _) = gateway.check("budgets").await;
            let detail = check["detail"].as_str().unwrap_or_default();
            if detail.contains("acme: ") && !detail.contains("first time") {
                return detail.to_owned();
            }
        }
    })
    .await;
    assert_eq!(detail, "not counted: acme: PermissionDenied");
}

/// With hundreds of projects, of which a filter takes but some.
#[tokio::test]
async fn several_lists_are_read_at_the_same_time() {
    let upstream = Upstream::start((0..4).map(|_| Answer::silence())).await;
    let text = policy("orgs.acme.budgets.org.running_prebuilds = 2");
    let projects =
        |from: u32, to| (from..to).map(|at| format!("0198c0de-0000-7000-8000-{at:012x}")).collect();
    let all: [Vec<String>; 2] = [projects(0, 200), projects(200, 201)];
    let change = |config: &mut _| sharing(config, &all);
    let _gateway = Gateway::with_policy(upstream.address, &text, change).await;
    let seen = upstream.arrived(4).await;
    let batch = |at: usize| seen[at].body["filter"]["projectIds"].as_array().unwrap().len();
    assert_eq!((0..4).map(batch).collect::<Vec<_>>(), [25; 4]);
}

#[tokio::test]
async fn a_reload_begins_to_count_the_orgs_that_have_a_budget_now() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy(""), |_| {}).await;
    gateway
        .set_policy(&policy("orgs.globex.budgets.org.running_prebuilds = { value = 2, mode = \"audit\" }"));
    let seen = upstream.arrived(1).await;
    assert_eq!(seen[0].header("authorization"), Some("Bearer globex-token"));
}
