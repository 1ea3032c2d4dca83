//! The sandbox over real HTTP. Time is moved by hand: no test waits for a prebuild.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Life, ManualClock, Org, Project, Rules, Sandbox, Settings};

mod faults;
mod life;
mod pages;
mod pools;
mod tenancy;
mod validation;
mod wire;

const ACME: &str = "acme-token";
const GLOBEX: &str = "globex-token";

/// A step that is easy to count in.
const STEP: Duration = Duration::from_secs(100);

/// A sandbox that is being served, and a client.
struct Bench {
    sandbox: Sandbox,
    clock: ManualClock,
    acme: Org,
    globex: Org,
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Bench {
    async fn start() -> Self {
        Self::with(Rules::Official, Life { step: STEP, warn_every: 0, fail_every: 0 }).await
    }

    async fn with(rules: Rules, life: Life) -> Self {
        // 1,700,000,000.123456789 s: a time that shows every digit.
        let clock =
            ManualClock::starting_at(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
        let (acme, globex) = (Org::demo("acme", ACME.into()), Org::demo("globex", GLOBEX.into()));
        let orgs = vec![acme.clone(), globex.clone()];
        let sandbox = Sandbox::new(Settings { orgs, life, rules, clock: clock.clock() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(sandbox.clone().serve(listener, shutdown.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { sandbox, clock, acme, globex, base, client, shutdown, served }
    }

    fn request(&self, method: &str) -> http::request::Builder {
        Request::post(format!("{}/gitpod.v1.PrebuildService/{method}", self.base))
            .header("authorization", format!("Bearer {ACME}"))
            .header("content-type", "application/json")
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Box<dyn std::error::Error>> {
        let (head, body) = self.client.request(request).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }

    /// A call of acme's.
    async fn call(&self, method: &str, body: Value) -> Answer {
        self.send(self.request(method).body(body.to_string().into()).unwrap()).await.unwrap()
    }

    /// A call that must go well.
    async fn ok(&self, method: &str, body: Value) -> Value {
        let answer = self.call(method, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{method}: {:?}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
        answer.json()
    }

    /// A call that must be refused with a code.
    async fn refused(&self, method: &str, body: Value, code: &str) -> Value {
        let error = self.call(method, body).await.json();
        assert_eq!(error["code"], code, "{method}: {error}");
        error
    }

    /// A call of acme's with a fault.
    async fn faulty(&self, fault: &str, method: &str) -> Result<Answer, Box<dyn std::error::Error>> {
        let request = self.request(method).header(super::FAULT_HEADER, fault).body("{}".into()).unwrap();
        self.send(request).await
    }

    fn project(&self) -> &Project {
        &self.acme.projects[0]
    }

    fn steps(&self, steps: u32) {
        self.clock.advance(STEP * steps);
    }

    /// Ends the service and waits for its last task.
    async fn stop(self) {
        drop(self.client);
        self.shutdown.cancel();
        self.served.await.unwrap();
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
