//! The listener over real sockets: raw bytes, and the h2 crate as a client.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::{Closed, Config, Connections, Server, Shutdown, Summary};
use crate::call::Peer;

mod accepting;
mod draining;
mod floods;
mod settings;
mod timeouts;
mod unread;

/// No test waits longer for its event; a busy machine is given time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A short time for a timer. Where a request must come first it is taken several times: a busy machine stalls.
const SOON: Duration = Duration::from_millis(100);

/// A server with a service whose `/slow` answers when the test lets it.
struct Running {
    address: SocketAddr,
    connections: Arc<Connections>,
    drain: CancellationToken,
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    task: JoinHandle<Summary>,
}

/// An HTTP/2 client and how its connection ended.
struct Client {
    send: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

async fn within<F: Future>(event: F) -> F::Output {
    timeout(PATIENCE, event).await.expect("the event came")
}

/// Waits for a state that nothing announces.
async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn start(config: Config) -> impl Future<Output = Running> {
    start_with(config, Shutdown::default())
}

async fn start_with(config: Config, shutdown: Shutdown) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(config, shutdown).unwrap();
    let (connections, drain) = (server.connections(), CancellationToken::new());
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (held, counted) = (gate.clone(), begun.clone());
    let service = tower::service_fn(move |request| serve(request, held.clone(), counted.clone()));
    let task = tokio::spawn(server.serve(listener, service, drain.clone()));
    Running { address, connections, drain, gate, begun, task }
}

async fn serve(
    request: Request<Body>,
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
) -> Result<Response<Body>, Infallible> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string());
    begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    match request.uri().path() {
        "/slow" => gate.acquire().await.unwrap().forget(),
        "/slow-body" => return Ok(Response::new(slow_body(gate))),
        _ => {}
    }
    Ok(Response::new(Body::new(Full::new(Bytes::from(peer.unwrap_or_default())))))
}

/// A body whose only frame comes when the test lets it.
fn slow_body(gate: Arc<Semaphore>) -> Body {
    Body::new(StreamBody::new(futures_util::stream::once(async move {
        gate.acquire().await.unwrap().forget();
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"at last")))
    })))
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn client(&self) -> Client {
        let (send, connection) = h2::client::handshake(self.connect().await).await.unwrap();
        Client { send, ended: tokio::spawn(connection) }
    }

    fn begun(&self) -> usize {
        self.begun.load(std::sync::atomic::Ordering::SeqCst)
    }

    async fn drained(self) -> Summary {
        self.drain.cancel();
        within(self.task).await.unwrap()
    }
}

impl Client {
    async fn send(&mut self, path: &str) -> ResponseFuture {
        self.send_with(path, HeaderMap::new()).await.unwrap()
    }

    async fn send_with(&mut self, path: &str, headers: HeaderMap) -> Result<ResponseFuture, h2::Error> {
        let mut send = within(self.send.clone().ready()).await?;
        let mut request = Request::post(format!("http://gateway{path}")).body(()).unwrap();
        *request.headers_mut() = headers;
        let (answer, _) = send.send_request(request, true)?;
        self.send = send;
        Ok(answer)
    }

    async fn call(&mut self, path: &str) -> StatusCode {
        let answer = self.send(path).await;
        finish(answer).await.unwrap()
    }

    /// The reason in the server's GOAWAY. The client keeps its handle, so that it is not the one who closes.
    async fn goaway(&mut self) -> Option<Reason> {
        match within(&mut self.ended).await.unwrap() {
            Ok(()) => Some(Reason::NO_ERROR),
            Err(error) => error.reason(),
        }
    }
}

/// Reads an answer to its end.
async fn finish(answer: ResponseFuture) -> Result<StatusCode, h2::Error> {
    let (head, mut body) = within(answer).await?.into_parts();
    while let Some(chunk) = within(body.data()).await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(head.status)
}

/// What the server still says before it closes. A reset is a way of closing, too.
async fn rest(tcp: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _eof_or_reset = within(tcp.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One HTTP/1 answer's head, with the body that the service sends.
async fn http1_answer(tcp: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let peer = tcp.local_addr().unwrap().to_string();
    while !String::from_utf8_lossy(&bytes).ends_with(&peer) {
        let byte = within(tcp.read_u8()).await.expect("an answer that ends with the peer's address");
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap()
}

async fn ask_http1(tcp: &mut TcpStream, path: &str) {
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n").as_bytes()).await.unwrap();
}
