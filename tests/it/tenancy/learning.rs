//! What upstream calls an org is known before anything of its calls is sent.

use std::time::Duration;

use prebuild_gateway::{proto::gitpod::v1::ListPrebuildsRequest, sandbox::Rules};

use super::*;
use crate::harness::{Sandboxed, soon, unknown_organizations};

const IDENTITY: &str = "/api/gitpod.v1.IdentityService/GetAuthenticatedIdentity";

fn is(organization: &str) -> Answer {
    Answer::Bytes(json(200, &value!({ "organizationId": organization })))
}

impl Bench {
    fn targets(&self) -> Vec<String> {
        self.upstream.seen().into_iter().map(|seen| seen.target).collect()
    }
}

#[tokio::test]
async fn the_first_call_asks_and_the_answer_is_judged_by_it() {
    let mut bench = Bench::with(unknown_organizations).await;
    bench.upstream.then(is(&ours()));
    let answered = bench.call(GRPC, "GetPrebuild", shows("prebuild", &own(ID))).await;
    let first = answered.id();
    assert!(GRPC.read(answered).result.is_ok());
    let wrong = bench.told(JSON, "GetPrebuild", shows("prebuild", &foreign(ID))).await.result.unwrap_err();
    assert_eq!(wrong.reason.as_deref(), Some("NOT_FOUND"));
    let get = "/api/gitpod.v1.PrebuildService/GetPrebuild";
    assert_eq!(bench.targets(), [IDENTITY, get, get]);
    let asked = &bench.upstream.seen()[0];
    assert_eq!((&asked.body, asked.header("authorization")), (&value!({}), Some("Bearer acme-token")));
    let audited = bench.gateway.end().await;
    assert_eq!(audited.of(&first)[0]["attempts"], value!([{"kind": "organization"}]));
}

#[tokio::test]
async fn without_it_nothing_is_forwarded() {
    let mut bench = Bench::with(unknown_organizations).await;
    let said = |status, body| Answer::Bytes(json(status, &body));
    let busy = || said(503, value!({"code": "unavailable", "message": CANARY}));
    let denied = || said(403, value!({"code": "permission_denied", "message": CANARY}));
    let unknown = || said(401, value!({"code": "unauthenticated", "message": CANARY}));
    let cases = [
        (busy(), 14, "ORGANIZATION_UNKNOWN"),
        (denied(), 14, "ORGANIZATION_UNKNOWN"),
        (Answer::Reset(Vec::new()), 14, "ORGANIZATION_UNKNOWN"),
        (unknown(), 13, "UPSTREAM_CREDENTIAL"),
        (said(200, value!({})), 13, "UPSTREAM_INVALID_RESPONSE"),
    ];
    let mut asked = 0;
    for (answer, code, reason) in cases {
        for method in ["CreatePrebuild", "GetPrebuild", "CreatePrebuildLogsToken", "ListPrebuilds"] {
            let answered = bench.call(GRPC, method, answer.clone()).await;
            asked += 1;
            assert!(!format!("{answered:?}").contains(CANARY), "{answered:?}");
            let id = answered.id();
            let wrong = GRPC.read(answered).result.unwrap_err();
            assert_eq!((wrong.code, wrong.reason.as_deref()), (code, Some(reason)), "{method}");
            if method == "CreatePrebuild" {
                let audited = bench.gateway.audited();
                assert!(audited.of(&id).iter().all(|record| record["stage"] == "reject"), "{audited:?}");
            }
        }
    }
    assert_eq!(bench.targets(), vec![IDENTITY; asked]);
    // A failure is not remembered.
    bench.upstream.then(is(&ours()));
    assert!(bench.told(GRPC, "GetPrebuild", shows("prebuild", &own(ID))).await.result.is_ok());
    let audited = bench.gateway.end().await;
    let kept = audited.0.iter().filter(|record| record["end"]["forwarded"] == "no");
    let kept: u64 = kept.map(|record| record["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(kept, asked as u64);
}

#[tokio::test]
async fn what_the_identity_service_learns_counts_too() {
    let mut bench = Bench::with(unknown_organizations).await;
    bench.upstream.then(is(&ours()));
    let request = bench
        .raw
        .bare("/gitpod.v1.IdentityService/GetAuthenticatedIdentity")
        .header("content-type", JSON.0)
        .header("authorization", format!("Bearer {ACME_KEY}"));
    assert!(JSON.read(bench.raw.call(request, "{}").await).result.is_ok());
    assert!(bench.told(GRPC, "GetPrebuild", shows("prebuild", &own(ID))).await.result.is_ok());
    assert_eq!(bench.upstream.seen().len(), 2);
}

#[tokio::test]
async fn asked_in_the_background_no_call_has_to() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let gateway = Gateway::with(upstream.address, unknown_organizations).await;
    gateway.app.learn_organizations(Duration::from_millis(10));
    // The gateway has the answers, not only upstream the questions.
    let answered =
        "prebuild_gateway_upstream_request_duration_seconds_count{method=\"GetAuthenticatedIdentity\"}";
    soon(async { while gateway.counted(answered).await < 2 {} }).await;
    let mut client = gateway.client().await;
    client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
    assert_eq!(upstream.sandbox.executed("GetAuthenticatedIdentity"), 2);
}
