//! The one place where an [`Error`] becomes bytes, in the caller's own protocol.
//!
//! As the outermost layer it also gives the request its id, and hands what never became a call to the audit log.

use std::{
    convert::Infallible,
    task::{self, Poll},
    time::Instant,
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use prost::Message as _;
use tonic::{Status, metadata::MetadataMap};
use tonic_types::pb;
use tower::{Layer, Service};

use super::{
    Body, HttpRequest, HttpResponse, Protocol, REQUEST_ID, connect, grpc, protocol::Codec, quota, web,
};
use crate::{
    audit,
    call::{Context, Peer, Recorder, RequestId},
    connect::error as body,
    error::{Error, Reason},
    stack::Next,
};

mod details;
mod retry;
#[cfg(test)]
mod tests;
mod warnings;

use details::details;

/// Bytes of details that others than the gateway gave, as gRPC's headers allow: clients take 8 KiB by default, and one
/// that gets more loses the code and the retry mark as well. What does not fit is left out whole.
const MAX_HEADER_DETAILS: usize = 4 << 10;

/// What a POST may carry, for who sent something else.
const ACCEPT_POST: &str = "application/grpc, application/grpc-web, application/json, application/proto";

/// The layer.
#[derive(Clone, Debug)]
pub struct Render {
    pub audit: audit::Audit,
    /// Whether the gateway's own refusals carry its `ErrorInfo`.
    pub explains: bool,
}

/// The layer with the rest of the wire plane.
#[derive(Clone, Debug)]
pub struct Rendered<S> {
    settings: Render,
    inner: S,
}

impl<S> Layer<S> for Render {
    type Service = Rendered<S>;

    fn layer(&self, inner: S) -> Rendered<S> {
        Rendered { settings: self.clone(), inner }
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
        let Self { settings: Render { audit, explains }, inner } = self.clone();
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
                        audit.refused(&context, &error);
                    }
                    render(protocol, error, &context, explains)
                }
            };
            // Before it is dressed: of a refusal this is metadata like any other.
            quota::tell(&context, &mut response);
            if let Protocol::GrpcWeb(_, framing) = protocol {
                response = web::dress(response, protocol, framing).await;
            }
            warnings::append(&context, response.headers_mut());
            // A UUID is always a header value.
            if let Ok(id) = HeaderValue::try_from(context.id().to_string()) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            Ok(response)
        })
    }
}

fn render(protocol: Protocol, mut error: Error, context: &Context, explains: bool) -> HttpResponse {
    let told = explains.then_some(context);
    let mut metadata = std::mem::take(&mut *error.metadata);
    match protocol {
        Protocol::Grpc(_) | Protocol::GrpcWeb(..) => {
            retry::mark_grpc(error.retry, &mut metadata);
            quota::mark(error.code, error.origin, &mut metadata);
            grpc_error(protocol, error, metadata, told)
        }
        Protocol::Connect(_) => {
            retry::mark_connect(&error, context.method(), &mut metadata);
            quota::mark(error.code, error.origin, &mut metadata);
            connect_error(&error, metadata, told)
        }
        Protocol::Unknown => plain_error(&error, metadata),
    }
}

/// A trailers-only response with `grpc-status-details-bin`.
fn grpc_error(
    protocol: Protocol,
    error: Error,
    mut metadata: HeaderMap,
    told: Option<&Context>,
) -> HttpResponse {
    if error.reason == Some(Reason::UnsupportedEncoding) {
        metadata.insert(grpc::ACCEPT_ENCODING, grpc::accepted());
    }
    let room = if matches!(protocol, Protocol::Grpc(_)) { MAX_HEADER_DETAILS } else { usize::MAX };
    let details = pb::Status {
        code: error.code as i32,
        message: error.message.clone().into_owned(),
        details: details(&error, told, room),
    };
    let details = if details.details.is_empty() { Vec::new() } else { details.encode_to_vec() };
    let metadata = MetadataMap::from_headers(metadata);
    let status = Status::with_details_and_metadata(error.code, error.message, details.into(), metadata);
    let mut response: HttpResponse = status.into_http();
    let content_type = HeaderValue::from_static(protocol.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// A JSON body, whatever the codec of the call.
fn connect_error(error: &Error, metadata: HeaderMap, told: Option<&Context>) -> HttpResponse {
    let details = details(error, told, usize::MAX);
    let body = body::write(error.code, &error.message, &details).unwrap_or_default();
    let mut response = HttpResponse::new(Body::new(http_body_util::Full::from(body)));
    *response.status_mut() = status(error);
    let headers = response.headers_mut();
    *headers = metadata;
    set_http(headers, error, Protocol::Connect(Codec::Json));
    if error.reason == Some(Reason::UnsupportedEncoding) {
        headers.insert(header::ACCEPT_ENCODING, connect::accepted());
    }
    response
}

/// Whoever speaks no protocol of ours can read a status at best, and a person the text.
fn plain_error(error: &Error, metadata: HeaderMap) -> HttpResponse {
    let text = format!("{}\n", error.message);
    let mut response = HttpResponse::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status(error);
    let headers = response.headers_mut();
    *headers = metadata;
    set_http(headers, error, Protocol::Unknown);
    if error.reason == Some(Reason::UnsupportedProtocol) {
        headers.insert("accept-post", HeaderValue::from_static(ACCEPT_POST));
    }
    response
}

/// What an HTTP response says besides its status. Whatever else stood there does not.
fn set_http(headers: &mut HeaderMap, error: &Error, protocol: Protocol) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(protocol.content_type()));
    headers.insert(header::CACHE_CONTROL, connect::NO_STORE);
    if status(error) == StatusCode::UNAUTHORIZED {
        // RFC 9110, section 15.5.2; RFC 6750, section 3.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

/// HTTP has statuses of its own for what is wrong with a request before it is an RPC.
fn status(error: &Error) -> StatusCode {
    let of_code = || StatusCode::from_u16(body::http_status(error.code)).ok();
    match error.reason {
        Some(Reason::UnknownMethod) => StatusCode::NOT_FOUND,
        Some(Reason::MethodNotAllowed) => StatusCode::METHOD_NOT_ALLOWED,
        Some(Reason::UnsupportedProtocol) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => of_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
