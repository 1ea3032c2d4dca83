//! Health checks need no key, and so have bounds of their own.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::net::TcpSocket;
use tonic::{Code, Request, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use crate::harness::{Answer, Gateway, Told, Upstream, create, raw::Raw, soon};

/// Streams of `Watch` that the gateway keeps at a time.
const WATCHES: usize = 64;

/// A failing disk, and its repair, show within this time (promise P5).
const PROMISED: Duration = Duration::from_secs(2);

type Client = HealthClient<Channel>;

/// A stream of what is shown of one name.
struct Watch(Streaming<HealthCheckResponse>);

impl Watch {
    async fn open(client: &mut Client, service: &str) -> Self {
        Self(client.watch(of(service)).await.unwrap().into_inner())
    }

    async fn next(&mut self) -> ServingStatus {
        soon(self.0.message()).await.unwrap().expect("it goes on").status()
    }
}

async fn check(client: &mut Client, service: &str) -> ServingStatus {
    client.check(of(service)).await.unwrap().into_inner().status()
}

fn of(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn a_check_needs_no_key_and_tells_of_the_gateway_and_of_upstream() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = HealthClient::new(gateway.channel().await);
    for service in ["", "gitpod.v1.PrebuildService", "audit"] {
        let answer = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    // Upstream is looked at once the gateway has started.
    soon(async {
        while client.check(of("upstream")).await.map(|answer| answer.into_inner().status()).ok()
            != Some(ServingStatus::Serving)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.check(of("nobody")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_an_unknown_name_is_told_so_and_may_wait() {
    let gateway = Gateway::start(Upstream::start([]).await.address).await;
    let mut client = HealthClient::new(gateway.channel().await);
    let mut watch = Watch::open(&mut client, "nobody").await;
    assert_eq!(watch.next().await, ServingStatus::ServiceUnknown);
    assert_eq!(client.check(of("nobody")).await.unwrap_err().code(), Code::NotFound);
    // The stream stays, but does not hold up the drain.
    let (ended, last) = tokio::join!(gateway.app.drain(), soon(watch.0.message()));
    assert!(last.unwrap().is_none());
    assert_eq!(ended.requests_lost, 0);
}

/// Takes the audit log away, and brings its place back.
struct Fault {
    what: &'static str,
    breaks: fn(&PathBuf),
    mends: fn(&PathBuf),
}

const FAULTS: [Fault; 2] = [
    Fault {
        what: "removed",
        breaks: |directory| fs::remove_dir_all(directory).unwrap(),
        mends: |directory| fs::create_dir(directory).unwrap(),
    },
    Fault {
        what: "a file in its place",
        breaks: |directory| {
            fs::rename(directory, directory.with_extension("away")).unwrap();
            fs::write(directory, "").unwrap();
        },
        mends: |directory| {
            fs::remove_file(directory).unwrap();
            fs::rename(directory.with_extension("away"), directory).unwrap();
        },
    },
];

#[tokio::test]
async fn an_audit_log_that_goes_and_comes_back_shows_without_any_call() {
    let upstream = Upstream::start([]).await;
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("audit");
    let gateway = Gateway::with(upstream.address, |config| config.audit.directory = directory.clone()).await;
    let mut client = HealthClient::new(gateway.channel().await);
    let names = ["audit", "gitpod.v1.PrebuildService", ""];
    let mut watches = Vec::new();
    for service in names {
        let mut watch = Watch::open(&mut client, service).await;
        assert_eq!(watch.next().await, ServingStatus::Serving, "{service}");
        watches.push(watch);
    }
    for Fault { what, breaks, mends } in FAULTS {
        for (act, expected) in [(breaks, ServingStatus::NotServing), (mends, ServingStatus::Serving)] {
            let begun = Instant::now();
            act(&directory);
            for (watch, service) in watches.iter_mut().zip(names) {
                assert_eq!(watch.next().await, expected, "{what}: {service}");
                assert_eq!(check(&mut client, service).await, expected, "{what}: {service}");
            }
            assert!(begun.elapsed() < PROMISED, "{what}: {expected:?} after {:?}", begun.elapsed());
            if expected == ServingStatus::NotServing {
                let refused = gateway.client().await.create_prebuild(create()).await.unwrap_err();
                assert_eq!(refused.reason().as_deref(), Some("AUDIT_UNAVAILABLE"), "{what}");
            }
        }
    }
    assert!(upstream.seen().is_empty(), "nothing was forwarded");
}

/// A socket on this address that does not listen yet: who connects is refused.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

#[tokio::test]
async fn an_upstream_that_goes_and_comes_back_shows_and_takes_nothing_else_along() {
    // Two sockets hold the port, so that nobody else gets it in between.
    let first = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = first.local_addr().unwrap();
    let second = bound(address);
    let gateway = Gateway::with(address, |config| {
        config.upstream.health_interval = Duration::from_millis(20);
    })
    .await;
    let mut client = HealthClient::new(gateway.channel().await);
    let mut watch = Watch::open(&mut client, "upstream").await;
    let mut shown = watch.next().await;
    if shown == ServingStatus::Unknown {
        // Nobody had looked yet.
        shown = watch.next().await;
    }
    assert_eq!(shown, ServingStatus::NotServing);
    let listener = first.listen(128).unwrap();
    assert_eq!(watch.next().await, ServingStatus::Serving);
    assert_eq!(gateway.counted("prebuild_gateway_upstream_reachable").await, 1);
    drop(listener);
    assert_eq!(watch.next().await, ServingStatus::NotServing);
    for service in ["", "gitpod.v1.PrebuildService", "audit"] {
        assert_eq!(check(&mut client, service).await, ServingStatus::Serving, "{service}");
    }
    let _listener = second.listen(128).unwrap();
    assert_eq!(watch.next().await, ServingStatus::Serving);
    assert_eq!(check(&mut client, "upstream").await, ServingStatus::Serving);
}

#[tokio::test]
async fn watches_are_bounded_and_their_places_are_given_back() {
    let gateway = Gateway::start(Upstream::start([]).await.address).await;
    let mut client = HealthClient::new(gateway.channel().await);
    let mut watches = Vec::new();
    for _ in 0..WATCHES {
        watches.push(client.watch(of("")).await.unwrap());
    }
    assert_eq!(client.watch(of("")).await.unwrap_err().code(), Code::ResourceExhausted);
    client.check(of("")).await.unwrap();
    watches.pop();
    soon(async {
        while client.watch(of("")).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_of_more_than_a_name_is_refused() {
    let gateway = Gateway::start(Upstream::start([]).await.address).await;
    let mut client = HealthClient::new(gateway.channel().await);
    let code = client.check(of(&"x".repeat(2 << 10))).await.unwrap_err().code();
    assert_eq!(code, Code::OutOfRange);
    let mut raw = Raw::connect(gateway.address).await;
    let request = raw.bare("/grpc.health.v1.Health/Check").header("content-type", "application/grpc");
    let _never_ended = raw.begin(request, None).await;
    client.check(of("")).await.unwrap();
}
