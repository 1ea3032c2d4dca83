//! Warm pools: one per project and class, following snapshots, scaling between their bounds.

use serde_json::{Value, json};

use super::{Bench, STEP};
use crate::sandbox::{Life, Rules};

fn of(bench: &Bench, sizes: Value) -> Value {
    let mut body = json!({
        "projectId": bench.project().id.to_string(),
        "environmentClassId": bench.project().classes[0].to_string(),
    });
    body.as_object_mut().unwrap().extend(sizes.as_object().unwrap().clone());
    body
}

async fn create(bench: &Bench, sizes: Value) -> Value {
    bench.ok("CreateWarmPool", of(bench, sizes)).await["warmPool"].take()
}

async fn update(bench: &Bench, id: &Value, sizes: Value) -> Value {
    let mut body = json!({ "warmPoolId": id });
    body.as_object_mut().unwrap().extend(sizes.as_object().unwrap().clone());
    bench.ok("UpdateWarmPool", body).await["warmPool"]["spec"].take()
}

async fn get(bench: &Bench, id: &Value) -> Value {
    bench.ok("GetWarmPool", json!({ "warmPoolId": id })).await["warmPool"].take()
}

fn sizes(spec: &Value) -> [Option<i64>; 3] {
    ["desiredSize", "minSize", "maxSize"].map(|name| spec[name].as_i64())
}

#[tokio::test]
async fn a_pool_waits_for_a_snapshot_and_follows_the_newest() {
    let bench = Bench::start().await;
    let pool = create(&bench, json!({ "minSize": 1, "maxSize": 3 })).await;
    assert_eq!(pool["status"]["phase"], "WARM_POOL_PHASE_PENDING");
    assert_eq!(pool["spec"].get("snapshotId"), None);
    let build = json!({ "projectId": bench.project().id.to_string(), "spec": {} });
    let first = bench.ok("CreatePrebuild", build.clone()).await["prebuild"]["id"].take();
    bench.steps(2);
    let second = bench.ok("CreatePrebuild", build).await["prebuild"]["id"].take();
    assert_eq!(get(&bench, &pool["id"]).await["spec"].get("snapshotId"), None);
    bench.steps(2);
    let ready = get(&bench, &pool["id"]).await;
    assert_eq!(ready["status"]["phase"], "WARM_POOL_PHASE_READY");
    assert_eq!(ready["spec"]["snapshotId"], first);
    assert_eq!(
        (&ready["spec"]["specVersion"], &ready["status"]["statusVersion"]),
        (&json!("2"), &json!("2"))
    );
    bench.steps(2);
    assert_eq!(get(&bench, &pool["id"]).await["spec"]["snapshotId"], second);
    bench.ok("DeletePrebuild", json!({ "prebuildId": second })).await;
    assert_eq!(get(&bench, &pool["id"]).await["spec"]["snapshotId"], first);
    bench.stop().await;
}

#[tokio::test]
async fn running_instances_stay_between_min_and_max() {
    let bench = Bench::start().await;
    let build = json!({ "projectId": bench.project().id.to_string(), "spec": {} });
    bench.ok("CreatePrebuild", build).await;
    bench.steps(4);
    let pool = create(&bench, json!({ "minSize": 1, "maxSize": 3 })).await;
    let mut running = Vec::new();
    let mut version = 0;
    for _ in 0..8 {
        let status = get(&bench, &pool["id"]).await["status"].take();
        let number = |name: &str| status[name].as_i64().unwrap_or_default();
        assert!((1..=3).contains(&number("desiredSize")), "{status}");
        assert_eq!(number("runningInstances") + number("stoppedInstances"), 3);
        running.push(number("runningInstances"));
        let next: u64 = status["statusVersion"].as_str().unwrap().parse().unwrap();
        assert!(next >= version);
        version = next;
        bench.steps(1);
    }
    assert_eq!(running, [0, 1, 2, 2, 1, 2, 3, 2]);
    bench.stop().await;
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let bench = Bench::start().await;
    let pool = create(&bench, json!({ "minSize": 0, "maxSize": 5 })).await;
    assert_eq!(sizes(&pool["spec"]), [None, Some(0), Some(5)], "an explicit zero survives");
    let id = &pool["id"];
    assert_eq!(
        sizes(&update(&bench, id, json!({ "minSize": 2, "maxSize": null })).await),
        [None, Some(2), Some(5)]
    );
    assert_eq!(sizes(&update(&bench, id, json!({ "max_size": 4 })).await), [None, Some(2), Some(4)]);
    let unchanged = update(&bench, id, json!({})).await;
    assert_eq!((sizes(&unchanged), &unchanged["specVersion"]), ([None, Some(2), Some(4)], &json!("3")));
    bench.refused("UpdateWarmPool", json!({ "warmPoolId": id, "minSize": 5 }), "invalid_argument").await;
    assert_eq!(sizes(&update(&bench, id, json!({ "desiredSize": 7 })).await), [Some(7), Some(7), Some(7)]);
    assert_eq!(sizes(&update(&bench, id, json!({ "minSize": 0 })).await), [Some(7), Some(0), Some(7)]);
    assert_eq!(sizes(&update(&bench, id, json!({ "maxSize": 6 })).await), [None, Some(0), Some(6)]);
    bench.stop().await;
}

#[tokio::test]
async fn a_pool_of_the_old_kind_has_one_size() {
    let bench = Bench::start().await;
    let pool = create(&bench, json!({ "desiredSize": 3, "minSize": null })).await;
    assert_eq!(sizes(&pool["spec"]), [Some(3), None, None]);
    let id = &pool["id"];
    bench.refused("UpdateWarmPool", json!({ "warmPoolId": id, "minSize": 4 }), "invalid_argument").await;
    assert_eq!(sizes(&update(&bench, id, json!({ "desiredSize": 4 })).await), [Some(4), None, None]);
    assert_eq!(sizes(&update(&bench, id, json!({ "minSize": 1 })).await), [Some(4), Some(1), Some(4)]);
    bench.stop().await;
}

#[tokio::test]
async fn there_is_one_pool_until_its_deletion_is_through() {
    let bench = Bench::start().await;
    let pool = create(&bench, json!({ "minSize": 1, "maxSize": 1 })).await;
    let again = of(&bench, json!({ "minSize": 1, "maxSize": 1 }));
    bench.refused("CreateWarmPool", again.clone(), "already_exists").await;
    for _ in 0..2 {
        assert_eq!(bench.ok("DeleteWarmPool", json!({ "warmPoolId": pool["id"] })).await, json!({}));
    }
    assert_eq!(get(&bench, &pool["id"]).await["status"]["phase"], "WARM_POOL_PHASE_DELETING");
    let update = json!({ "warmPoolId": pool["id"], "minSize": 0 });
    bench.refused("UpdateWarmPool", update, "failed_precondition").await;
    bench.refused("CreateWarmPool", again.clone(), "already_exists").await;
    bench.steps(1);
    bench.refused("GetWarmPool", json!({ "warmPoolId": pool["id"] }), "not_found").await;
    bench.ok("CreateWarmPool", again).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_class_must_be_in_the_projects_configuration() {
    let bench = Bench::start().await;
    let foreign = bench.globex.projects[0].classes[0].to_string();
    let mut body = of(&bench, json!({ "minSize": 0, "maxSize": 1 }));
    body["environmentClassId"] = json!(foreign);
    let error = bench.refused("CreateWarmPool", body, "failed_precondition").await;
    assert_eq!(error["details"][0]["debug"]["reason"], "CLASS_NOT_CONFIGURED");
    let body =
        json!({ "projectId": bench.project().id.to_string(), "environmentClassId": foreign, "spec": {} });
    bench.refused("CreatePrebuild", body, "failed_precondition").await;
    bench.stop().await;
}

#[tokio::test]
async fn without_the_rules_a_pool_can_be_inverted_and_that_is_counted() {
    let bench = Bench::with(Rules::None, Life { step: STEP, warn_every: 0, fail_every: 0 }).await;
    let pool = create(&bench, json!({ "minSize": 1, "maxSize": 5 })).await;
    assert_eq!(bench.sandbox.inverted_pools(), 0);
    let spec = update(&bench, &pool["id"], json!({ "minSize": 6 })).await;
    assert_eq!(sizes(&spec), [None, Some(6), Some(5)]);
    assert_eq!(bench.sandbox.inverted_pools(), 1);
    bench.stop().await;
}
