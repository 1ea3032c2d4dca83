//! An HTTP server that keeps what it is sent, and is up or not.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

type Came = Arc<Mutex<Vec<(Parts, Bytes)>>>;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) came: Came,
    pub(super) is_up: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (came, is_up) = (Came::default(), Arc::new(AtomicBool::new(true)));
        let serving = serve(listener, Arc::clone(&came), Arc::clone(&is_up));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Self { address, came, is_up, _stop: stop.drop_guard() }
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, came: Came, is_up: Arc<AtomicBool>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (came, is_up) = (Arc::clone(&came), Arc::clone(&is_up));
        let service = service_fn(move |request| answer(request, Arc::clone(&came), Arc::clone(&is_up)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    came: Came,
    is_up: Arc<AtomicBool>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut answer = Response::new(Full::default());
    if !is_up.load(Ordering::Relaxed) {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(answer);
    }
    answer.headers_mut().insert("etag", http::HeaderValue::from_static("\"1\""));
    came.lock().unwrap().push((parts, body));
    Ok(answer)
}
