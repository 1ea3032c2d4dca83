//! The declared rules at their bounds, and errors as a client reads them.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use prost::Message;
use serde_json::{Value, json};
use tonic_types::pb::{BadRequest, ErrorInfo};

use super::{Bench, STEP};
use crate::sandbox::{DOMAIN, Life, Rules};

fn detail<M: Message + Default>(error: &Value, kind: &str) -> M {
    let detail = &error["details"][0];
    assert_eq!(detail["type"], kind);
    M::decode(STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap().as_slice()).unwrap()
}

fn fields(error: &Value) -> Vec<String> {
    let request: BadRequest = detail(error, "google.rpc.BadRequest");
    request.field_violations.into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn timeouts_are_held_to_both_bounds() {
    let bench = Bench::start().await;
    let project = bench.project().id.to_string();
    for (timeout, good) in [
        ("299.999999999s", false),
        ("300s", true),
        ("+300.0s", true),
        ("7200s", true),
        ("7200.000000001s", false),
        ("-300s", false),
        ("1h", false),
        ("300", false),
        ("300.0000000001s", false),
        (".5s", false),
    ] {
        let body = json!({ "projectId": project, "spec": { "timeout": timeout } });
        let answer = bench.call("CreatePrebuild", body).await;
        assert_eq!(answer.status, if good { 200 } else { 400 }, "{timeout}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn sizes_are_held_to_their_bounds() {
    let bench = Bench::start().await;
    let (project, class) = (bench.project().id.to_string(), bench.project().classes[0].to_string());
    let pool = json!({ "projectId": project, "environmentClassId": class, "minSize": 0, "maxSize": 20 });
    let id = bench.ok("CreateWarmPool", pool).await["warmPool"]["id"].take();
    for (sizes, violated) in [
        (json!({ "minSize": -1 }), vec!["min_size"]),
        (json!({ "minSize": 0 }), vec![]),
        (json!({ "minSize": 20, "maxSize": 20 }), vec![]),
        (json!({ "minSize": 21 }), vec!["min_size"]),
        (json!({ "minSize": 0, "maxSize": 0 }), vec!["max_size"]),
        (json!({ "minSize": 0, "maxSize": 1 }), vec![]),
        (json!({ "maxSize": 21, "desiredSize": 21 }), vec!["desired_size", "max_size"]),
        (json!({ "desiredSize": 0 }), vec!["desired_size"]),
        (json!({ "desiredSize": "1" }), vec![]),
        (json!({ "minSize": 2.0, "maxSize": 1e0 }), vec!["min_size"]),
    ] {
        let mut body = sizes.clone();
        body["warmPoolId"] = id.clone();
        let answer = bench.call("UpdateWarmPool", body).await;
        let found = if answer.status == 200 { vec![] } else { fields(&answer.json()) };
        assert_eq!(found, violated, "{sizes}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn lists_are_held_to_their_bounds() {
    let bench = Bench::start().await;
    let ids = |count: usize| vec![uuid::Uuid::nil().to_string(); count];
    for (body, violated) in [
        (json!({ "pagination": { "pageSize": 100 } }), vec![]),
        (json!({ "pagination": { "pageSize": 101 } }), vec!["pagination.page_size"]),
        (json!({ "pagination": { "pageSize": -1 } }), vec!["pagination.page_size"]),
        (
            json!({ "filter": { "projectIds": ids(25), "creatorIds": ids(25), "executorIds": ids(25) } }),
            vec![],
        ),
        (
            json!({ "filter": { "projectIds": ids(26), "creatorIds": ids(26), "executorIds": ids(26) } }),
            vec!["filter.project_ids", "filter.creator_ids", "filter.executor_ids"],
        ),
        (
            json!({ "filter": { "projectIds": [ids(1)[0], "x", ""] } }),
            vec!["filter.project_ids[1]", "filter.project_ids[2]"],
        ),
        (json!({ "filter": { "phases": vec![10; 10], "triggeredBy": vec![1; 5] } }), vec![]),
        (
            json!({ "filter": { "phases": vec![10; 11], "triggeredBy": vec![1; 6] } }),
            vec!["filter.phases", "filter.triggered_by"],
        ),
        (
            json!({ "filter": { "phases": [10, 11], "triggeredBy": [3] } }),
            vec!["filter.phases[1]", "filter.triggered_by[0]"],
        ),
    ] {
        let answer = bench.call("ListPrebuilds", body.clone()).await;
        let found = if answer.status == 200 { vec![] } else { fields(&answer.json()) };
        assert_eq!(found, violated, "{body}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn every_violation_is_told_at_once() {
    let bench = Bench::start().await;
    let body = json!({ "projectId": "nonsense", "environmentClassId": "", "spec": { "timeout": "1s", "desiredPhase": 1 } });
    let error = bench.refused("CreatePrebuild", body, "invalid_argument").await;
    assert_eq!(fields(&error), ["project_id", "environment_class_id", "spec.timeout", "spec.desired_phase"]);
    assert_eq!(error["details"][0]["debug"]["fieldViolations"][0]["field"], "project_id");
    let error = bench.refused("CreateWarmPool", json!({}), "invalid_argument").await;
    assert_eq!(fields(&error), ["project_id", "environment_class_id"]);
    for method in ["GetPrebuild", "CancelPrebuild", "DeletePrebuild", "CreatePrebuildLogsToken"] {
        assert_eq!(fields(&bench.refused(method, json!({}), "invalid_argument").await), ["prebuild_id"]);
    }
    for method in ["GetWarmPool", "UpdateWarmPool", "DeleteWarmPool"] {
        assert_eq!(fields(&bench.refused(method, json!({}), "invalid_argument").await), ["warm_pool_id"]);
    }
    bench.stop().await;
}

#[tokio::test]
async fn an_error_states_its_reason_in_a_detail() {
    let bench = Bench::start().await;
    let id = uuid::Uuid::nil().to_string();
    let answer = bench.call("GetPrebuild", json!({ "prebuildId": id })).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["content-type"]),
        (404, &"application/json".parse().unwrap())
    );
    let info: ErrorInfo = detail(&answer.json(), "google.rpc.ErrorInfo");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NOT_FOUND", DOMAIN));
    bench.stop().await;
}

#[tokio::test]
async fn without_the_rules_everything_is_let_through() {
    let bench = Bench::with(Rules::None, Life { step: STEP, warn_every: 0, fail_every: 0 }).await;
    let project = bench.project().id.to_string();
    let body = json!({ "projectId": project, "spec": { "timeout": "-1s", "desiredPhase": 11 } });
    bench.ok("CreatePrebuild", body).await;
    let list = json!({ "pagination": { "pageSize": -1 }, "filter": { "phases": [11] } });
    assert_eq!(bench.ok("ListPrebuilds", list).await, json!({}));
    let class = bench.project().classes[0].to_string();
    let body = json!({ "projectId": project, "environmentClassId": class, "minSize": i32::MIN, "maxSize": i32::MAX });
    bench.ok("CreateWarmPool", body).await;
    bench.steps(8);
    bench.ok("ListWarmPools", json!({ "pagination": { "pageSize": i32::MAX } })).await;
    bench.stop().await;
}
