//! A log that is shipped while its process is killed and the collector goes and comes: every record arrives, in order.

use std::{
    collections::HashSet,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value,
};
use prost::Message as _;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{
    gateway::Setting,
    joined::records,
    load::{CLIENTS, Ended, Load, Upstream, caller, create},
};
use crate::ALONE;

const PATIENCE: Duration = Duration::from_secs(60);

/// An OTLP collector that is up or not.
struct Collector {
    address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

#[derive(Default)]
struct State {
    is_away: AtomicBool,
    /// Records, as they came.
    came: Mutex<Vec<String>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let state = Arc::<State>::default();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&state))));
        Self { address, state, _stop: stop.drop_guard() }
    }

    fn set_away(&self, is_away: bool) {
        self.state.is_away.store(is_away, Ordering::Relaxed);
    }

    fn came(&self) -> Vec<String> {
        self.state.came.lock().unwrap().clone()
    }

    async fn waits_for(&self, count: usize) {
        let begun = Instant::now();
        while self.state.came.lock().unwrap().len() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count} records", self.came().len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        let service = service_fn(move |request| answer(request, Arc::clone(&state)));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::default());
    // A process that is killed in the middle of a request has sent nothing that counts.
    let Ok(body) = request.into_body().collect().await else { return Ok(answer) };
    if state.is_away.load(Ordering::Relaxed) {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(answer);
    }
    let export = ExportLogsServiceRequest::decode(body.to_bytes()).unwrap();
    let scopes = export.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    let bodies = scopes.flat_map(|scope| scope.log_records).map(|record| record.body.unwrap().value.unwrap());
    let texts = bodies.map(|body| match body {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    });
    state.came.lock().unwrap().extend(texts);
    Ok(answer)
}

/// The sequence numbers and hashes of a log's records are all that matters: the lines are compared as values.
fn logged(instance: &Path) -> Vec<serde_json::Value> {
    records(instance)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_reaches_the_collector_in_order_whoever_is_killed() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let (upstream, collector) = (Upstream::start().await, Collector::start().await);
    let mut setting = Setting::new(upstream.address, &audit, directory.path());
    let endpoint = format!("http://{}/v1/logs", collector.address);
    setting.ship = format!("{{ name = 'collector', kind = 'otlp', endpoint = '{endpoint}' }}");
    for round in 1..=5 {
        collector.set_away(false);
        let gateway = setting.start();
        let load = Load::start(gateway.address, CLIENTS);
        let before = collector.came().len();
        collector.waits_for(before + 200).await;
        // In the middle of what it sends; in odd rounds while the collector is away.
        collector.set_away(round % 2 == 1);
        tokio::time::sleep(Duration::from_millis(37 * round)).await;
        gateway.kill();
        load.end().await;
    }
    collector.set_away(false);
    let gateway = setting.start();
    collector.waits_for(logged(&audit.join("gateway-0")).len()).await;
    gateway.end();
    let expected = logged(&audit.join("gateway-0"));
    let came = collector.came();
    let mut seen = HashSet::new();
    let once: Vec<serde_json::Value> = came
        .iter()
        .filter(|line| seen.insert(line.as_str()))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    println!("{} records, {} came, {} of them again", expected.len(), came.len(), came.len() - once.len());
    assert_eq!(once.len(), expected.len());
    assert!(once == expected, "in another order, or others");
}

/// Runs a gateway whose standard output is this file.
fn into(file: &Path) -> Vec<String> {
    let script = format!("exec \"$0\" \"$@\" > '{}'", file.display());
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

const STDOUT: &str = "{ name = 'stdout', kind = 'stdout' }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_output_has_the_log_line_by_line() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let (audit, out) = (directory.path().join("audit"), directory.path().join("out"));
    let upstream = Upstream::start().await;
    let mut setting = Setting::new(upstream.address, &audit, directory.path());
    setting.ship = STDOUT.to_owned();
    setting.under = into(&out);
    let gateway = setting.start();
    let load = Load::start(gateway.address, CLIENTS);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(load.end().await.len() > CLIENTS);
    gateway.end();
    let out = fs::read_to_string(out).unwrap();
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines == logged(&audit.join("gateway-0")), "{} lines", lines.len());
}

/// Nobody reads: calls go on, and SIGTERM ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_output_that_nobody_reads_holds_up_no_end() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let (audit, pipe) = (directory.path().join("audit"), directory.path().join("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open, and not read: also for writing, so that opening it waits for nobody.
    let reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let upstream = Upstream::start().await;
    let mut setting = Setting::new(upstream.address, &audit, directory.path());
    setting.ship = STDOUT.to_owned();
    setting.under = into(&pipe);
    let gateway = setting.start();
    let load = Load::start(gateway.address, CLIENTS);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let made = load.end().await.values().filter(|ended| **ended == Ended::Made).count();
    // More than a pipe holds.
    assert!(made * 1024 > 128 << 10, "{made} calls");
    let end = spawn_blocking(|| gateway.end());
    let ended = tokio::time::timeout(Duration::from_secs(20), end).await;
    // Without a reader a write fails, and the process that hangs ends with the test.
    drop(reader);
    assert!(ended.is_ok(), "it does not end");
    let position = fs::read_to_string(audit.join("gateway-0/position-stdout")).unwrap_or_default();
    assert!(position.trim().parse().unwrap_or(0) < logged(&audit.join("gateway-0")).len(), "all was read");
}

/// The disk hangs where positions are written: calls, which need it for their own records alone, are answered meanwhile,
/// though one thread serves them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_cannot_be_written_yet_holds_up_no_call() {
    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let upstream = Upstream::start().await;
    let mut setting = Setting::new(upstream.address, &audit, directory.path());
    let second = directory.path().join("second.jsonl");
    setting.ship = format!("{{ name = 'second', kind = 'file', path = '{}' }}", second.display());
    // Keys are put in their place likewise, as it starts.
    let hang = Duration::from_secs(3);
    let inject = format!("inject=?rename,?renameat,?renameat2:delay_enter={}", hang.as_micros());
    let words =
        ["env", "TOKIO_WORKER_THREADS=1", "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    setting.under = words.map(str::to_owned).to_vec();
    let gateway = setting.start();
    assert!(gateway.began_in >= hang, "nothing hangs");
    let (caller, begun) = (caller(), Instant::now());
    let (mut longest, mut calls) = (Duration::ZERO, 0);
    while begun.elapsed() < 2 * hang {
        let asked = Instant::now();
        assert_ne!(create(&caller, gateway.address, Uuid::new_v4()).await, Ended::Broken);
        longest = longest.max(asked.elapsed());
        calls += 1;
    }
    println!("{calls} calls, the longest took {longest:?}");
    assert!(longest < hang / 2, "{longest:?} of {calls} calls");
    gateway.kill();
}
