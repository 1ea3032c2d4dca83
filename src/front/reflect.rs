//! Server reflection, `grpc.reflection.v1` and `v1alpha`: what there is to call, for `grpcurl` and the like.
//!
//! It tells the schema, which is public, and still only to callers that are known: it sits below `identify`. It never
//! becomes a call. As a stream it has bounds that calls do not need.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_reflection::server::Builder;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::{Body, HttpRequest, HttpResponse, Protocol, protocol::Codec};
use crate::{
    call::{Context, Deadline, Place},
    error::{Error, Reason},
    proto::DESCRIPTORS,
    stack::{Next, Stage},
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
/// The name of a symbol or file, at most.
const MAX_REQUEST: usize = 4 << 10;
/// Streams at a time: people at their tools, not traffic.
const MAX_STREAMS: usize = 16;

/// `[reflection]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether callers can ask for the schema.
    pub enabled: bool,
}

/// The layer. Switched off, or over another protocol than gRPC, what it would serve is an unknown method.
#[derive(Clone, Debug, Default)]
pub struct Reflect(Option<Arc<Reflection>>);

#[derive(Debug)]
struct Reflection {
    v1: Service,
    v1alpha: Service,
    places: Arc<Semaphore>,
    drain: CancellationToken,
}

type Service = BoxCloneSyncService<HttpRequest, HttpResponse, Infallible>;

/// What ends a stream that does not end by itself.
#[derive(Clone, Debug)]
struct Bounds {
    deadline: Deadline,
    drain: CancellationToken,
}

/// Kept for as long as a stream runs: among all calls in flight, and among the streams of this service.
type Held = (Option<Place>, OwnedSemaphorePermit);

impl Reflect {
    /// Reflection as configured. Its streams end when the drain begins: an idle one would hold it up.
    ///
    /// # Errors
    /// The compiled descriptors cannot be read, which is a fault of the build.
    pub fn new(config: Config, drain: CancellationToken) -> Result<Self, tonic_reflection::server::Error> {
        if !config.enabled {
            return Ok(Self::default());
        }
        let v1 = builder().build_v1()?.max_decoding_message_size(MAX_REQUEST);
        let v1alpha = builder().build_v1alpha()?.max_decoding_message_size(MAX_REQUEST);
        Ok(Self(Some(Arc::new(Reflection {
            v1: BoxCloneSyncService::new(v1),
            v1alpha: BoxCloneSyncService::new(v1alpha),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            drain,
        }))))
    }
}

impl Stage<HttpRequest> for Reflect {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let is_grpc = matches!(request.extensions().get::<Protocol>(), Some(Protocol::Grpc(Codec::Proto)));
        match (&self.0, request.uri().path()) {
            (Some(reflection), V1) if is_grpc => reflection.answer(reflection.v1.clone(), request).await,
            (Some(reflection), V1ALPHA) if is_grpc => {
                reflection.answer(reflection.v1alpha.clone(), request).await
            }
            _ => next.run(request).await,
        }
    }
}

impl Reflection {
    async fn answer(&self, service: Service, mut request: HttpRequest) -> Result<HttpResponse, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Error::refuse(Reason::Overloaded))?;
        let extensions = request.extensions_mut();
        let held = (extensions.remove::<Place>(), place);
        let deadline = *extensions.get::<Deadline>().ok_or_else(|| Error::refuse(Reason::Internal))?;
        if let Some(context) = extensions.get::<Context>() {
            context.set_permitted();
            context.set_own();
        }
        let bounds = Bounds { deadline, drain: self.drain.clone() };
        let request = request.map(|body| Body::new(StreamBody::new(bounds.clone().cut(body))));
        let response = service.oneshot(request).await.unwrap_or_else(|never| match never {});
        Ok(response.map(|body| Body::new(StreamBody::new(bounds.end(body, held)))))
    }
}

impl Bounds {
    /// Why the stream ends now; pending until it does.
    async fn pass(&self) -> Status {
        tokio::select! {
            () = sleep_until(self.deadline.instant().into()) => {
                Status::new(Code::DeadlineExceeded, Reason::DeadlineExceeded.message())
            }
            () = self.drain.cancelled() => Status::new(Code::Unavailable, "the gateway is going away"),
        }
    }

    /// The requests, until then. The service reads them in a task of its own, which ends with them.
    fn cut(self, body: Body) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        BodyStream::new(body).take_until(async move { self.pass().await })
    }

    /// The answers; until then, and with a status at the end in any case.
    fn end(self, body: Body, held: Held) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        stream::unfold(Some((self, body, held)), |open| async {
            let (bounds, mut body, held) = open?;
            tokio::select! {
                biased;
                status = bounds.pass() => Some((trailers(status), None)),
                frame = body.frame() => Some((frame?, Some((bounds, body, held)))),
            }
        })
    }
}

/// A body's last frame.
fn trailers(status: Status) -> Result<Frame<Bytes>, Status> {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers)?;
    Ok(Frame::trailers(headers))
}

/// Everything that is served on the port, reflection itself included.
fn builder() -> Builder<'static> {
    [
        DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ]
    .into_iter()
    .fold(
        Builder::configure().include_reflection_service(false),
        Builder::register_encoded_file_descriptor_set,
    )
}
