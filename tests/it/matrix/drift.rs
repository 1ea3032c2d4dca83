//! Rows in which upstream knows more than this schema: OK, counted by name, and on record.

use prebuild_gateway::proto::gitpod::v1::PrebuildPhase;
use serde_json::json as value;

use crate::harness::{Answer, Gateway, ID, Upstream, create, get, json, request_id};

fn news() -> Answer {
    Answer::Bytes(json(
        200,
        &value!({"prebuild": {
            "id": ID,
            "novelty": {"nested": [1, null]},
            "status": {"phase": "PREBUILD_PHASE_HIBERNATING", "statusVersion": "9007199254740993"},
        }}),
    ))
}

#[tokio::test]
async fn read_unknown_field_and_enum_name() {
    let upstream = Upstream::start([news()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let response = gateway.client().await.get_prebuild(get()).await.unwrap();
    let id = request_id(response.metadata());
    let prebuild = response.into_inner().prebuild.unwrap();
    let status = prebuild.status.unwrap();
    assert_eq!((prebuild.id.as_str(), status.phase()), (ID, PrebuildPhase::Unspecified));
    assert_eq!(status.status_version, 9_007_199_254_740_993);
    counted(&gateway).await;
    on_record(&gateway.end().await.of(&id)[0]["end"]);
}

#[tokio::test]
async fn mutate_unknown_field_and_enum_name() {
    let upstream = Upstream::start([news()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let response = gateway.client().await.create_prebuild(create()).await.unwrap();
    let id = request_id(response.metadata());
    assert_eq!(response.into_inner().prebuild.unwrap().id, ID);
    counted(&gateway).await;
    on_record(&gateway.end().await.of(&id)[1]["end"]);
}

async fn counted(gateway: &Gateway) {
    for series in [
        r#"prebuild_gateway_unknown_fields_total{path="prebuild",name="novelty"}"#,
        concat!(
            r#"prebuild_gateway_unknown_enum_values_total{path="prebuild.status.phase","#,
            r#"name="PREBUILD_PHASE_HIBERNATING"}"#
        ),
    ] {
        assert_eq!(gateway.counted(series).await, 1, "{series}: {}", gateway.metrics().await);
    }
}

fn on_record(end: &serde_json::Value) {
    assert_eq!(end["code"], "OK");
    assert_eq!(
        end["drift"],
        value!(["prebuild.novelty", "prebuild.status.phase=PREBUILD_PHASE_HIBERNATING"]),
        "{end}"
    );
}
