//! Clients that create without end, and an upstream that remembers what it saw. Each call names a project of its own, by
//! which the three sides are joined.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::gateway::{KEY, ORGANIZATION};

pub(crate) const CLIENTS: usize = 64;

/// How a call ended, for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Upstream's answer.
    Made,
    /// Upstream's refusal.
    Refused,
    /// By the gateway, with this reason.
    Stopped(String),
    /// No answer.
    Broken,
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<BTreeSet<Uuid>>>,
    _stop: DropGuard,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let seen = Arc::<Mutex<BTreeSet<Uuid>>>::default();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&seen))));
        Self { address, seen, _stop: stop.drop_guard() }
    }

    /// The projects for which something has come.
    pub(crate) fn seen(&self) -> BTreeSet<Uuid> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<BTreeSet<Uuid>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

/// Some at once, some late; some refused.
async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<BTreeSet<Uuid>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path().ends_with("/GetAuthenticatedIdentity") {
        return Ok(json_of(200, &json!({"organizationId": ORGANIZATION})));
    }
    let Ok(body) = request.into_body().collect().await else { return Ok(Response::default()) };
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let project: Uuid = body["projectId"].as_str().unwrap().parse().unwrap();
    seen.lock().unwrap().insert(project);
    let chance = project.as_bytes()[15];
    tokio::time::sleep(Duration::from_millis(u64::from(chance) % 20)).await;
    let (status, body) = match chance % 8 {
        0 => (409, json!({"code": "already_exists", "message": "there is one"})),
        _ => {
            let metadata = json!({"organizationId": ORGANIZATION, "projectId": project.to_string()});
            (200, json!({"prebuild": {"id": Uuid::new_v4().to_string(), "metadata": metadata}}))
        }
    };
    Ok(json_of(status, &body))
}

fn json_of(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Full::from(body.to_string())).unwrap()
}

type Caller = Client<HttpConnector, Full<Bytes>>;

/// Clients that create one after the other, until they are told to stop.
pub(crate) struct Load {
    tasks: JoinSet<Vec<(Uuid, Ended)>>,
    stop: CancellationToken,
}

impl Load {
    pub(crate) fn start(gateway: SocketAddr, clients: usize) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let caller: Caller = Client::builder(TokioExecutor::new()).build(connector);
        for _ in 0..clients {
            let (caller, stop) = (caller.clone(), stop.clone());
            tasks.spawn(async move {
                let mut calls = Vec::new();
                while !stop.is_cancelled() {
                    let project = Uuid::new_v4();
                    let ended = create(&caller, gateway, project).await;
                    let is_over = ended == Ended::Broken;
                    calls.push((project, ended));
                    if is_over {
                        break;
                    }
                }
                calls
            });
        }
        Self { tasks, stop }
    }

    /// What became of their calls.
    pub(crate) async fn end(mut self) -> BTreeMap<Uuid, Ended> {
        self.stop.cancel();
        let mut all = BTreeMap::new();
        while let Some(calls) = self.tasks.join_next().await {
            all.extend(calls.unwrap());
        }
        all
    }
}

pub(crate) async fn create(caller: &Caller, gateway: SocketAddr, project: Uuid) -> Ended {
    let uri = format!("http://{gateway}/gitpod.v1.PrebuildService/CreatePrebuild");
    let request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"));
    let request =
        request.body(Full::from(json!({"projectId": project.to_string(), "spec": {}}).to_string())).unwrap();
    let Ok(response) = caller.request(request).await else { return Ended::Broken };
    let is_made = response.status().is_success();
    let Ok(body) = response.into_body().collect().await else { return Ended::Broken };
    if is_made {
        return Ended::Made;
    }
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let details = body["details"].as_array().into_iter().flatten();
    let mut reasons = details.filter_map(|detail| detail["debug"]["reason"].as_str());
    reasons.next().map_or(Ended::Refused, |reason| Ended::Stopped(reason.to_owned()))
}

pub(crate) fn caller() -> Caller {
    Client::builder(TokioExecutor::new()).build_http()
}
