//! TLS on the main port: who is let in, and a certificate that changes under load.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prebuild_gateway::{
    proto::gitpod::v1::{ListPrebuildsRequest, prebuild_service_client::PrebuildServiceClient},
    sandbox::Rules,
};
use rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::sleep,
};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::harness::{ACME_KEY, Bearer, Certified, Gateway, Sandboxed, soon};

const ROTATIONS: usize = 20;

type Body = Full<Bytes>;

/// A gateway with a certificate, in front of a sandbox.
struct Secured {
    gateway: Gateway,
    certified: Certified,
    _upstream: Sandboxed,
}

impl Secured {
    async fn start() -> Self {
        let (certified, upstream) = (Certified::new(), Sandboxed::start(Rules::default()).await);
        let tls = certified.config();
        let gateway = Gateway::with(upstream.address, |config| config.tls = Some(tls)).await;
        Self { gateway, certified, _upstream: upstream }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    async fn reloads(&self, result: &str) -> u64 {
        let series = format!("prebuild_gateway_file_reloads_total{{key=\"tls\",result=\"{result}\"}}");
        self.gateway.counted(&series).await
    }
}

/// A list by Connect JSON, which all versions of HTTP carry.
fn list() -> Request<Body> {
    Request::post("https://localhost/gitpod.v1.PrebuildService/ListPrebuilds")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {ACME_KEY}"))
        .body(Full::from("{}"))
        .unwrap()
}

async fn http2(stream: TlsStream<TcpStream>) -> http2::SendRequest<Body> {
    let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

async fn http1(stream: TlsStream<TcpStream>) -> http1::SendRequest<Body> {
    let (send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

async fn is_a_list(response: Response<Incoming>) {
    assert_eq!(response.status(), StatusCode::OK);
    let body = soon(response.into_body().collect()).await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<serde_json::Value>(&body).unwrap().is_object());
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_served() {
    let secured = Secured::start().await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let stream = secured.certified.connect(secured.address(), &[version], offered).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(expected));
            assert_eq!(session.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
            let response = if chosen == Some("h2") {
                soon(http2(stream).await.send_request(list())).await.unwrap()
            } else {
                soon(http1(stream).await.send_request(list())).await.unwrap()
            };
            let http = if chosen == Some("h2") { Version::HTTP_2 } else { Version::HTTP_11 };
            assert_eq!(response.version(), http, "{offered:?}");
            is_a_list(response).await;
        }
    }
}

#[tokio::test]
async fn a_grpc_client_that_trusts_the_ca_calls() {
    let secured = Secured::start().await;
    let channel = secured.certified.channel(secured.address()).await;
    let mut client = PrebuildServiceClient::with_interceptor(channel, Bearer::of(ACME_KEY));
    soon(client.list_prebuilds(ListPrebuildsRequest::default())).await.unwrap();
}

#[tokio::test]
async fn who_speaks_plaintext_is_closed_without_a_word() {
    let secured = Secured::start().await;
    for said in [
        &b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let mut tcp = TcpStream::connect(secured.address()).await.unwrap();
        tcp.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        // A reset is a way of closing, too.
        let _eof_or_reset = soon(tcp.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"");
    }
    assert_eq!(
        secured.gateway.counted("prebuild_gateway_tls_handshakes_failed_total{reason=\"other\"}").await,
        3
    );
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    const PROTOCOL_VERSION: u8 = 70;
    let secured = Secured::start().await;
    // Version, random, no session; one suite, no compression; signatures by ECDSA with SHA-256.
    let signatures = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0], &signatures].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let mut tcp = TcpStream::connect(secured.address()).await.unwrap();
    tcp.write_all(&[&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat()).await.unwrap();
    let mut alert = Vec::new();
    let _eof_or_reset = soon(tcp.read_to_end(&mut alert)).await;
    assert_eq!((alert[0], alert.len(), &alert[5..]), (21, 7, &[2, PROTOCOL_VERSION][..]));
}

#[tokio::test]
async fn who_offers_only_other_protocols_is_refused() {
    let secured = Secured::start().await;
    let refused = secured.certified.connect(secured.address(), &[&TLS13], &["h3"]).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

/// Calls until it is told to stop; how many calls there were, and what failed.
struct Caller {
    calls: Arc<AtomicUsize>,
    failed: JoinHandle<Vec<String>>,
}

impl Caller {
    /// All on one connection, which is never opened anew.
    async fn on_one_connection(secured: &Secured, stop: CancellationToken) -> Self {
        let stream = secured.certified.connect(secured.address(), &[&TLS13], &["h2"]).await.unwrap();
        let mut send = http2(stream).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let failed = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !stop.is_cancelled() {
                match send.send_request(list()).await {
                    Ok(response) if response.status() == StatusCode::OK => is_a_list(response).await,
                    other => failed.push(format!("{other:?}")),
                }
                counted.fetch_add(1, SeqCst);
            }
            failed
        });
        Self { calls, failed }
    }

    /// Each on a connection of its own.
    fn on_new_connections(secured: &Arc<Secured>, stop: CancellationToken) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, secured) = (calls.clone(), secured.clone());
        let failed = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !stop.is_cancelled() {
                let channel = secured.certified.channel(secured.address()).await;
                let mut client = PrebuildServiceClient::with_interceptor(channel, Bearer::of(ACME_KEY));
                if let Err(status) = client.list_prebuilds(ListPrebuildsRequest::default()).await {
                    failed.push(status.to_string());
                }
                counted.fetch_add(1, SeqCst);
            }
            failed
        });
        Self { calls, failed }
    }

    /// Waits for a call that began after this moment.
    async fn goes_on(&self) {
        let enough = self.calls.load(SeqCst) + 2;
        soon(async {
            while self.calls.load(SeqCst) < enough && !self.failed.is_finished() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_certificate_that_changes_under_load_fails_no_call() {
    let secured = Arc::new(Secured::start().await);
    let stop = CancellationToken::new();
    let callers = [
        Caller::on_one_connection(&secured, stop.clone()).await,
        Caller::on_new_connections(&secured, stop.clone()),
    ];
    let shown = || secured.certified.shown(secured.address());
    for rotation in 0..ROTATIONS {
        let new = secured.certified.rotate();
        soon(async { while shown().await != new {} }).await;
        if rotation % 5 == 0 {
            let refused = secured.reloads("refused").await;
            secured.certified.spoil();
            soon(async { while secured.reloads("refused").await == refused {} }).await;
            assert_eq!(shown().await, new, "a bad pair changes nothing");
        }
        for caller in &callers {
            caller.goes_on().await;
        }
        assert_eq!(shown().await, new);
    }
    stop.cancel();
    for Caller { calls, failed } in callers {
        assert_eq!(soon(failed).await.unwrap(), Vec::<String>::new());
        assert!(calls.load(SeqCst) >= ROTATIONS);
    }
    assert!(secured.reloads("taken").await >= ROTATIONS as u64);
    let ends = "prebuild_gateway_tls_certificate_expiry_timestamp_seconds";
    // What rcgen gives a certificate: the year 4096.
    assert!(secured.gateway.counted(ends).await > 60_000_000_000, "the end of the one in force");
}
