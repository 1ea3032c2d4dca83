//! Handshakes that do not end, and too many of them.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;

use super::*;
use crate::server::{Closed, Connections, Server, Shutdown, tls::Failed};

/// No test waits longer for its event; a busy machine is given time.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    tls: Tls,
    connections: Arc<Connections>,
    roots: RootCertStore,
    _files: Folder,
    _drain: DropGuard,
}

async fn start(places: usize, first_request_timeout: Duration) -> Running {
    let (certificate, key) = pair();
    let files = Folder::with(&certificate, &key);
    let tls = Tls::with_places(files.config(), places).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = crate::server::Config { first_request_timeout, ..Default::default() };
    let server = Server::new(config, Shutdown::default()).unwrap().with_transport(tls.clone());
    let (connections, drain) = (server.connections(), CancellationToken::new());
    let service = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::new(Full::new(Bytes::from_static(b"served")))))
    });
    tokio::spawn(server.serve(listener, service, drain.clone()));
    Running { address, tls, connections, roots, _files: files, _drain: drain.drop_guard() }
}

impl Running {
    /// A connection that says this and no more.
    async fn stalled(&self, says: &[u8]) -> TcpStream {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(says).await.unwrap();
        tcp
    }

    /// Whether an honest client is served.
    async fn serves(&self) {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, tls.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.ends_with("served"), "{answer}");
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("it comes to that");
    }
}

async fn is_closed(mut tcp: TcpStream) {
    let mut bytes = Vec::new();
    let _eof_or_reset = timeout(PATIENCE, tcp.read_to_end(&mut bytes)).await.expect("it is closed");
    assert_eq!(bytes, b"");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up_in_time() {
    let running = start(8, Duration::from_millis(100)).await;
    let half_a_record = [22, 3, 1, 1, 0, 1];
    let stalled = [running.stalled(b"").await, running.stalled(&half_a_record).await];
    for tcp in stalled {
        is_closed(tcp).await;
    }
    running.until(|running| running.connections.closed_total(Closed::Silent) == 2).await;
}

#[tokio::test]
async fn who_stalls_a_handshake_keeps_nobody_out() {
    let running = start(2, PATIENCE * 2).await;
    let mut stalled = Vec::new();
    for opened in 1..=2 {
        stalled.push(running.stalled(b"\x16").await);
        running.until(|running| running.connections.open() == opened).await;
        running
            .until(|running| {
                running.tls.0.handshakes.available_permits() == 2 - usize::try_from(opened).unwrap()
            })
            .await;
    }
    running.serves().await;
    assert_eq!(running.tls.counters().handshakes_crowded_out(), 1);
    is_closed(stalled.remove(0)).await;
    // There is room now.
    running.serves().await;
    assert_eq!(running.tls.counters().handshakes_crowded_out(), 1);
    assert_eq!(running.tls.counters().handshakes_failed(Failed::Other), 1);
}
