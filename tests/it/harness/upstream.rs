//! An upstream whose next answers are scripted byte by byte, and that remembers every request.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

use serde_json::{Value, json as value};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Audited, ID, soon};

/// A server of plain HTTP/1.1.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    script: Mutex<VecDeque<Answer>>,
    seen: watch::Sender<Vec<Seen>>,
    /// Connections that the gateway gave up while it was owed an answer.
    left: watch::Sender<usize>,
    audit: OnceLock<PathBuf>,
}

/// What happens when a request has come.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These bytes; the connection stays.
    Bytes(Vec<u8>),
    /// These bytes, then FIN.
    Close(Vec<u8>),
    /// These bytes, then RST.
    Reset(Vec<u8>),
    /// These bytes once the gate opens.
    Held(CancellationToken, Vec<u8>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In lower case, sorted.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
    /// Connections are counted from 0.
    pub(crate) connection: usize,
    /// The audit log when its first byte arrived.
    pub(crate) audited: Audited,
}

impl Upstream {
    /// An upstream that gives these answers, in this order. A request beyond them is answered with 418, which no
    /// test expects.
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(script.into_iter().collect()),
            seen: watch::Sender::default(),
            left: watch::Sender::default(),
            audit: OnceLock::new(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, shared.clone())));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    pub(crate) fn then(&self, answer: Answer) {
        self.shared.script.lock().unwrap().push_back(answer);
    }

    /// Looks at the audit log in this directory whenever a request comes.
    pub(crate) fn witness(&self, audit: PathBuf) {
        self.shared.audit.set(audit).unwrap();
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// Waits for that many requests.
    pub(crate) async fn arrived(&self, count: usize) -> Vec<Seen> {
        let mut seen = self.shared.seen.subscribe();
        soon(seen.wait_for(|seen| seen.len() >= count)).await.unwrap().clone()
    }

    /// Waits until the gateway has given up that many requests.
    pub(crate) async fn abandoned(&self, count: usize) {
        let mut left = self.shared.left.subscribe();
        soon(left.wait_for(|left| *left >= count)).await.unwrap();
    }

    /// How many requests the gateway has given up so far.
    pub(crate) fn given_up(&self) -> usize {
        *self.shared.left.borrow()
    }
}

impl Answer {
    /// None at all.
    pub(crate) fn silence() -> Self {
        Self::Held(CancellationToken::new(), Vec::new())
    }

    /// These bytes once the gate opens, and the gate.
    pub(crate) fn held(bytes: Vec<u8>) -> (CancellationToken, Self) {
        let gate = CancellationToken::new();
        (gate.clone(), Self::Held(gate, bytes))
    }
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A whole answer; `headers` has a line for each, every one with its line break.
pub(crate) fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes()
}

pub(crate) fn json(status: u16, body: &Value) -> Vec<u8> {
    http(status, "content-type: application/json\r\n", &body.to_string())
}

/// The prebuild that the requests of this harness name; good for a creation, too.
pub(crate) fn shown() -> Vec<u8> {
    json(200, &value!({"prebuild": {"id": ID}}))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = shared.clone();
        tokio::spawn(async move { serve(stream, connection, &shared).await });
    }
}

async fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) {
    stream.set_nodelay(true).unwrap();
    while let Some(seen) = read(&mut stream, connection, shared).await {
        let unscripted = || Answer::Bytes(http(418, "", "no answer is scripted for this request"));
        let answer = shared.script.lock().unwrap().pop_front().unwrap_or_else(unscripted);
        shared.seen.send_modify(|all| all.push(seen));
        match answer {
            Answer::Bytes(bytes) => stream.write_all(&bytes).await.unwrap(),
            Answer::Close(bytes) => return stream.write_all(&bytes).await.unwrap(),
            Answer::Reset(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                return stream.set_zero_linger().unwrap();
            }
            Answer::Held(gate, bytes) => {
                let mut more = [0];
                tokio::select! {
                    () = gate.cancelled() => stream.write_all(&bytes).await.unwrap(),
                    // An end, an error, or a second request where none may be.
                    _ = stream.read(&mut more) => return shared.left.send_modify(|left| *left += 1),
                }
            }
        }
    }
}

/// The next request; `None` at the connection's end.
async fn read(stream: &mut TcpStream, connection: usize, shared: &Shared) -> Option<Seen> {
    stream.readable().await.ok()?;
    let audited = shared.audit.get().map_or_else(Audited::default, |directory| Audited::read(directory));
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut lines = head.lines();
    let mut request_line = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (request_line.next()?, request_line.next()?);
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut headers: Vec<_> = lines.filter_map(header).collect();
    headers.sort();
    let mut seen = Seen { method, target, headers, body: Value::Null, connection, audited };
    let length: usize = seen.header("content-length")?.parse().unwrap();
    while bytes.len() < length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = serde_json::from_slice(&bytes).unwrap();
    Some(seen)
}
