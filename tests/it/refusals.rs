//! Every refusal is on record exactly once, whichever plane refused; intents come before upstream is asked, outcomes
//! before the caller is answered.

use bytes::Bytes;
use prebuild_gateway::proto::gitpod::v1::{
    CreatePrebuildLogsTokenRequest, CreatePrebuildRequest, PrebuildSpec,
};
use prebuild_gateway::{config::Config, policy::Stricter};
use prost_types::Duration;
use serde_json::{Value, json as value};
use tokio::net::TcpListener;

use crate::harness::{
    Answer, GLOBEX_KEY, Gateway, ID, Told, Upstream, create, get, json, policy,
    raw::{Answered, Raw, frame, framed},
    request_id, shown,
};

/// What a refusal of one kind must leave in the log.
struct Refused {
    what: &'static str,
    id: String,
    reason: &'static str,
    method: Option<&'static str>,
    org: Option<&'static str>,
}

const CREATE: &str = "gitpod.v1.PrebuildService/CreatePrebuild";

/// All calls in flight at once: one.
fn narrow(config: &mut Config) {
    config.limits.in_flight = 1;
    config.validation.stricter = Stricter::Enforce;
}

fn timeout(seconds: i64) -> Bytes {
    let spec = PrebuildSpec { timeout: Some(Duration { seconds, nanos: 0 }), ..Default::default() };
    framed(&CreatePrebuildRequest { spec: Some(spec), ..create() })
}

/// Sends one of each kind that never asks upstream.
async fn one_of_each(raw: &mut Raw) -> Vec<Refused> {
    let path = "/gitpod.v1.PrebuildService/CreatePrebuild";
    let acme = |raw: &Raw| raw.grpc("CreatePrebuild");
    let (create, large) = (framed(&create()), frame(0, &[0; (64 << 10) + 1]));
    let cases = [
        ("unauthenticated", raw.bare(path).header("content-type", "application/grpc"), create.clone()),
        ("unknown method", raw.grpc("StartPrebuild"), create.clone()),
        ("HTTP method", acme(raw).method("PUT"), create.clone()),
        ("content type", acme(raw).header("content-type", "text/html"), create.clone()),
        ("malformed frame", acme(raw), frame(7, b"x")),
        ("oversize", acme(raw), large),
        ("malformed timeout", acme(raw).header("grpc-timeout", "soon"), create.clone()),
        ("malformed message", acme(raw), frame(0, &[0x0a, 9])),
        ("two messages", acme(raw), [&create[..], &create[..]].concat().into()),
        ("encoding", acme(raw).header("grpc-encoding", "br"), create.clone()),
        ("unknown field", acme(raw), frame(0, &[0x98, 0x06, 1])),
        ("guardrail", acme(raw), timeout(7_201)),
        ("stricter", acme(raw), timeout(299)),
    ];
    let told = [
        ("UNAUTHENTICATED", None, None),
        ("UNKNOWN_METHOD", None, Some("acme")),
        ("METHOD_NOT_ALLOWED", None, Some("acme")),
        ("UNSUPPORTED_PROTOCOL", Some(CREATE), Some("acme")),
        ("MALFORMED_FRAME", Some(CREATE), Some("acme")),
        ("MESSAGE_TOO_LARGE", Some(CREATE), Some("acme")),
        ("MALFORMED_TIMEOUT", None, None),
        ("MALFORMED_MESSAGE", Some(CREATE), Some("acme")),
        ("MESSAGE_COUNT", Some(CREATE), Some("acme")),
        ("UNSUPPORTED_ENCODING", Some(CREATE), Some("acme")),
        ("UNKNOWN_FIELD", Some(CREATE), Some("acme")),
        ("GUARDRAIL", Some(CREATE), Some("acme")),
        ("STRICTER_BOUND", Some(CREATE), Some("acme")),
    ];
    let mut all = Vec::new();
    for ((what, request, body), (reason, method, org)) in cases.into_iter().zip(told) {
        let id = raw.call(request, body).await.id();
        all.push(Refused { what, id, reason, method, org });
    }
    all
}

/// While one call is in flight there is no room for a second.
async fn overloaded(raw: &mut Raw, upstream: &Upstream) -> Refused {
    let (gate, answer) = Answer::held(shown());
    upstream.then(answer);
    let held = raw.begin(raw.grpc("GetPrebuild"), Some(framed(&get()))).await;
    upstream.arrived(1).await;
    let answered = raw.call(raw.grpc("GetPrebuild"), framed(&get())).await;
    let status = answered.grpc();
    assert_eq!(status.reason().as_deref(), Some("OVERLOADED"));
    assert_eq!((status.code(), status.pushback()), (tonic::Code::Unavailable, None), "safe to try again");
    gate.cancel();
    assert_eq!(held.answered().await.grpc().code(), tonic::Code::Ok);
    Refused { what: "overloaded", id: answered.id(), reason: "OVERLOADED", method: None, org: None }
}

/// The second call of globex, which has one.
async fn rate_limited(gateway: &Gateway, upstream: &Upstream) -> Refused {
    let mut client = gateway.client_of(GLOBEX_KEY).await;
    // A machine that sleeps for a second between two calls gives one back: then the next is too many.
    for _ in 0..5 {
        upstream.then(Answer::Bytes(shown()));
        let Err(status) = client.get_prebuild(get()).await else { continue };
        assert_eq!(status.reason().as_deref(), Some("RATE_LIMITED"), "{status:?}");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.wait().is_some_and(|wait| wait.as_millis() <= 1_000), "{status:?}");
        let quota: tonic_types::pb::QuotaFailure = status.detail("QuotaFailure").unwrap();
        assert_eq!(quota.violations[0].subject, "org:globex");
        let millis: u64 = status.pushback().unwrap().parse().unwrap();
        assert!((1..=1_000).contains(&millis));
        let method = Some("gitpod.v1.PrebuildService/GetPrebuild");
        return Refused {
            what: "rate",
            id: status.id(),
            reason: "RATE_LIMITED",
            method,
            org: Some("globex"),
        };
    }
    unreachable!("the rate is never used up")
}

#[tokio::test]
async fn one_of_each_kind_is_on_record_once() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy::tight("globex"), narrow).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut refused = one_of_each(&mut raw).await;
    assert!(upstream.seen().is_empty());
    refused.push(overloaded(&mut raw, &upstream).await);
    refused.push(rate_limited(&gateway, &upstream).await);
    let audited = gateway.end().await;
    for Refused { what, id, reason, method, org } in refused {
        let records = audited.of(&id);
        assert_eq!(records.len(), 1, "{what}: {records:#?}");
        let Value::Object(record) = records[0] else { unreachable!("a record is an object") };
        assert_eq!(record["stage"], "reject", "{what}");
        let end = &record["end"];
        let told = (end["reason"].as_str(), end["forwarded"].as_str(), end["decision"].as_str());
        assert_eq!(told, (Some(reason), Some("no"), Some("refused")), "{what}: {end}");
        let named = |key: &str| record.get(key).and_then(Value::as_str);
        assert_eq!((named("method"), named("org")), (method, org), "{what}: {record:?}");
        assert!(named("peer").is_some() && end["latency_us"].is_u64(), "{what}: {record:?}");
    }
}

/// A read that upstream is too slow for, and one whose caller leaves: they went out, and are on record once.
#[tokio::test]
async fn reads_that_nobody_waits_for() {
    let upstream = Upstream::start([Answer::silence(), Answer::silence()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    let late = raw.call(raw.grpc("GetPrebuild").header("grpc-timeout", "100m"), framed(&get())).await;
    upstream.abandoned(1).await;
    let pending = raw.begin(raw.grpc("GetPrebuild"), Some(framed(&get()))).await;
    upstream.arrived(2).await;
    drop(pending);
    upstream.abandoned(2).await;
    let audited = gateway.end().await;
    assert_eq!(audited.0.len(), 2, "{audited:#?}");
    let reasons = audited.0.iter().map(|record| (&record["stage"], &record["end"]["reason"]));
    assert!(reasons.eq([
        (&value!("outcome"), &value!("DEADLINE_EXCEEDED")),
        (&value!("outcome"), &value!("CALLER_GONE"))
    ]));
    assert_eq!(audited.0[0]["request_id"], late.id());
    assert!(audited.0.iter().all(|record| record["end"]["forwarded"] == "maybe"));
}

#[tokio::test]
async fn upstream_is_unreachable() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = Gateway::start(nobody).await;
    let mut client = gateway.client().await;
    let read = client.get_prebuild(get()).await.unwrap_err().id();
    let change = client.create_prebuild(create()).await.unwrap_err().id();
    let audited = gateway.end().await;
    assert_eq!(audited.stages(&read), ["reject"]);
    assert_eq!(audited.stages(&change), ["intent", "outcome"], "an intent is always closed");
    for id in [read, change] {
        let end = &audited.of(&id).last().unwrap()["end"];
        assert_eq!((&end["reason"], &end["forwarded"]), (&value!("UPSTREAM_UNREACHABLE"), &value!("no")));
    }
}

/// Promises P1 and P2, as far as a test without a power cut can see them.
#[tokio::test]
async fn the_intent_comes_first_and_the_outcome_before_the_answer() {
    let secret = "CANARY-of-a-token";
    let token = Answer::Bytes(json(200, &value!({"accessToken": secret})));
    let upstream = Upstream::start([Answer::Bytes(shown()), token]).await;
    let gateway = Gateway::start(upstream.address).await;
    upstream.witness(gateway.audit().to_owned());
    let mut client = gateway.client().await;

    let response = client.create_prebuild(create()).await.unwrap();
    let created = request_id(response.metadata());
    assert_eq!(gateway.audited().stages(&created), ["intent", "outcome"]);
    let request = CreatePrebuildLogsTokenRequest { prebuild_id: ID.to_owned() };
    let response = client.create_prebuild_logs_token(request).await.unwrap();
    let issued = request_id(response.metadata());
    assert_eq!(response.into_inner().access_token, secret);
    assert_eq!(gateway.audited().stages(&issued), ["intent", "outcome"]);

    for (seen, id) in upstream.seen().iter().zip([&created, &issued]) {
        assert_eq!(seen.audited.stages(id), ["intent"], "on disk when its first byte arrived");
    }
    assert!(!gateway.audited_text().contains("CANARY"), "a secret is never at rest");
}

/// An answer has an id also where it is no gRPC.
#[tokio::test]
async fn every_answer_has_an_id() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    let answered: Answered = raw.call(raw.bare("/"), Bytes::new()).await;
    assert_eq!(answered.status, 401);
    assert_eq!(gateway.end().await.stages(&answered.id()), ["reject"]);
}
