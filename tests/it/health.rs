//! Health checks need no key, and so have bounds of their own.

use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{Answer, Gateway, Upstream, raw::Raw, soon};

/// Streams of `Watch` that the gateway keeps at a time.
const WATCHES: usize = 64;

fn of(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn a_check_needs_no_key_and_tells_of_the_gateway_and_of_upstream() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = HealthClient::new(gateway.channel().await);
    for service in ["", "gitpod.v1.PrebuildService"] {
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
