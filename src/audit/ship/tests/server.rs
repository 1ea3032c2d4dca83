//! An HTTP server that keeps what it is sent, and is up or not. Of S3 it knows uploads in parts.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const BEGUN: &str =
    "<InitiateMultipartUploadResult><UploadId>an-upload</UploadId></InitiateMultipartUploadResult>";
const COMPLETED: &str = "<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>";

type Came = Arc<Mutex<Vec<(Parts, Bytes)>>>;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) came: Came,
    manner: Arc<Mutex<Manner>>,
    _stop: DropGuard,
}

/// How it answers.
#[derive(Clone, Default)]
pub(super) struct Manner {
    pub(super) is_down: bool,
    /// It is down for queries with this in them.
    pub(super) refuses: Option<&'static str>,
    /// To what is no upload in parts.
    pub(super) says: Bytes,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (came, manner) = (Came::default(), Arc::<Mutex<Manner>>::default());
        let serving = serve(listener, Arc::clone(&came), Arc::clone(&manner));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Self { address, came, manner, _stop: stop.drop_guard() }
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.answer(|manner| manner.is_down = !is_up);
    }

    pub(super) fn answer(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }
}

impl Manner {
    fn answer(&self, parts: &Parts) -> Response<Full<Bytes>> {
        let query = parts.uri.query().unwrap_or_default();
        if self.is_down || self.refuses.is_some_and(|refused| query.contains(refused)) {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return answer;
        }
        let said = match parts.method.as_str() {
            "POST" if query.starts_with("uploads") => Bytes::from(BEGUN),
            "POST" if query.starts_with("uploadId") => Bytes::from(COMPLETED),
            _ => self.says.clone(),
        };
        let mut answer = Response::new(Full::from(said));
        answer.headers_mut().insert("etag", HeaderValue::from_static("\"1\""));
        answer
    }
}

async fn serve(listener: TcpListener, came: Came, manner: Arc<Mutex<Manner>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (came, manner) = (Arc::clone(&came), Arc::clone(&manner));
        let service = service_fn(move |request| answer(request, Arc::clone(&came), Arc::clone(&manner)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// What is refused is not kept.
async fn answer(
    request: Request<Incoming>,
    came: Came,
    manner: Arc<Mutex<Manner>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = manner.lock().unwrap().answer(&parts);
    if answer.status().is_success() {
        came.lock().unwrap().push((parts, body));
    }
    Ok(answer)
}
