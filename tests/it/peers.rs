//! Refusals are bounded for each peer's address, and nobody else notices.

use std::{net::Ipv4Addr, num::NonZeroU32, time::Instant};

use http::Method;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client as Plain, rt::TokioExecutor};
use prebuild_gateway::{config::Config, front::reflect, rule::Rate, sandbox::Rules};
use serde_json::Value;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{
    Gateway, Sandboxed, Told, policy,
    raw::{Answered, Raw, frame},
    soon,
    spoken::DIALECTS,
};

const LIMITED: &str = "prebuild_gateway_peer_limited_total";
/// Refusals that each address has here.
const BURST: u32 = 10;
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn narrow(config: &mut Config) {
    // A call a second is the slowest refill there is: the burst is spent in far less.
    config.limits.refusals = Rate::per_second(NonZeroU32::MIN, NonZeroU32::new(BURST).unwrap());
    config.reflection = reflect::Config { enabled: true };
    config.cors.origins = vec!["https://console.example.com".to_owned().try_into().unwrap()];
}

async fn gateway() -> (Gateway, Sandboxed) {
    let upstream = Sandboxed::start(Rules::default()).await;
    (Gateway::with(upstream.address, narrow).await, upstream)
}

/// A stranger's call.
async fn unknown(raw: &mut Raw) -> Answered {
    let request = raw.bare("/gitpod.v1.PrebuildService/ListPrebuilds");
    let request =
        request.header("content-type", "application/grpc").header("authorization", "Bearer made-up");
    raw.call(request.header("x-forwarded-for", uuid::Uuid::new_v4().to_string()), frame(0, b"")).await
}

/// A call of acme's that is no message.
async fn unreadable(raw: &mut Raw) -> Answered {
    raw.call(raw.grpc("ListPrebuilds"), frame(0, b"\xff\xff")).await
}

async fn list(raw: &mut Raw) -> Code {
    raw.call(raw.grpc("ListPrebuilds"), frame(0, b"")).await.grpc().code()
}

/// Spends all that the address has. A refill may come in between.
async fn spend(raw: &mut Raw) {
    for _ in 0..10 * BURST {
        if unknown(raw).await.grpc().reason().as_deref() == Some("PEER_LIMITED") {
            return;
        }
    }
    panic!("never limited");
}

#[tokio::test]
async fn a_flood_of_refusals_touches_no_valid_caller_and_no_other_address() {
    let (gateway, _upstream) = gateway().await;
    let mut raw = Raw::from(HERE, gateway.address).await;
    let (mut limited, begun) = (0, Instant::now());
    for round in 0..200 {
        let refused = if round % 2 == 0 { unknown(&mut raw).await } else { unreadable(&mut raw).await };
        let status = refused.grpc();
        let reason = status.reason().unwrap();
        if reason == "PEER_LIMITED" {
            limited += 1;
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert_eq!(refused.headers["grpc-retry-pushback-ms"], "-1", "the next is no better");
        } else {
            assert!(["UNAUTHENTICATED", "MALFORMED_MESSAGE"].contains(&&*reason), "{reason}");
        }
        assert_eq!(list(&mut raw).await, Code::Ok, "a caller on the very same connection");
    }
    let mut other = Raw::from(THERE, gateway.address).await;
    assert_eq!(unknown(&mut other).await.grpc().reason().as_deref(), Some("UNAUTHENTICATED"));
    // The burst, and one for each second that it took; the strangers', and acme's.
    let passed = 2 * (u64::from(BURST) + begun.elapsed().as_secs() + 1);
    assert!(limited + passed >= 200, "{limited}");
    assert_eq!(gateway.counted(LIMITED).await, limited);

    // Nothing is missing from the log: what is not there one by one is counted.
    let records = gateway.end().await.0;
    let refused = records.iter().filter(|record| record["end"]["code"] != "OK");
    let stands_for = |record: &Value| record["count"].as_u64().unwrap_or(1);
    assert_eq!(refused.clone().map(stands_for).sum::<u64>(), 201);
    let told = refused.clone().filter(|record| record["end"]["reason"] == "PEER_LIMITED");
    assert_eq!(told.map(stands_for).sum::<u64>(), limited);
    assert!(refused.count() < 20, "a flood is folded");
}

#[tokio::test]
async fn whoever_is_limited_is_told_so_in_every_protocol() {
    let (gateway, _upstream) = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    spend(&mut raw).await;
    for dialect in DIALECTS {
        // One more may have come in between: then this is refused as ever, and the next is not.
        let mut told = None;
        for _ in 0..10 {
            let mut request = dialect.request(&raw, "ListPrebuilds");
            request.headers_mut().unwrap().remove("authorization");
            let answered = raw.call(request, dialect.body(b"")).await;
            let headers = answered.headers.clone();
            let spoken = dialect.read(answered);
            let wrong = spoken.result.unwrap_err();
            let is_limited = wrong.reason.as_deref() != Some("UNAUTHENTICATED");
            told = Some((headers, spoken.status, wrong));
            if is_limited {
                break;
            }
        }
        let (headers, status, wrong) = told.unwrap();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (8, Some("PEER_LIMITED")), "{dialect:?}");
        assert_eq!(wrong.message, "too many refused requests from this address");
        assert!(!wrong.details.iter().any(|name| name.ends_with("RetryInfo")), "{dialect:?}");
        if dialect.is_connect() {
            assert_eq!((status, headers["x-should-retry"].to_str().unwrap()), (429, "false"));
            assert!(!headers.contains_key("retry-after"));
        }
    }
}

/// What the gateway refuses for reasons of its own, or of a call, is not the peer's.
#[tokio::test]
async fn calls_that_are_refused_spend_nothing() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let gateway = Gateway::with_policy(upstream.address, &policy::tight("globex"), narrow).await;
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..2 * BURST {
        // A bad id, and an org that is limited itself.
        let bad = raw.call(raw.grpc("GetPrebuild"), frame(0, b"\x0a\x01x")).await.grpc();
        assert_eq!(bad.reason().as_deref(), Some("GUARDRAIL"));
        let request = raw.bare("/gitpod.v1.PrebuildService/ListPrebuilds");
        let request = request.header("content-type", "application/grpc");
        let request = request.header("authorization", format!("Bearer {}", crate::harness::GLOBEX_KEY));
        let _limited_or_not = raw.call(request, frame(0, b"")).await;
    }
    assert_eq!(gateway.counted(LIMITED).await, 0);
    assert_eq!(unknown(&mut raw).await.grpc().reason().as_deref(), Some("UNAUTHENTICATED"));
}

/// Nor can a stranger choose a refusal that costs it nothing.
#[tokio::test]
async fn strangers_without_time_are_counted_and_not_recorded_one_by_one() {
    let (gateway, _upstream) = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    let begun = Instant::now();
    for _ in 0..200 {
        let request = raw.bare("/x").header("content-type", "application/grpc").header("grpc-timeout", "0n");
        let late = raw.call(request, frame(0, b"")).await.grpc();
        assert_eq!(late.reason().as_deref(), Some("DEADLINE_EXCEEDED"), "whoever it may be");
    }
    let passed = u64::from(BURST) + begun.elapsed().as_secs() + 1;
    let limited = gateway.counted(LIMITED).await;
    assert!(limited + passed >= 200, "{limited}");
    assert_eq!(list(&mut raw).await, Code::Ok);
    let audited = gateway.end().await;
    assert_eq!(audited.number_of("DEADLINE_EXCEEDED"), 200);
    assert!(audited.0.len() < 20, "{}", audited.0.len());
}

#[tokio::test]
async fn who_is_known_is_told_what_is_wrong_whatever_strangers_do_there() {
    let (gateway, _upstream) = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    spend(&mut raw).await;
    assert_eq!(unreadable(&mut raw).await.grpc().reason().as_deref(), Some("MALFORMED_MESSAGE"));
    let unknown = raw.call(raw.grpc("NoSuchMethod"), frame(0, b"")).await.grpc();
    assert_eq!(unknown.reason().as_deref(), Some("UNKNOWN_METHOD"));
}

#[tokio::test]
async fn health_and_preflights_are_exempt_and_reflection_is_not() {
    let (gateway, _upstream) = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut health = HealthClient::new(gateway.channel().await);
    let browser: Plain<_, Empty<bytes::Bytes>> = Plain::builder(TokioExecutor::new()).build_http();
    let preflight = || {
        http::Request::builder()
            .method(Method::OPTIONS)
            .uri(format!("http://{}/gitpod.v1.PrebuildService/ListPrebuilds", gateway.address))
            .header("origin", "https://console.example.com")
            .header("access-control-request-method", "POST")
            .body(Empty::new())
            .unwrap()
    };
    for _ in 0..3 * BURST {
        health.check(HealthCheckRequest::default()).await.unwrap();
        let unknown = HealthCheckRequest { service: "unknown".to_owned() };
        assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
        let answer = soon(browser.request(preflight())).await.unwrap();
        assert!(answer.status().is_success());
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(
        unknown(&mut raw).await.grpc().reason().as_deref(),
        Some("UNAUTHENTICATED"),
        "nothing is spent"
    );
    // And with nothing left they are served as ever.
    spend(&mut raw).await;
    health.check(HealthCheckRequest::default()).await.unwrap();
    assert!(soon(browser.request(preflight())).await.unwrap().status().is_success());

    let (gateway, _upstream) = self::gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut told = Vec::new();
    for _ in 0..3 * BURST {
        let request = raw.bare("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
        let request = request.header("content-type", "application/grpc");
        told.push(raw.call(request, frame(0, b"")).await.grpc().reason().unwrap());
    }
    assert_eq!(told.first().map(String::as_str), Some("UNAUTHENTICATED"));
    assert!(told.iter().any(|reason| reason == "PEER_LIMITED"), "{told:?}");
}
