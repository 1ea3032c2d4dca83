//! Promise P9: answered by the deadline, whoever set it; upstream is told the time that is left; what has expired is
//! not forwarded; what is malformed is refused.

use std::{
    collections::HashMap,
    io::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prebuild_gateway::config::Config;
use prebuild_gateway::proto::gitpod::v1::UpdateWarmPoolRequest;
use serde_json::json as value;
use tonic::{Code, Status};

use crate::harness::{
    Answer, Gateway, ID, Told, Upstream, create, get, json,
    raw::{Raw, framed},
};

/// For a machine that is busy with other tests. The promise itself, 20 ms, is for a bench on a quiet one.
const SLACK: Duration = Duration::from_secs(2);

/// A call with this `grpc-timeout`, and how long it took. By hand: tonic's own client would time out by itself.
async fn timed(
    gateway: &Gateway,
    method: &str,
    timeout: Option<&str>,
    body: Option<Bytes>,
) -> (Status, Duration) {
    let mut raw = Raw::connect(gateway.address).await;
    let mut request = raw.grpc(method);
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    let begun = Instant::now();
    let pending = raw.begin(request, body).await;
    // The stream stays open while the answer is awaited: a body that is not there yet may still come.
    let crate::harness::raw::Pending { answer, stream } = pending;
    let head = crate::harness::soon(answer).await.unwrap();
    drop(stream);
    let status = Status::from_header_map(head.headers()).expect("a refusal");
    (status, begun.elapsed())
}

/// Deadline exceeded, and not before its time.
fn on_time(deadline: Duration, (status, took): &(Status, Duration)) {
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(status.reason().as_deref(), Some("DEADLINE_EXCEEDED"));
    assert!(*took >= deadline, "answered {:?} before the deadline of {deadline:?}", deadline - *took);
    let late = *took - deadline;
    assert!(late < SLACK, "answered {late:?} after the deadline of {deadline:?}");
}

/// A silent upstream behind a gateway with these deadlines.
async fn silent(default: Duration, max: Duration) -> (Upstream, Gateway) {
    let upstream = Upstream::start([Answer::silence()]).await;
    let change = |config: &mut Config| (config.deadline.default, config.deadline.max) = (default, max);
    let gateway = Gateway::with(upstream.address, change).await;
    (upstream, gateway)
}

/// What upstream was told, in milliseconds.
fn told(upstream: &Upstream) -> u64 {
    upstream.seen()[0].header("connect-timeout-ms").expect("always sent").parse().unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_millis(200);

async fn expires(timeout: Option<&str>, default: Duration, max: Duration) {
    for (method, body) in [("GetPrebuild", framed(&get())), ("CreatePrebuild", framed(&create()))] {
        let (upstream, gateway) = silent(default, max).await;
        let ended = timed(&gateway, method, timeout, Some(body)).await;
        on_time(DEADLINE, &ended);
        assert!((1..=200).contains(&told(&upstream)), "{method}: {}", told(&upstream));
        assert_eq!(ended.0.pushback(), (method == "CreatePrebuild").then_some("-1"), "{method}");
    }
}

#[tokio::test]
async fn the_callers_deadline() {
    expires(Some("200m"), HOUR, HOUR).await;
}

#[tokio::test]
async fn the_default_without_one() {
    expires(None, DEADLINE, HOUR).await;
}

#[tokio::test]
async fn the_maximum_above_a_longer_one() {
    expires(Some("99999999H"), DEADLINE / 2, DEADLINE).await;
}

#[tokio::test]
async fn upstream_is_told_the_time_that_is_left() {
    for (timeout, most) in [("5S", 5_000), ("1M", 60_000), ("700000u", 700)] {
        let upstream = Upstream::start([Answer::Bytes(json(404, &value!({"code": "not_found"})))]).await;
        let gateway = Gateway::start(upstream.address).await;
        timed(&gateway, "GetPrebuild", Some(timeout), Some(framed(&get()))).await;
        let told = told(&upstream);
        assert!(told <= most && told > 0, "{timeout}: upstream was told {told} ms");
        assert!(most - told < 2_000, "{timeout}: upstream was told {told} ms, far too few");
    }
}

#[tokio::test]
async fn malformed_is_refused_and_not_forwarded() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::start(upstream.address).await;
    let malformed =
        ["", "S", "1", "10", "1s", "1h", "1ms", "-1S", "+1S", "1.5S", "1 S", "0x1S", "1e3S", "123456789m"];
    for timeout in malformed {
        let (status, _) = timed(&gateway, "CreatePrebuild", Some(timeout), Some(framed(&create()))).await;
        let told = (status.code(), status.reason());
        assert_eq!(told, (Code::InvalidArgument, Some("MALFORMED_TIMEOUT".to_owned())), "{timeout:?}");
    }
    let mut raw = Raw::connect(gateway.address).await;
    let twice = raw.grpc("CreatePrebuild").header("grpc-timeout", "1S").header("grpc-timeout", "2S");
    let status = raw.call(twice, framed(&create())).await.grpc();
    assert_eq!(status.reason().as_deref(), Some("MALFORMED_TIMEOUT"));
    assert!(upstream.seen().is_empty());
    let audited = gateway.end().await;
    assert_eq!(audited.number_of("MALFORMED_TIMEOUT"), malformed.len() as u64 + 1);
    assert!(audited.0.iter().all(|record| record["end"]["forwarded"] == "no"));
}

#[tokio::test]
async fn expired_is_not_forwarded() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut ids = Vec::new();
    for (method, body) in [("GetPrebuild", framed(&get())), ("CreatePrebuild", framed(&create()))] {
        for timeout in ["1n", "0m"] {
            let (status, took) = timed(&gateway, method, Some(timeout), Some(body.clone())).await;
            on_time(Duration::ZERO, &(status.clone(), took));
            ids.push(status.id());
        }
        // The second is like the first, and only counted.
        ids.pop();
    }
    let audited = gateway.end().await;
    assert!(upstream.seen().is_empty());
    assert_eq!(audited.number_of("DEADLINE_EXCEEDED"), 4);
    for id in ids {
        let end = &audited.of(&id).last().expect("it is on record")["end"];
        let told = (end["forwarded"].as_str(), end["reason"].as_str());
        assert_eq!(told, (Some("no"), Some("DEADLINE_EXCEEDED")), "{end}");
    }
}

/// A deadline that passes while a mutation's task has not begun yet: the refusal is the only record, or there is an
/// intent with its outcome, but never both.
#[tokio::test(flavor = "multi_thread")]
async fn expired_at_any_moment_is_on_record_once() {
    let gateway = Gateway::start(Upstream::start([]).await.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    for round in 0..1000 {
        let timeout = format!("{}u", round % 500);
        let request = raw.grpc("CreatePrebuild").header("grpc-timeout", timeout);
        raw.call(request, framed(&create())).await;
    }
    let audited = gateway.end().await;
    let mut stages = HashMap::<_, Vec<_>>::new();
    let (counted, alone) = audited.0.iter().partition::<Vec<_>, _>(|record| record["count"].is_u64());
    for record in alone {
        stages.entry(&record["request_id"]).or_default().push(record["stage"].as_str());
    }
    // Who is counted among others must not be on record by itself, too.
    let counted: u64 = counted.iter().map(|record| record["count"].as_u64().unwrap()).sum();
    assert_eq!(stages.len() as u64 + counted, 1000);
    for (id, stages) in stages {
        let whole = [&[Some("reject")][..], &[Some("intent"), Some("outcome")]];
        assert!(whole.contains(&stages.as_slice()), "{id}: {stages:?}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_in_its_own_time() {
    let upstream = Upstream::start([]).await;
    let change = |config: &mut Config| config.requests.read_timeout = DEADLINE;
    let gateway = Gateway::with(upstream.address, change).await;
    let (status, _) = timed(&gateway, "CreatePrebuild", None, None).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.reason().as_deref(), Some("SLOW_REQUEST"));
    assert_eq!(gateway.end().await.stages(&status.id()), ["reject"]);
}

#[tokio::test]
async fn a_body_that_does_not_come() {
    let (upstream, gateway) = silent(DEADLINE, DEADLINE).await;
    let ended = timed(&gateway, "CreatePrebuild", None, None).await;
    on_time(DEADLINE, &ended);
    assert!(upstream.seen().is_empty());
    assert_eq!(gateway.end().await.stages(&ended.0.id()), ["reject"]);
}

/// The look-up spends the same deadline, and the change behind it is not made.
#[tokio::test]
async fn a_look_up_that_is_not_answered() {
    let (upstream, gateway) = silent(DEADLINE, DEADLINE).await;
    let update =
        UpdateWarmPoolRequest { warm_pool_id: ID.to_owned(), min_size: Some(3), ..Default::default() };
    let ended = timed(&gateway, "UpdateWarmPool", None, Some(framed(&update))).await;
    on_time(DEADLINE, &ended);
    upstream.abandoned(1).await;
    let audited = gateway.end().await;
    let seen: Vec<_> = upstream.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(seen, ["/api/gitpod.v1.PrebuildService/GetWarmPool"]);
    assert_eq!(audited.only("reject")["end"]["forwarded"], "no");
}

/// Cancelled: the connection is closed under the request.
#[tokio::test]
async fn a_read_is_cancelled_upstream() {
    let (upstream, gateway) = silent(HOUR, HOUR).await;
    let ended = timed(&gateway, "GetPrebuild", Some("200m"), Some(framed(&get()))).await;
    on_time(DEADLINE, &ended);
    upstream.abandoned(1).await;
    let audited = gateway.end().await;
    assert_eq!(audited.only("outcome")["end"]["forwarded"], "maybe");
}

/// Not cancelled: it runs on, and what upstream says in the end is on record.
#[tokio::test]
async fn a_mutation_is_not_cancelled_upstream() {
    let (gate, answer) = Answer::held(json(409, &value!({"code": "already_exists", "message": "twice"})));
    let upstream = Upstream::start([answer]).await;
    let gateway = Gateway::start(upstream.address).await;
    let ended = timed(&gateway, "CreatePrebuild", Some("200m"), Some(framed(&create()))).await;
    on_time(DEADLINE, &ended);
    assert_eq!(gateway.audited().stages(&ended.0.id()), ["intent"], "the outcome is not known yet");
    assert_eq!(upstream.given_up(), 0);
    gate.cancel();
    let audited = gateway.end().await;
    let end = &audited.only("outcome")["end"];
    assert_eq!((&end["code"], &end["forwarded"]), (&value!("ALREADY_EXISTS"), &value!("yes")));
    assert_eq!(end["client"], "expired", "it was told DEADLINE_EXCEEDED");
    assert_eq!(upstream.given_up(), 0);
}

/// Nor does it run for ever.
#[tokio::test]
async fn a_mutation_ends_at_the_mutation_timeout() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let change = |config: &mut Config| config.upstream.mutation_timeout = DEADLINE;
    let gateway = Gateway::with(upstream.address, change).await;
    let (status, took) = timed(&gateway, "CreatePrebuild", Some("1M"), Some(framed(&create()))).await;
    assert_eq!(status.reason().as_deref(), Some("UPSTREAM_OUTCOME_UNKNOWN"));
    assert_eq!((status.code(), status.pushback()), (Code::Unknown, Some("-1")));
    assert!((DEADLINE..DEADLINE + SLACK).contains(&took), "{took:?}");
    upstream.abandoned(1).await;
    assert_eq!(gateway.end().await.only("outcome")["end"]["forwarded"], "maybe");
}

/// Nor is it sent late: a connection that is still being made when the deadline passes carries nothing.
#[tokio::test]
async fn a_connection_that_comes_too_late_carries_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    ca.write_all(certificate.pem().as_bytes()).unwrap();
    let change = |config: &mut Config| {
        config.upstream.base_url = format!("https://localhost:{}/api", address.port());
        config.upstream.ca_file = Some(ca.path().to_owned());
    };
    let gateway = Gateway::with(address, change).await;
    // The kernel accepts, and nobody answers the TLS handshake.
    let ended = timed(&gateway, "CreatePrebuild", Some("200m"), Some(framed(&create()))).await;
    on_time(DEADLINE, &ended);
    let audited = gateway.end().await;
    let end = &audited.only("outcome")["end"];
    let told = (end["forwarded"].as_str(), end["reason"].as_str());
    assert_eq!(told, (Some("no"), Some("DEADLINE_EXCEEDED")), "{end}");
}
