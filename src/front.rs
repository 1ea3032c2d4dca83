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
use http::{HeaderValue, request::Parts};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    call::{Call, Context, Deadline, Handle, Identity, Place},
    connect::{json::unknown_fields, metadata::AllowList},
    error::{Error, Reason},
    rpc::MethodSpec,
    telemetry::Metrics,
};

pub mod catch;
pub mod cors;
pub mod deadline;
pub mod grpc;
pub mod identify;
pub mod protocol;
pub mod reflect;
pub mod render;
pub mod shed;
pub mod trace;

pub use deadline::Deadlines;
pub use identify::Identify;
pub use protocol::Protocol;
pub use reflect::Reflect;
pub use render::Render;
pub use shed::Shed;
pub use trace::Trace;

/// The crate's one body type.
pub type Body = tonic::body::Body;
pub type HttpRequest = http::Request<Body>;
pub type HttpResponse = http::Response<Body>;

/// Every request of this API is well below 8 KiB.
const DEFAULT_MAX_REQUEST: usize = 64 << 10;

/// 64 KiB take less over a modem; who takes longer holds a place in vain.
const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Response metadata: the request's id, as audit log and traces have it.
pub const REQUEST_ID: &str = "x-request-id";
/// Response metadata: paths of request fields that were dropped because the schema does not know them.
pub const DROPPED_FIELDS: &str = "x-dropped-fields";

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
        if protocol == Protocol::Unknown {
            return Err(Error::refuse(Reason::UnsupportedProtocol));
        }
        let method = *self
            .settings
            .methods
            .get(head.uri.path())
            .ok_or_else(|| Error::refuse(Reason::UnknownMethod))?;
        context(&head)?.set_method(method);
        let Config { max_bytes, read_timeout, .. } = self.settings.config;
        let wire = timeout(read_timeout, grpc::read(&head.headers, body, max_bytes))
            .await
            .unwrap_or_else(|_| Err(Error::refuse(Reason::SlowRequest)))?;
        let call = self.open(method, &wire, &mut head)?;
        let dropped = dropped_fields(&call.unknown);
        // The call learns that its caller is gone when this future is dropped.
        let _gone = call.gone.clone().drop_guard();
        let result = self.handle.handle(call).await;
        let mut result = result.map(|reply| grpc::write(&head.headers, reply));
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
    fn open(&self, method: &'static MethodSpec, wire: &Bytes, head: &mut Parts) -> Result<Call, Error> {
        let malformed = || Error::refuse(Reason::MalformedMessage);
        let input = method.input().ok_or_else(|| Error::refuse(Reason::Internal))?;
        let unknown =
            unknown_fields((method.schema)(), input, wire).map_err(|error| malformed().with_source(error))?;
        if !unknown.is_empty() {
            self.settings.metrics.request_fields_unknown(method, unknown.len());
            if self.settings.config.unknown_fields == Unknown::Reject {
                return Err(unknown_field(&unknown));
            }
        }
        let (request, facts) = method.decode(wire).map_err(|error| malformed().with_source(error))?;
        Ok(Call {
            method,
            context: context(head)?.clone(),
            identity: take::<Identity>(head)?,
            facts,
            request,
            deadline: take::<Deadline>(head)?,
            metadata: self.settings.request_metadata.filter(&head.headers),
            unknown,
            gone: CancellationToken::new(),
            place: head.extensions.remove::<Place>(),
        })
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

fn unknown_field(paths: &[String]) -> Error {
    use tonic_types::pb::{BadRequest, bad_request::FieldViolation};
    let field_violations = paths
        .iter()
        .map(|path| FieldViolation {
            field: path.clone(),
            description: "is not a field of this request".to_owned(),
            reason: Reason::UnknownField.as_str().to_owned(),
            ..FieldViolation::default()
        })
        .collect();
    Error::refuse(Reason::UnknownField)
        .with_rule("requests.unknown_fields")
        .with_detail(&BadRequest { field_violations })
}

/// Paths are made of field names and numbers only, so they always are a header value.
fn dropped_fields(paths: &[String]) -> Option<HeaderValue> {
    if paths.is_empty() { None } else { HeaderValue::try_from(paths.join(", ")).ok() }
}
