//! Where a protocol meets a call: requests are decoded into a [`Call`], replies and errors become bytes.
//!
//! Everything that the protocols share is here; what only one of them does is in its own file.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Extensions, HeaderMap, HeaderValue, Method, header::ALLOW, request::Parts};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    call::{Call, Context, Deadline, Handle, Identity, Moment, Place, Reply},
    connect::metadata::AllowList,
    error::{Error, Reason},
    rpc::MethodSpec,
    rule::Bound,
    telemetry::Metrics,
};

pub mod catch;
mod connect;
pub mod cors;
pub mod deadline;
pub mod grpc;
mod gzip;
pub mod identify;
mod message;
mod paging;
pub mod peers;
pub mod protocol;
mod query;
mod quota;
pub mod reading;
pub mod reflect;
pub mod render;
pub mod shed;
pub mod trace;
mod web;

pub use deadline::Deadlines;
pub use identify::Identify;
pub use peers::Peers;
pub use protocol::Protocol;
pub use reading::Reading;
pub use reflect::Reflect;
pub use render::Render;
pub use shed::Shed;
pub use trace::Trace;

use message::{Message, unknown_field};
use protocol::Codec;
use reading::ReadingPlace;

/// The crate's one body type.
pub type Body = tonic::body::Body;
pub type HttpRequest = http::Request<Body>;
pub type HttpResponse = http::Response<Body>;

/// Every request of this API is well below 8 KiB.
const DEFAULT_MAX_REQUEST: usize = 64 << 10;

/// 64 KiB take less over a modem; who takes longer holds a place in vain.
const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The path of the upstream's own base URL, so that a client changes the host alone.
const DEFAULT_PREFIX: &str = "/api";

/// Response metadata: the request's id, as audit log and traces have it.
pub const REQUEST_ID: &str = "x-request-id";
/// Response metadata: paths of request fields that were dropped because the schema does not know them.
pub const DROPPED_FIELDS: &str = "x-dropped-fields";

/// Request metadata: `1` asks what would become of the call, which is not made; `0` is as if it were not there.
pub const DRY_RUN: &str = "x-policy-dry-run";
/// Response metadata: a rule of the policy that the call breaks, and that is not in force yet.
pub const POLICY_WARNING: &str = "x-policy-warning";

/// `[requests]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest request message in bytes, inflated.
    pub max_bytes: usize,
    /// How long a request message may take to arrive after its headers. It holds a place among the calls in flight
    /// meanwhile, before any rate counts it.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub read_timeout: Duration,
    /// What becomes of fields that the schema does not know.
    pub unknown_fields: Unknown,
    /// What may stand before `/gitpod.v1.PrebuildService/...`, besides nothing: the path of the base URL that a client
    /// is set up with.
    pub path_prefixes: Vec<String>,
}

/// What becomes of request fields that the schema does not know. They never reach upstream: no rule has seen them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// `INVALID_ARGUMENT`
    #[default]
    Reject,
    /// Left out; the response metadata `x-dropped-fields` names them.
    Drop,
}

/// The leaf of the wire plane: decodes by protocol and hands the call to the call plane.
#[derive(Clone, Debug)]
pub struct Front<H> {
    handle: H,
    settings: Arc<Settings>,
}

/// What a front knows besides the request.
#[derive(Debug)]
struct Settings {
    methods: HashMap<&'static str, &'static MethodSpec>,
    config: Config,
    request_metadata: AllowList,
    metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_REQUEST,
            read_timeout: DEFAULT_READ_TIMEOUT,
            unknown_fields: Unknown::default(),
            path_prefixes: vec![DEFAULT_PREFIX.to_owned()],
        }
    }
}

impl<H: Handle> Front<H> {
    /// A front for the methods of a table.
    pub fn new(
        handle: H,
        methods: impl IntoIterator<Item = &'static MethodSpec>,
        config: Config,
        request_metadata: AllowList,
        metrics: Metrics,
    ) -> Self {
        let methods = methods.into_iter().map(|method| (method.path, method)).collect();
        Self { handle, settings: Arc::new(Settings { methods, config, request_metadata, metrics }) }
    }

    async fn serve(self, request: HttpRequest) -> Result<HttpResponse, Error> {
        let (mut head, body) = request.into_parts();
        let protocol = take::<Protocol>(&mut head)?;
        let method = self.settings.route(&head)?;
        context(&head)?.set_method(method);
        let Config { max_bytes, read_timeout, .. } = self.settings.config;
        let message = timeout(read_timeout, read(protocol, &head, body, max_bytes))
            .await
            .unwrap_or_else(|_| Err(Error::refuse(Reason::SlowRequest)))?;
        drop(head.extensions.remove::<ReadingPlace>());
        let message = Message::read(method, message.codec, message.bytes)?;
        let message = match protocol {
            Protocol::Connect(_) => message.with_page(method, &head)?,
            Protocol::Grpc(_) | Protocol::GrpcWeb(..) | Protocol::Unknown => message,
        };
        let dropped = dropped_fields(&message.unknown);
        let call = self.open(method, message, &mut head)?;
        // The call learns that its caller is gone when this future is dropped.
        let _gone = call.gone.clone().drop_guard();
        let result = self.handle.handle(call).await;
        let mut result = result.and_then(|reply| write(protocol, &head.headers, reply));
        if let Some(paths) = dropped {
            let headers = match &mut result {
                Ok(response) => response.headers_mut(),
                Err(error) => &mut error.metadata,
            };
            headers.insert(DROPPED_FIELDS, paths);
        }
        result
    }

    /// The call that a message and its headers make.
    fn open(&self, method: &'static MethodSpec, message: Message, head: &mut Parts) -> Result<Call, Error> {
        let Message { wire, unknown } = message;
        if !unknown.is_empty() {
            self.settings.metrics.request_fields_unknown(method, unknown.len());
            context(head)?.set_unknown(unknown.iter().map(message::Unknown::seen).collect());
            // A message that has no fields asks for nothing: SDKs before 1.0 say so by `empty: true`.
            let has_fields = method.input().is_some_and(|input| !input.fields.is_empty());
            if has_fields && self.settings.config.unknown_fields == Unknown::Reject {
                return Err(unknown_field(&unknown));
            }
        }
        if is_dry_run(&head.headers)? {
            context(head)?.set_dry_run();
        }
        let (request, facts) = method
            .decode(&wire)
            .map_err(|error| Error::refuse(Reason::MalformedMessage).with_source(error))?;
        context(head)?.reach(Moment::Decoded);
        Ok(Call {
            method,
            context: context(head)?.clone(),
            identity: take::<Identity>(head)?,
            facts,
            request,
            deadline: take::<Deadline>(head)?,
            metadata: self.settings.request_metadata.filter(&head.headers),
            gone: CancellationToken::new(),
            place: head.extensions.remove::<Place>(),
            bound: Bound::default(),
            left: Extensions::new(),
        })
    }
}

impl Settings {
    /// The method that a request is for.
    fn route(&self, head: &Parts) -> Result<&'static MethodSpec, Error> {
        let path = head.uri.path();
        let prefixed = || {
            let prefixes = self.config.path_prefixes.iter();
            prefixes
                .filter_map(|prefix| path.strip_prefix(prefix.as_str()))
                .find_map(|path| self.methods.get(path))
        };
        let method =
            *self.methods.get(path).or_else(prefixed).ok_or_else(|| Error::refuse(Reason::UnknownMethod))?;
        match head.method {
            Method::POST => Ok(method),
            Method::GET if method.no_side_effects => Ok(method),
            _ => {
                let mut error = Error::refuse(Reason::MethodNotAllowed);
                let allowed = if method.no_side_effects { "GET, POST" } else { "POST" };
                error.metadata.insert(ALLOW, HeaderValue::from_static(allowed));
                Err(error)
            }
        }
    }
}

/// A request message in the caller's codec.
struct Encoded {
    codec: Codec,
    bytes: Bytes,
}

/// Reads the one message of a unary call, inflated.
async fn read(protocol: Protocol, head: &Parts, body: Body, limit: usize) -> Result<Encoded, Error> {
    let (codec, bytes) = match protocol {
        Protocol::Grpc(codec) => (codec, grpc::read(&head.headers, body, limit).await?),
        Protocol::GrpcWeb(codec, framing) => {
            let body = web::undress(body, framing, limit).await?;
            (codec, grpc::read(&head.headers, body, limit).await?)
        }
        Protocol::Connect(codec) => (codec, connect::read(head, body, limit).await?),
        Protocol::Unknown => return Err(Error::refuse(Reason::UnsupportedProtocol)),
    };
    Ok(Encoded { codec, bytes })
}

/// The response of a call that went well. What gRPC-Web has of its own is added where errors are, too.
fn write(protocol: Protocol, request: &HeaderMap, reply: Reply) -> Result<HttpResponse, Error> {
    match protocol {
        Protocol::Grpc(codec) | Protocol::GrpcWeb(codec, _) => Ok(grpc::write(request, codec, reply)),
        Protocol::Connect(codec) => Ok(connect::write(request, codec, reply)),
        Protocol::Unknown => Err(Error::refuse(Reason::Internal)),
    }
}

impl<H: Handle> Service<HttpRequest> for Front<H> {
    type Response = HttpResponse;
    type Error = Error;
    type Future = BoxFuture<'static, Result<HttpResponse, Error>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        Box::pin(self.clone().serve(request))
    }
}

/// What an outer layer has put into the request. That it is missing is a fault in the order of the layers.
fn take<T: Clone + Send + Sync + 'static>(head: &mut Parts) -> Result<T, Error> {
    head.extensions.remove::<T>().ok_or_else(|| Error::refuse(Reason::Internal))
}

fn context(head: &Parts) -> Result<&Context, Error> {
    head.extensions.get::<Context>().ok_or_else(|| Error::refuse(Reason::Internal))
}

/// Whoever writes anything else means something, and nobody knows what: the call must not be made.
fn is_dry_run(headers: &HeaderMap) -> Result<bool, Error> {
    let mut values = headers.get_all(DRY_RUN).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (None, _) | (Some(b"0"), None) => Ok(false),
        (Some(b"1"), None) => Ok(true),
        _ => Err(Error::refuse(Reason::DryRunMalformed)),
    }
}

/// Paths are made of field names and numbers only, so they always are a header value.
fn dropped_fields(unknown: &[message::Unknown]) -> Option<HeaderValue> {
    let paths: Vec<_> = unknown.iter().map(|field| field.path.as_str()).collect();
    if paths.is_empty() { None } else { HeaderValue::try_from(paths.join(", ")).ok() }
}
