//! HTTP to sinks: one client for collectors and stores.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited, combinators::UnsyncBoxBody};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector as StoreConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpService,
};
use tokio::time::timeout;

use crate::telemetry::export;

/// Of one exchange, with all it carries: a part of a segment takes a slow line some seconds.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers to what is put somewhere are short.
const MAX_ANSWER: usize = 1 << 20;

type BoxError = Box<dyn StdError + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A client; clones share its connections.
#[derive(Clone)]
pub(super) struct Client(Arc<legacy::Client<HttpsConnector<HttpConnector>, Body>>);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("it cannot be connected to")]
    Connect(#[source] legacy::Error),
    #[error("the connection was lost")]
    Lost(#[source] legacy::Error),
    #[error("its answer cannot be read")]
    Answer(#[source] BoxError),
    #[error("it does not answer in time")]
    Slow,
}

impl Client {
    /// # Errors
    /// The platform's certificate roots, which https needs, cannot be read.
    pub(super) fn new(https: bool) -> Result<Self, export::Error> {
        let connector = export::connector(https)?;
        Ok(Self(Arc::new(legacy::Client::builder(TokioExecutor::new()).build(connector))))
    }

    pub(super) async fn send<B>(&self, request: Request<B>) -> Result<Response<Bytes>, ClientError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| match error.is_connect() {
                true => ClientError::Connect(error),
                false => ClientError::Lost(error),
            })?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(ClientError::Answer)?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        timeout(TIMEOUT, exchange).await.unwrap_or(Err(ClientError::Slow))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl StoreConnector for Client {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.send(request).await.map_err(|error| {
            let kind = match error {
                ClientError::Connect(_) => HttpErrorKind::Connect,
                ClientError::Lost(_) => HttpErrorKind::Request,
                ClientError::Answer(_) => HttpErrorKind::Decode,
                ClientError::Slow => HttpErrorKind::Timeout,
            };
            HttpError::new(kind, error)
        })?;
        Ok(answer.map(Into::into))
    }
}
