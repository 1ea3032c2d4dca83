//! The operator's port over real sockets.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A process that drains when told to, beside an upstream that is gone.
#[derive(Default)]
struct Process {
    draining: AtomicBool,
}

impl Status for Process {
    fn ready(&self) -> Readiness {
        let checks = vec![
            Check::required("config", true),
            Check::required("draining", !self.draining.load(Ordering::SeqCst)),
            Check::shown("upstream", false).with_detail("connection refused"),
        ];
        Readiness { checks }
    }

    fn metrics(&self) -> String {
        "requests_total 7\n# EOF\n".to_owned()
    }
}

struct Running {
    address: SocketAddr,
    process: Arc<Process>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<Summary, Invalid>>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (process, stop) = (Arc::new(Process::default()), CancellationToken::new());
    let task = tokio::spawn(serve(listener, process.clone(), stop.clone()));
    Running { address, process, stop, task }
}

/// The whole answer, head in lower case.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn healthz_answers_while_the_process_lives() {
    let admin = start().await;
    let (head, body) = ask(admin.address, "GET", "/healthz").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert_eq!(body, "ok\n");
}

#[tokio::test]
async fn readyz_follows_the_required_checks_and_shows_the_others() {
    let admin = start().await;
    let (head, body) = ask(admin.address, "GET", "/readyz").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let expected = r#"{"ready":true,"checks":[{"name":"config","ok":true,"required":true},{"name":"draining","ok":true,"required":true},{"name":"upstream","ok":false,"required":false,"detail":"connection refused"}]}"#;
    assert_eq!(body, expected);

    admin.process.draining.store(true, Ordering::SeqCst);
    let (head, body) = ask(admin.address, "GET", "/readyz").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert!(body.starts_with(r#"{"ready":false"#), "{body}");
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let admin = start().await;
    let (head, body) = ask(admin.address, "GET", "/metrics?name[]=x").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert_eq!(body, "requests_total 7\n# EOF\n");
}

#[tokio::test]
async fn head_gets_the_headers_only() {
    let admin = start().await;
    let (head, body) = ask(admin.address, "HEAD", "/healthz").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-length: 3"), "{head}");
    assert_eq!(body, "");
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_methods_not_allowed() {
    let admin = start().await;
    for path in ["/", "/healthz/", "/readyz2", "/debug/pprof", "//metrics"] {
        let (head, _) = ask(admin.address, "GET", path).await;
        assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let (head, _) = ask(admin.address, method, "/metrics").await;
        assert!(head.starts_with("http/1.1 405"), "{method}: {head}");
        assert!(head.contains("allow: get, head"), "{method}: {head}");
    }
}

#[tokio::test]
async fn the_port_closes_when_told_to() {
    let admin = start().await;
    ask(admin.address, "GET", "/healthz").await;
    admin.stop.cancel();
    let summary = timeout(PATIENCE, admin.task).await.unwrap().unwrap();
    assert_eq!(summary, Ok(Summary::default()));
    assert!(TcpStream::connect(admin.address).await.is_err());
}

#[test]
fn the_fixed_settings_are_within_bounds() {
    assert_eq!(config().check(), Ok(()));
}
