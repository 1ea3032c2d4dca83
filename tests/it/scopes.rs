//! A known caller may call what the key's scopes cover, and is told what is missing for the rest.

use http::request::Builder;
use prebuild_gateway::{
    call::Scope,
    proto::gitpod::v1::CreatePrebuildLogsTokenRequest,
    rpc::{self, Class, MethodSpec},
};
use prost::Message as _;
use serde_json::json as value;
use tonic_types::pb;

use crate::harness::{
    ACME_KEY, Answer, Gateway, ID, Told, Upstream, create, get, json, policy,
    raw::{Raw, frame, framed},
    shown,
    spoken::DIALECTS,
};

async fn gateway(upstream: &Upstream, scopes: &[Scope]) -> Gateway {
    Gateway::with(upstream.address, |config| {
        config.identity.api_keys[0].scopes = scopes.to_vec();
        config.orgs[0].upstream_organization_id = Some(ID.to_owned());
    })
    .await
}

fn request(raw: &Raw, method: &MethodSpec) -> Builder {
    let request = raw.bare(method.path).header("content-type", "application/grpc");
    request.header("authorization", format!("Bearer {ACME_KEY}"))
}

/// Every method by every single class: allowed or refused by its own class, and nothing else.
#[tokio::test]
async fn a_class_covers_its_methods_and_no_others() {
    for class in Class::ALL {
        let upstream = Upstream::start([]).await;
        let gateway = gateway(&upstream, &[Scope::Class(class)]).await;
        let mut raw = Raw::connect(gateway.address).await;
        for method in rpc::methods() {
            // An empty message: what is in scope is judged further, and mostly found wanting.
            upstream.then(Answer::Bytes(json(200, &value!({}))));
            let status = raw.call(request(&raw, method), frame(0, b"")).await.grpc();
            let refused = status.reason().as_deref() == Some("SCOPE_MISSING");
            assert_eq!(refused, method.class != class, "{} by {class:?}: {status:?}", method.name);
            if refused {
                assert_eq!(status.code(), tonic::Code::PermissionDenied);
                assert_eq!(status.pushback(), Some("-1"), "no retry");
                let info: pb::ErrorInfo = status.detail("ErrorInfo").unwrap();
                assert_eq!(info.metadata["rule"], format!("scopes.{}", method.class.as_str()));
            }
        }
    }
}

#[tokio::test]
async fn a_single_method_is_a_scope_and_so_is_a_mixture() {
    let upstream = Upstream::start([]).await;
    let scopes = [Scope::Method("CreatePrebuildLogsToken"), Scope::Class(Class::Read)];
    let gateway = gateway(&upstream, &scopes).await;
    let mut client = gateway.client().await;
    let token = CreatePrebuildLogsTokenRequest { prebuild_id: ID.to_owned() };
    upstream.then(Answer::Bytes(json(200, &value!({"accessToken": "t"}))));
    client.create_prebuild_logs_token(token).await.unwrap();
    upstream.then(Answer::Bytes(shown()));
    client.get_prebuild(get()).await.unwrap();
    let refused = client.create_prebuild(create()).await.unwrap_err();
    assert_eq!(refused.reason().as_deref(), Some("SCOPE_MISSING"));
}

#[tokio::test]
async fn a_refusal_is_on_record_with_the_caller_and_the_same_in_every_protocol() {
    let upstream = Upstream::start([]).await;
    let gateway = gateway(&upstream, &[Scope::Class(Class::Read)]).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut told = Vec::new();
    let mut ids = Vec::new();
    for dialect in DIALECTS {
        let (json, wire) = (value!({"projectId": ID, "spec": {}}).to_string(), create().encode_to_vec());
        let body = dialect.body(if dialect.is_json() { json.as_bytes() } else { &wire });
        let answered = raw.call(dialect.request(&raw, "CreatePrebuild"), body).await;
        ids.push(answered.id());
        let spoken = dialect.read(answered);
        if dialect.is_connect() {
            assert_eq!(spoken.status, 403);
            assert_eq!(spoken.metadata["x-should-retry"], "false");
        }
        told.push(spoken.result.unwrap_err());
    }
    assert_eq!(told[0].reason.as_deref(), Some("SCOPE_MISSING"));
    assert!(told.iter().all(|wrong| *wrong == told[0]), "{told:#?}");
    assert!(upstream.seen().is_empty());
    let audited = gateway.end().await;
    assert_eq!(audited.stages(&ids[0]), ["reject"]);
    assert_eq!(audited.number_of("SCOPE_MISSING"), ids.len() as u64);
    for record in &audited.0 {
        let end = &record["end"];
        assert_eq!(
            value!([record["org"], record["subject"], record["credential"], record["method"]]),
            value!(["acme", "ci", "acme-ci", "gitpod.v1.PrebuildService/CreatePrebuild"]),
        );
        assert_eq!(
            value!([end["code"], end["reason"], end["rule"], end["forwarded"]]),
            value!(["PERMISSION_DENIED", "SCOPE_MISSING", "scopes.mutate", "no"]),
        );
    }
}

/// A caller must not make load for free by asking for what is not allowed.
#[tokio::test]
async fn what_is_out_of_scope_spends_the_rate_as_well() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy::tight("acme"), |config| {
        config.identity.api_keys[0].scopes = vec![Scope::Class(Class::Read)];
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut reasons = Vec::new();
    // One passes in a second; a busy machine may take long over a few.
    while reasons.len() < 100 && !reasons.contains(&Some("RATE_LIMITED".to_owned())) {
        let answered = raw.call(raw.grpc("CreatePrebuild"), framed(&create())).await;
        reasons.push(answered.grpc().reason());
    }
    assert_eq!(reasons[0].as_deref(), Some("SCOPE_MISSING"));
    assert_eq!(reasons.last().unwrap().as_deref(), Some("RATE_LIMITED"));
}
