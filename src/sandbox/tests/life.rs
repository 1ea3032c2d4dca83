//! A prebuild from its creation to its end.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACME, Bench, STEP};
use crate::sandbox::{Life, Rules};

async fn create(bench: &Bench) -> Value {
    let body = json!({ "projectId": bench.project().id.to_string(), "spec": {} });
    bench.ok("CreatePrebuild", body).await["prebuild"].take()
}

async fn status(bench: &Bench, id: &Value) -> Value {
    bench.ok("GetPrebuild", json!({ "prebuildId": id })).await["prebuild"]["status"].take()
}

#[tokio::test]
async fn a_prebuild_walks_through_its_phases() {
    let bench = Bench::start().await;
    let prebuild = create(&bench).await;
    assert_eq!(prebuild["metadata"]["organizationId"], bench.acme.organization_id.to_string());
    assert_eq!(prebuild["metadata"]["environmentClassId"], bench.project().classes[0].to_string());
    assert_eq!(prebuild["metadata"]["createdAt"], "2023-11-14T22:13:20.123456789Z");
    assert_eq!(prebuild["metadata"]["triggeredBy"], "PREBUILD_TRIGGER_MANUAL");
    assert_eq!(prebuild["metadata"]["creator"]["principal"], "PRINCIPAL_SERVICE_ACCOUNT");
    assert_eq!(prebuild["spec"]["timeout"], "3600s");
    assert_eq!(prebuild["spec"]["specVersion"], "1");
    let mut walked = Vec::new();
    for _ in 0..18 {
        let status = status(&bench, &prebuild["id"]).await;
        let phase = status["phase"].as_str().unwrap().trim_start_matches("PREBUILD_PHASE_").to_owned();
        let seen = (phase, status["snapshotCompletionPercentage"].as_i64(), status["statusVersion"].clone());
        if walked.last() != Some(&seen) {
            walked.push(seen);
        }
        bench.clock.advance(STEP / 4);
    }
    let expected = [
        ("PENDING", None, "1"),
        ("STARTING", None, "2"),
        ("RUNNING", None, "3"),
        ("SNAPSHOTTING", None, "4"),
        ("SNAPSHOTTING", Some(25), "5"),
        ("SNAPSHOTTING", Some(50), "6"),
        ("SNAPSHOTTING", Some(75), "7"),
        ("COMPLETED", None, "8"),
    ];
    assert_eq!(walked, expected.map(|(phase, percent, version)| (phase.to_owned(), percent, json!(version))));
    let done = bench.ok("GetPrebuild", json!({ "prebuild_id": prebuild["id"] })).await["prebuild"].take();
    assert_eq!(done["status"]["completionTime"], "2023-11-14T22:20:00.123456789Z");
    assert_eq!(done["metadata"]["updatedAt"], done["status"]["completionTime"]);
    let bytes: u64 = done["status"]["snapshotSizeBytes"].as_str().unwrap().parse().unwrap();
    assert!(bytes > u64::from(u32::MAX));
    assert!(done["status"]["environmentId"].is_string());
    assert_eq!(bench.sandbox.executed("CreatePrebuild"), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_cancellation_takes_its_time_and_comes_too_late_at_the_end() {
    let bench = Bench::start().await;
    let id = create(&bench).await["id"].take();
    bench.steps(2);
    for _ in 0..2 {
        let cancelled = bench.ok("CancelPrebuild", json!({ "prebuildId": id })).await["prebuild"].take();
        assert_eq!(cancelled["status"]["phase"], "PREBUILD_PHASE_CANCELLING");
        assert_eq!(cancelled["status"]["statusVersion"], "4");
        assert_eq!(cancelled["spec"]["desiredPhase"], "PREBUILD_PHASE_CANCELLED");
        assert_eq!(cancelled["spec"]["specVersion"], "2");
    }
    bench.steps(1);
    let over = status(&bench, &id).await;
    assert_eq!(over["phase"], "PREBUILD_PHASE_CANCELLED");
    assert_eq!(over["statusVersion"], "5");
    assert!(over["completionTime"].is_string());
    bench.refused("CancelPrebuild", json!({ "prebuildId": id }), "failed_precondition").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_deletion_takes_its_time_and_then_nothing_is_there() {
    let bench = Bench::start().await;
    let id = create(&bench).await["id"].take();
    bench.steps(4);
    for _ in 0..2 {
        assert_eq!(bench.ok("DeletePrebuild", json!({ "prebuildId": id })).await, json!({}));
    }
    assert_eq!(status(&bench, &id).await["phase"], "PREBUILD_PHASE_DELETING");
    bench.refused("CancelPrebuild", json!({ "prebuildId": id }), "failed_precondition").await;
    bench.steps(1);
    for method in ["GetPrebuild", "CancelPrebuild", "DeletePrebuild", "CreatePrebuildLogsToken"] {
        bench.refused(method, json!({ "prebuildId": id }), "not_found").await;
    }
    assert_eq!(bench.ok("ListPrebuilds", json!({})).await, json!({}));
    bench.stop().await;
}

#[tokio::test]
async fn a_timeout_ends_a_prebuild() {
    let bench = Bench::start().await;
    let spec = json!({ "timeout": "300.500s" });
    let body = json!({ "project_id": bench.project().id.to_string(), "spec": spec });
    let prebuild = bench.ok("CreatePrebuild", body).await["prebuild"].take();
    assert_eq!(prebuild["spec"]["timeout"], "300.500s");
    bench.steps(4);
    let status = status(&bench, &prebuild["id"]).await;
    assert_eq!(status["phase"], "PREBUILD_PHASE_FAILED");
    assert_eq!(status["failureMessage"], "prebuild did not complete within its timeout of 300.500s");
    bench.refused("CancelPrebuild", json!({ "prebuildId": prebuild["id"] }), "failed_precondition").await;
    bench.stop().await;
}

#[tokio::test]
async fn every_so_many_prebuilds_warn_or_fail() {
    let bench =
        Bench::with(Rules::Official, Life { step: Duration::ZERO, warn_every: 2, fail_every: 3 }).await;
    let mut ends = Vec::new();
    for _ in 0..4 {
        let status = create(&bench).await["status"].take();
        ends.push((status["phase"].clone(), status["warningMessage"].is_string()));
    }
    let (completed, failed) = (json!("PREBUILD_PHASE_COMPLETED"), json!("PREBUILD_PHASE_FAILED"));
    assert_eq!(
        ends,
        [(completed.clone(), false), (completed.clone(), true), (failed, false), (completed, true)]
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_logs_token_opens_one_prebuilds_logs_for_an_hour() {
    let bench = Bench::start().await;
    let (prebuild, other) = (create(&bench).await, create(&bench).await);
    let request = json!({ "prebuildId": prebuild["id"] });
    let token = bench.ok("CreatePrebuildLogsToken", request.clone()).await["accessToken"].take();
    assert_ne!(bench.ok("CreatePrebuildLogsToken", request).await["accessToken"], token);
    let fetch = |url: &Value, token: &str| {
        let request =
            http::Request::get(url.as_str().unwrap()).header("authorization", format!("Bearer {token}"));
        bench.send(request.body("".into()).unwrap())
    };
    let (token, url) = (token.as_str().unwrap(), &prebuild["status"]["logUrl"]);
    assert_eq!(fetch(url, token).await.unwrap().status, 200);
    assert_eq!(fetch(url, ACME).await.unwrap().status, 401);
    assert_eq!(fetch(&other["status"]["logUrl"], token).await.unwrap().status, 401);
    bench.clock.advance(Duration::from_secs(3600));
    assert_eq!(fetch(url, token).await.unwrap().status, 401);
    bench.stop().await;
}
