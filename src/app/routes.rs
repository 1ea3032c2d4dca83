//! The services of the main port: health beside the gateway.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::{Code, Status};
use tonic_health::pb::health_server::HealthServer;
use tower::Service;

use super::health::Board;
use crate::front::{Body, HttpRequest, HttpResponse, Protocol, protocol::Codec};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// The name of a service, at most.
const MAX_HEALTH_REQUEST: usize = 1 << 10;
/// A check is answered at once: only a request that does not end takes longer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams of `Watch` at a time: some load balancers with some workers each.
const MAX_WATCHES: usize = 64;

/// By path: health checks go past identity and limits, as a load balancer has no key. So they have bounds of their own,
/// and watches cannot take the place of checks.
#[derive(Clone, Debug)]
pub(super) struct Routes<S> {
    gateway: S,
    health: HealthServer<Board>,
    watches: Arc<Semaphore>,
}

impl<S> Routes<S> {
    pub(super) fn new(gateway: S, health: HealthServer<Board>) -> Self {
        let health = health.max_decoding_message_size(MAX_HEALTH_REQUEST);
        Self { gateway, health, watches: Arc::new(Semaphore::new(MAX_WATCHES)) }
    }
}

impl<S> Service<HttpRequest> for Routes<S>
where
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.gateway.poll_ready(cx)
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        // In another protocol it is an unknown method there: a 200 must not look like health.
        let is_grpc = Protocol::of(&request) == Protocol::Grpc(Codec::Proto);
        match request.uri().path() {
            _ if !is_grpc => Box::pin(self.gateway.call(request)),
            CHECK => Box::pin(check(self.health.call(request))),
            WATCH => match Arc::clone(&self.watches).try_acquire_owned() {
                Ok(place) => Box::pin(watch(self.health.call(request), place)),
                Err(_) => {
                    let full = Status::new(Code::ResourceExhausted, "too many watches");
                    Box::pin(async { Ok(full.into_http()) })
                }
            },
            _ => Box::pin(self.gateway.call(request)),
        }
    }
}

type Answer = Result<HttpResponse, Infallible>;

async fn check(answer: impl Future<Output = Answer>) -> Answer {
    let late = || Ok(Status::new(Code::DeadlineExceeded, "the request did not end").into_http());
    timeout(CHECK_TIMEOUT, answer).await.unwrap_or_else(|_| late())
}

/// The place is taken for as long as the answer runs.
async fn watch(answer: impl Future<Output = Answer>, place: OwnedSemaphorePermit) -> Answer {
    let response = check(answer).await?;
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &place;
            frame
        }))
    }))
}
