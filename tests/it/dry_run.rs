//! Who asks what would become of a call is told, in every protocol, and nothing is done.

use http::request::Builder;
use prebuild_gateway::{
    call::Scope,
    proto::prebuildgateway::v1::Verdict,
    rpc::{self, Class, MethodSpec},
};
use prost::Message as _;
use serde_json::json as value;

use crate::harness::{
    Gateway, ID, Told, Upstream, create,
    raw::{Raw, frame},
    spoken::{DIALECTS, Dialect},
};

const DRY_RUN: &str = "x-policy-dry-run";

async fn gateway(upstream: &Upstream, scopes: &[Scope]) -> Gateway {
    Gateway::with(upstream.address, |config| config.identity.api_keys[0].scopes = scopes.to_vec()).await
}

fn creation(dialect: Dialect) -> Vec<u8> {
    let (json, wire) = (value!({"projectId": ID, "spec": {}}).to_string(), create().encode_to_vec());
    dialect.body(if dialect.is_json() { json.as_bytes() } else { &wire }).into()
}

#[tokio::test]
async fn in_every_protocol_the_verdict_is_an_error_and_nothing_is_forwarded() {
    let upstream = Upstream::start([]).await;
    let gateway = gateway(&upstream, &[Scope::Class(Class::Mutate), Scope::Explain]).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut ids = Vec::new();
    for dialect in DIALECTS {
        let request = dialect.request(&raw, "CreatePrebuild").header(DRY_RUN, "1");
        let answered = raw.call(request, creation(dialect)).await;
        ids.push(answered.id());
        let wrong = dialect.read(answered).result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (9, Some("DRY_RUN")), "{dialect:?}");
        assert!(wrong.details.iter().any(|name| name.ends_with("prebuildgateway.v1.Verdict")), "{wrong:?}");
    }
    assert!(upstream.seen().is_empty());
    let audited = gateway.end().await;
    assert_eq!(audited.stages(&ids[0]), ["reject"]);
    assert!(audited.0.iter().all(|record| record["dry_run"] == true));
    assert_eq!(audited.number_of("DRY_RUN"), ids.len() as u64);
}

#[tokio::test]
async fn connect_shows_the_verdict_to_people_as_well() {
    let upstream = Upstream::start([]).await;
    let gateway = gateway(&upstream, &[Scope::Class(Class::Mutate), Scope::Explain]).await;
    let mut raw = Raw::connect(gateway.address).await;
    let dialect = Dialect("application/json");
    let request = dialect.request(&raw, "CreatePrebuild").header(DRY_RUN, "1");
    let body = raw.call(request, creation(dialect)).await.body;
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let details = error["details"].as_array().unwrap();
    let verdict = details.iter().find(|detail| detail["type"] == "prebuildgateway.v1.Verdict").unwrap();
    assert_eq!(verdict["debug"]["allowed"], true);
    assert_eq!(verdict["debug"]["requestJson"], value!({"projectId": ID, "spec": {}}).to_string());
}

#[tokio::test]
async fn a_value_that_is_neither_is_refused_before_anything_is_done() {
    let upstream = Upstream::start([]).await;
    let gateway = gateway(&upstream, &[Scope::Class(Class::Mutate), Scope::Explain]).await;
    let mut raw = Raw::connect(gateway.address).await;
    let twice = |request: Builder| request.header(DRY_RUN, "1").header(DRY_RUN, "1");
    for dialect in DIALECTS {
        for value in ["", "true", "2", " 1 1", "01"] {
            let request = dialect.request(&raw, "CreatePrebuild").header(DRY_RUN, value);
            let wrong = dialect.read(raw.call(request, creation(dialect)).await).result.unwrap_err();
            assert_eq!((wrong.code, wrong.reason.as_deref()), (3, Some("DRY_RUN_MALFORMED")), "{value:?}");
        }
        let request = twice(dialect.request(&raw, "CreatePrebuild"));
        let wrong = dialect.read(raw.call(request, creation(dialect)).await).result.unwrap_err();
        assert_eq!(wrong.reason.as_deref(), Some("DRY_RUN_MALFORMED"));
    }
    assert!(upstream.seen().is_empty());
}

/// No method is forwarded, whatever its message: an empty one is found wanting, and that is the verdict.
#[tokio::test]
async fn no_method_of_the_table_is_forwarded() {
    let upstream = Upstream::start([]).await;
    let every = [Class::Read, Class::Mutate, Class::Secret].map(Scope::Class);
    let gateway = gateway(&upstream, &[&every[..], &[Scope::Explain]].concat()).await;
    let mut raw = Raw::connect(gateway.address).await;
    let ask = |raw: &Raw, method: &MethodSpec| {
        let request = raw.bare(method.path).header("content-type", "application/grpc").header(DRY_RUN, "1");
        request.header("authorization", format!("Bearer {}", crate::harness::ACME_KEY))
    };
    for method in rpc::methods() {
        let status = raw.call(ask(&raw, method), frame(0, b"")).await.grpc();
        assert_eq!(status.reason().as_deref(), Some("DRY_RUN"), "{}", method.name);
        let verdict = status.all_details().into_iter().find(|(url, _)| url.ends_with(".Verdict")).unwrap();
        let verdict = Verdict::decode(&verdict.1[..]).unwrap();
        assert_eq!(verdict.allowed, method.requires.is_empty(), "{}: {verdict:?}", method.name);
        assert_eq!(
            verdict.refusal.map(|refusal| refusal.reason),
            (!method.requires.is_empty()).then(|| "GUARDRAIL".to_owned())
        );
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn without_the_scope_nothing_is_told() {
    let upstream = Upstream::start([]).await;
    let gateway = gateway(&upstream, &[Scope::Class(Class::Mutate)]).await;
    let mut raw = Raw::connect(gateway.address).await;
    for dialect in DIALECTS {
        let request = dialect.request(&raw, "CreatePrebuild").header(DRY_RUN, "1");
        let wrong = dialect.read(raw.call(request, creation(dialect)).await).result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (7, Some("SCOPE_MISSING")));
        assert!(wrong.details.iter().all(|name| !name.ends_with("Verdict")));
    }
    assert!(upstream.seen().is_empty());
}
