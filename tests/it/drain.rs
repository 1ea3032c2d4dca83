//! The end of a process, and of a caller: what was begun is finished and on record.

use std::time::Duration;

use prebuild_gateway::{
    app::Ended,
    audit::{
        read::Instance,
        verify::{Trust, verify},
    },
    config::Config,
    proto::gitpod::v1::UpdateWarmPoolRequest,
};
use serde_json::json as value;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{
    Answer, Gateway, ID, Upstream, audit, create, json,
    raw::{Raw, framed},
    request_id, soon,
};

/// Long enough for a slow machine; a drain ends when the work is done.
fn patient(config: &mut Config) {
    config.shutdown.grace = Duration::from_secs(20);
}

#[tokio::test]
async fn a_mutation_in_flight_finishes() {
    let (gate, answer) = Answer::held(json(200, &value!({"prebuild": {"id": "p1"}})));
    let upstream = Upstream::start([answer]).await;
    let gateway = Gateway::with(upstream.address, patient).await;
    let address = gateway.address;
    let mut health = HealthClient::new(gateway.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let serving = soon(watch.message()).await.unwrap().unwrap().status();
    assert_eq!(serving, ServingStatus::Serving);
    // Told anew only when it changes: a watcher is not woken at every look at the disk.
    let repeated = tokio::time::timeout(Duration::from_millis(1_200), async {
        // The first look may be told before or after the watch began.
        for _ in 0..2 {
            watch.message().await.unwrap();
        }
    });
    assert!(repeated.await.is_err(), "the same status again and again");
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.create_prebuild(create()).await });
    upstream.arrived(1).await;

    let Gateway { app, directory, .. } = gateway;
    let drain = tokio::spawn(app.drain());
    let draining = soon(watch.message()).await.unwrap().unwrap().status();
    assert_eq!(draining, ServingStatus::NotServing);
    // A watcher does not hold up the drain.
    while soon(watch.message()).await.is_ok_and(|more| more.is_some()) {}
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!call.is_finished() && !drain.is_finished());

    gate.cancel();
    let response = soon(call).await.unwrap().unwrap();
    let id = request_id(response.metadata());
    assert_eq!(response.into_inner().prebuild.unwrap().id, "p1");
    assert_eq!(soon(drain).await.unwrap(), Ended { requests_lost: 0, tasks_lost: 0 });
    let audited = crate::harness::Audited::read(directory.path());
    assert_eq!(audited.stages(&id), ["intent", "outcome"]);
}

/// The caller is gone, and then the process is told to end: upstream's true answer is on record all the same.
#[tokio::test]
async fn a_mutation_whose_caller_left_finishes() {
    let (gate, answer) = Answer::held(json(409, &value!({"code": "already_exists", "message": "twice"})));
    let upstream = Upstream::start([answer]).await;
    let gateway = Gateway::with(upstream.address, patient).await;
    let mut raw = Raw::connect(gateway.address).await;
    let pending = raw.begin(raw.grpc("CreatePrebuild"), Some(framed(&create()))).await;
    upstream.arrived(1).await;
    // The stream is reset, and with the connection the last trace of the caller goes.
    drop((pending, raw));
    count(&gateway, LEFT, 1).await;
    count(&gateway, IN_FLIGHT, 1).await;
    let drain = tokio::spawn(gateway.end());
    gate.cancel();
    let audited = soon(drain).await.unwrap();
    let end = &audited.only("outcome")["end"];
    assert_eq!((&end["code"], &end["forwarded"]), (&value!("ALREADY_EXISTS"), &value!("yes")));
    assert_eq!(end["client"], "gone");
    assert_eq!(audited.0.len(), 2, "one intent, one outcome");
    assert_eq!(upstream.given_up(), 0);
}

/// Calls in flight: their work, whether or not their callers still wait.
const IN_FLIGHT: &str = "prebuild_gateway_requests_in_flight";
/// Creates whose callers have left.
const LEFT: &str = "prebuild_gateway_requests_total{method=\"CreatePrebuild\",code=\"CANCELLED\",org=\"acme\",decision=\"allowed\"}";

/// Waits until a series counts that many.
async fn count(gateway: &Gateway, series: &str, count: u64) {
    soon(async {
        while gateway.counted(series).await != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Before the point of no return a mutation ends with its caller: here it waits for another one of the same pool.
#[tokio::test]
async fn a_mutation_whose_caller_left_early_is_not_sent() {
    let (gate, answer) = Answer::held(json(200, &value!({"warmPool": {"id": ID}})));
    let upstream = Upstream::start([answer]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    let update = UpdateWarmPoolRequest {
        warm_pool_id: ID.to_owned(),
        min_size: Some(1),
        max_size: Some(2),
        ..Default::default()
    };
    let first = raw.begin(raw.grpc("UpdateWarmPool"), Some(framed(&update))).await;
    upstream.arrived(1).await;
    let second = raw.begin(raw.grpc("UpdateWarmPool"), Some(framed(&update))).await;
    count(&gateway, IN_FLIGHT, 2).await;
    // An answer to a later request: the earlier one has been looked at.
    raw.call(raw.grpc("StartPrebuild"), framed(&create())).await;
    drop(second);
    count(&gateway, IN_FLIGHT, 1).await;
    gate.cancel();
    assert_eq!(first.answered().await.grpc().code(), Code::Ok);
    let audited = gateway.end().await;
    assert_eq!(upstream.seen().len(), 1);
    let gone: Vec<_> = audited.0.iter().filter(|record| record["end"]["reason"] == "CALLER_GONE").collect();
    assert_eq!(gone.len(), 1, "{audited:#?}");
    assert_eq!(
        (&gone[0]["end"]["forwarded"], &gone[0]["end"]["code"]),
        (&value!("no"), &value!("CANCELLED"))
    );
    assert_eq!(gone[0]["end"]["client"], "gone");
}

/// The grace is an end: what upstream does not answer by then is lost, and said to be.
#[tokio::test]
async fn a_mutation_that_upstream_never_answers() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    let _pending = raw.begin(raw.grpc("CreatePrebuild"), Some(framed(&create()))).await;
    upstream.arrived(1).await;
    let Gateway { app, directory, .. } = gateway;
    assert_eq!(soon(app.drain()).await, Ended { requests_lost: 1, tasks_lost: 1 });
    // The log does not say that it ended in order, so that the next start tells of the call.
    let logs = Instance::all(directory.path()).unwrap();
    let report = verify(&logs[0], &Trust::Beside, &[]).unwrap();
    assert_eq!((report.fault, report.open), (None, 1));
    assert!(!audit::text(directory.path()).contains(r#""stage":"shutdown""#));
}
