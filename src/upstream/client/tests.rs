//! The client against real servers: TLS with a CA of our own, ALPN, HTTP/2 by prior knowledge, and what is refused.

use std::{
    convert::Infallible,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Answer, Base, BaseError, By, Client, Credentials, Failure, Gate, Post, Shut};
use crate::{
    call::{Deadline, OrgId, Token},
    rpc::GET_PREBUILD,
    upstream::{Config, Protocol},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than anything that a test waits for.
const MOMENT: Duration = Duration::from_millis(100);

/// What a server saw of a request.
#[derive(Debug)]
struct Seen {
    version: Version,
    path: String,
    headers: HeaderMap,
}

/// A CA, and a server certificate for `localhost` that it signed.
struct Pki {
    ca_pem: String,
    server: ServerConfig,
}

impl Pki {
    fn new(alpn: &[&[u8]]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        server.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self { ca_pem: ca.pem(), server }
    }
}

/// Serves one stream; every request is reported and answered `{}`.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    seen: mpsc::UnboundedSender<Seen>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let version = request.version();
        let path = request.uri().path().to_owned();
        seen.send(Seen { version, path, headers: request.headers().clone() }).unwrap();
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}")))) }
    });
    // A client that goes away is the end of a test, not a failure.
    let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A server on a port of its own, over TLS if `tls` is given.
async fn server(tls: Option<ServerConfig>) -> (u16, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, seen_here) = mpsc::unbounded_channel();
    let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), seen.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => serve(stream, seen).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, seen).await;
                        }
                    }
                }
            });
        }
    });
    (port, seen_here)
}

fn client(config: &Config) -> Client {
    let base = Base::parse(&config.base_url).unwrap();
    let token = Token::new("upstream-token").unwrap();
    Client::new(config, base, Credentials::new([("acme".into(), token)])).unwrap()
}

fn gate(left: Duration) -> Gate {
    Gate::new(Deadline::at(Instant::now() + left), CancellationToken::new())
}

fn get(org: &OrgId) -> Post<'_> {
    Post {
        method: &GET_PREBUILD,
        by: By::Org(org),
        query: String::new(),
        metadata: HeaderMap::new(),
        json: b"{}".to_vec(),
    }
}

async fn exchange(client: &Client) -> Result<Answer, Failure> {
    exchange_through(client, &gate(PATIENCE)).await
}

async fn exchange_through(client: &Client, gate: &Gate) -> Result<Answer, Failure> {
    let org = "acme".into();
    client.exchange(get(&org), gate, PATIENCE).await
}

fn trusting(pki: &Pki, port: u16) -> (Config, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pki.ca_pem.as_bytes()).unwrap();
    let ca_file = Some(file.path().to_owned());
    (Config { ca_file, ..Config::at(format!("https://localhost:{port}/api")) }, file)
}

#[tokio::test]
async fn a_request_is_connect_json_with_the_orgs_credential_and_the_time_that_is_left() {
    let (port, mut seen) = server(None).await;
    let answer = exchange(&client(&Config::at(format!("http://127.0.0.1:{port}/api/")))).await.unwrap();
    assert_eq!((answer.status, answer.body.unwrap()), (StatusCode::OK, Bytes::from_static(b"{}")));
    let seen = seen.recv().await.unwrap();
    assert_eq!(seen.version, Version::HTTP_11);
    assert_eq!(seen.path, "/api/gitpod.v1.PrebuildService/GetPrebuild");
    let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("authorization"), Some("Bearer upstream-token"));
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("connect-protocol-version"), Some("1"));
    let told: u128 = header("connect-timeout-ms").unwrap().parse().unwrap();
    assert!((1..=PATIENCE.as_millis()).contains(&told), "{told}");
    let mut names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "authorization",
            "connect-protocol-version",
            "connect-timeout-ms",
            "content-length",
            "content-type",
            "host",
            "user-agent"
        ]
    );
}

#[tokio::test]
async fn tls_trusts_the_given_ca_and_takes_http2_where_alpn_offers_it() {
    for (alpn, version) in
        [(&[&b"h2"[..], b"http/1.1"][..], Version::HTTP_2), (&[b"http/1.1"], Version::HTTP_11)]
    {
        let pki = Pki::new(alpn);
        let (port, mut seen) = server(Some(pki.server.clone())).await;
        let (config, _file) = trusting(&pki, port);
        exchange(&client(&config)).await.unwrap();
        assert_eq!(seen.recv().await.unwrap().version, version);
    }
}

#[tokio::test]
async fn http1_by_configuration_where_alpn_offers_both() {
    let pki = Pki::new(&[b"h2", b"http/1.1"]);
    let (port, mut seen) = server(Some(pki.server.clone())).await;
    let (config, _file) = trusting(&pki, port);
    exchange(&client(&Config { protocol: Protocol::Http1, ..config })).await.unwrap();
    assert_eq!(seen.recv().await.unwrap().version, Version::HTTP_11);
}

#[tokio::test]
async fn http2_by_configuration_over_plain_tcp() {
    let (port, mut seen) = server(None).await;
    let config = Config { protocol: Protocol::Http2, ..Config::at(format!("http://127.0.0.1:{port}")) };
    exchange(&client(&config)).await.unwrap();
    assert_eq!(seen.recv().await.unwrap().version, Version::HTTP_2);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_before_anything_is_sent() {
    let (served, trusted) = (Pki::new(&[b"http/1.1"]), Pki::new(&[]));
    let (port, mut seen) = server(Some(served.server.clone())).await;
    let (config, _file) = trusting(&trusted, port);
    assert!(matches!(exchange(&client(&config)).await, Err(Failure::Unsent(_))));
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn nobody_listening_is_told_as_never_sent() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let failure = exchange(&client(&Config::at(format!("http://127.0.0.1:{port}")))).await;
    assert!(matches!(failure, Err(Failure::Unsent(_))));
}

/// A listener whose connections are made by the kernel and never served.
async fn mute() -> (TcpListener, Config, tempfile::NamedTempFile) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (config, file) = trusting(&Pki::new(&[]), listener.local_addr().unwrap().port());
    (listener, config, file)
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_tls_handshake_is_given_up_at_the_connect_timeout() {
    let (_listener, config, _file) = mute().await;
    let failure = exchange(&client(&Config { connect_timeout: MOMENT, ..config })).await.unwrap_err();
    assert!(matches!(failure, Failure::Unsent(_)), "{failure:?}");
}

#[tokio::test]
async fn whoever_comes_too_late_while_the_connection_is_made_is_told_that_nothing_was_sent() {
    let (_listener, config, _file) = mute().await;
    let client = client(&Config { connect_timeout: PATIENCE, ..config });
    let failure = exchange_through(&client, &gate(MOMENT)).await.unwrap_err();
    assert!(matches!(failure, Failure::Late(Shut::Deadline)), "{failure:?}");
    let gone = CancellationToken::new();
    let leaving = Gate::new(Deadline::at(Instant::now() + PATIENCE), gone.clone());
    let (failure, ()) = tokio::join!(exchange_through(&client, &leaving), async {
        tokio::task::yield_now().await;
        gone.cancel();
    });
    assert!(matches!(failure, Err(Failure::Late(Shut::Gone))), "{failure:?}");
}

/// Not a wait that ends in time, but the body itself holds the request back: hyper has a connection, and asks for it.
#[tokio::test]
async fn a_request_whose_gate_is_shut_does_not_leave() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = client(&Config { protocol, ..Config::at(format!("http://127.0.0.1:{port}")) });
        let gate = gate(Duration::ZERO);
        let request = client.request(get(&"acme".into()), &gate);
        let sending = tokio::spawn(client.http.request(request.unwrap()));
        let (mut stream, _) = listener.accept().await.unwrap();
        if protocol == Protocol::Http2 {
            stream.write_all(SETTINGS).await.unwrap();
        }
        let sent = tokio::time::timeout(PATIENCE, sending).await.expect("nobody answers a request that left");
        let failure = Failure::of(sent.unwrap().unwrap_err(), &gate);
        assert!(matches!(failure, Failure::Late(Shut::Deadline)), "{failure:?}");
        drop(client);
        let mut came = Vec::new();
        let _end = stream.read_to_end(&mut came).await;
        match protocol {
            Protocol::Http2 => assert!(!frames(&came).contains(&DATA), "{came:?}"),
            Protocol::Auto | Protocol::Http1 => assert_eq!(came, b""),
        }
    }
}

/// Frame types and frames of RFC 9113, section 6.
const DATA: u8 = 0;
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// The types of the whole frames behind the preface.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut types) = (bytes.get(PREFACE..).unwrap_or_default(), Vec::new());
    while let [a, b, c, kind, ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(next) = rest.get(9 + length..) else { break };
        types.push(*kind);
        rest = next;
    }
    types
}

/// Takes one whole request over HTTP/2, answers it with `frame`, and closes.
async fn after_a_request(frame: &[u8]) -> Failure {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client =
        client(&Config { protocol: Protocol::Http2, ..Config::at(format!("http://127.0.0.1:{port}")) });
    let answer = async {
        let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        stream.write_all(SETTINGS).await.unwrap();
        let mut came = Vec::new();
        while !frames(&came).contains(&DATA) {
            assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0);
        }
        stream.write_all(frame).await.unwrap();
        stream.shutdown().await.unwrap();
        let _end = stream.read_to_end(&mut came).await;
    };
    tokio::join!(exchange(&client), answer).0.unwrap_err()
}

#[tokio::test]
async fn a_request_that_upstream_says_it_did_not_process_counts_as_unsent() {
    const GOAWAY_BELOW: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, /* last stream */ 0, 0, 0, 0, 0, 0, 0, 0];
    const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, /* REFUSED_STREAM */ 0, 0, 0, 7];
    for frame in [GOAWAY_BELOW, REFUSED] {
        let failure = after_a_request(frame).await;
        assert!(matches!(failure, Failure::Unsent(_)), "{frame:?}: {failure:?}");
    }
}

#[tokio::test]
async fn a_request_that_upstream_may_have_processed_is_open() {
    const GOAWAY_INCLUDING: &[u8] =
        &[0, 0, 8, 7, 0, 0, 0, 0, 0, /* last stream */ 0, 0, 0, 1, 0, 0, 0, 0];
    const CANCEL: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, /* CANCEL */ 0, 0, 0, 8];
    for frame in [GOAWAY_INCLUDING, CANCEL, b""] {
        let failure = after_a_request(frame).await;
        assert!(matches!(failure, Failure::Broken(_)), "{frame:?}: {failure:?}");
    }
}

#[test]
fn a_base_url_is_absolute_and_not_in_the_clear() {
    let good = [
        ("https://app.gitpod.io/api", "app.gitpod.io", 443),
        ("http://localhost:1", "localhost", 1),
        ("http://[::1]:81/x/", "::1", 81),
        ("http://127.1.2.3", "127.1.2.3", 80),
    ];
    for (url, address, port) in good {
        let base = Base::parse(url).unwrap();
        assert_eq!((base.address(), base.port()), (address, port), "{url}");
    }
    let bad = [
        ("", BaseError::Url),
        ("/api", BaseError::Url),
        ("app.gitpod.io", BaseError::Url),
        ("ftp://app.gitpod.io", BaseError::Url),
        ("https://user@app.gitpod.io", BaseError::UserInfo),
        ("https://app.gitpod.io/?x", BaseError::Query),
        ("http://app.gitpod.io", BaseError::Plaintext),
        ("http://10.0.0.1", BaseError::Plaintext),
        ("http://localhost.example", BaseError::Plaintext),
    ];
    for (url, error) in bad {
        assert_eq!(Base::parse(url).unwrap_err(), error, "{url}");
    }
}
