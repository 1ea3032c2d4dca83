//! A log that is shipped while its process is killed and the collector goes and comes: every record arrives, in order.

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    path::Path,
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
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    gateway::Setting,
    joined::records,
    load::{CLIENTS, Load, Upstream},
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
