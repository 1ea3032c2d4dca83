//! The one place where an [`Error`] becomes bytes, in the caller's own protocol.
//!
//! As the outermost layer it also gives the request its id, and hands what never became a call to the audit log.

use std::{
    convert::Infallible,
    task::{self, Poll},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost::Message as _;
use tonic::{Status, metadata::MetadataMap};
use tonic_types::pb;
use tower::{Layer, Service};

use super::{Body, HttpRequest, HttpResponse, Protocol, REQUEST_ID, grpc};
use crate::{
    audit,
    call::{Context, Peer, Recorder, RequestId},
    error::{DOMAIN, Detail as _, Error, Reason, Retry},
    stack::Next,
};

#[cfg(test)]
mod tests;

const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");

/// The pushback is a signed 32-bit number (gRFC A6). A client that cannot read it would give up.
const MAX_WAIT: Duration = Duration::from_millis(i32::MAX as u64);

/// Bytes of details that others than the gateway gave, as gRPC's headers allow: clients take 8 KiB by default, and one
/// that gets more loses the code and the retry mark as well. What does not fit is left out whole.
const MAX_DETAILS: usize = 4 << 10;

/// The layer.
#[derive(Clone, Debug)]
pub struct Render(pub audit::Log);

/// The layer with the rest of the wire plane.
#[derive(Clone, Debug)]
pub struct Rendered<S> {
    log: audit::Log,
    inner: S,
}

impl<S> Layer<S> for Render {
    type Service = Rendered<S>;

    fn layer(&self, inner: S) -> Rendered<S> {
        Rendered { log: self.0.clone(), inner }
    }
}

impl<S> Service<HttpRequest> for Rendered<S>
where
    S: Next<HttpRequest, HttpResponse> + Clone,
{
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: HttpRequest) -> Self::Future {
        let Self { log, inner } = self.clone();
        let protocol = Protocol::of(&request);
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let context = Context::new(RequestId::new(), Instant::now(), peer);
        context.set_protocol(protocol.as_str());
        request.extensions_mut().insert(protocol);
        request.extensions_mut().insert(context.clone());
        Box::pin(async move {
            let mut response = match inner.run(request).await {
                Ok(response) => response,
                Err(error) => {
                    // What reached the call plane is recorded there.
                    if context.claim(Recorder::WirePlane) {
                        log.refused(&context, &error);
                    }
                    render(protocol, error, context.id())
                }
            };
            // A UUID is always a header value.
            if let Ok(id) = HeaderValue::try_from(context.id().to_string()) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            Ok(response)
        })
    }
}

fn render(protocol: Protocol, error: Error, id: RequestId) -> HttpResponse {
    match protocol {
        Protocol::Grpc => grpc_error(error, id),
        // Whoever speaks no protocol of ours can read a status at best (gRPC over HTTP/2, "Content-Type").
        Protocol::Unknown => {
            let mut response = HttpResponse::new(Body::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            response
        }
    }
}

/// A trailers-only response with `grpc-status-details-bin`.
fn grpc_error(mut error: Error, id: RequestId) -> HttpResponse {
    let mut metadata = std::mem::take(&mut *error.metadata);
    mark_retry(error.retry, &mut metadata);
    if error.reason == Some(Reason::UnsupportedEncoding) {
        metadata.insert(grpc::ACCEPT_ENCODING, grpc::accepted());
    }
    let details = pb::Status {
        code: error.code as i32,
        message: error.message.clone().into_owned(),
        details: details(&error, id),
    };
    let details = if details.details.is_empty() { Vec::new() } else { details.encode_to_vec() };
    Status::with_details_and_metadata(
        error.code,
        error.message,
        details.into(),
        MetadataMap::from_headers(metadata),
    )
    .into_http()
}

/// `ErrorInfo` first, where the gateway speaks; then what the stage or upstream said, as far as it fits; then how long
/// to wait.
fn details(error: &Error, id: RequestId) -> Vec<prost_types::Any> {
    let info = error.reason.map(|reason| {
        let rule = error.rule.as_deref().map(|rule| ("rule".to_owned(), rule.to_owned()));
        let metadata = rule.into_iter().chain([("request_id".to_owned(), id.to_string())]).collect();
        pb::ErrorInfo { reason: reason.as_str().to_owned(), domain: DOMAIN.to_owned(), metadata }.to_any()
    });
    let said = error.details.iter().any(pb::RetryInfo::is);
    let wait = match error.retry {
        Retry::After(wait) if !said => Some(
            pb::RetryInfo { retry_delay: prost_types::Duration::try_from(wait.min(MAX_WAIT)).ok() }.to_any(),
        ),
        Retry::After(_) | Retry::Unsaid | Retry::Never | Retry::Now => None,
    };
    let mut room = MAX_DETAILS;
    let fits = |any: &&prost_types::Any| {
        let left = room.checked_sub(any.encoded_len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    info.into_iter().chain(error.details.iter().filter(fits).cloned()).chain(wait).collect()
}

/// `grpc-retry-pushback-ms`: milliseconds, or -1 for "never" (gRFC A6). `retry-after`: whole seconds, rounded up.
fn mark_retry(retry: Retry, metadata: &mut HeaderMap) {
    match retry {
        Retry::Unsaid | Retry::Now => {}
        Retry::Never => {
            metadata.insert(RETRY_PUSHBACK, HeaderValue::from_static("-1"));
        }
        Retry::After(wait) => {
            metadata.insert(RETRY_PUSHBACK, HeaderValue::from(millis(wait)));
            metadata.entry(RETRY_AFTER).or_insert_with(|| HeaderValue::from(millis(wait).div_ceil(1000)));
        }
    }
}

/// At least one: 0 would mean "at once".
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.min(MAX_WAIT).as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
}
