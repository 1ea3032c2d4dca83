//! Four gateways, each a process of its own, one server, one org: what its callers see pass is no more than the limit.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use prebuild_gateway::{
    proto::gitpod::v1::{ListWarmPoolsRequest, prebuild_service_client::PrebuildServiceClient},
    sandbox::{Org, Sandbox, Settings},
};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};

use super::server::Server;
use crate::ALONE;

const PROCESSES: usize = 4;
/// Callers of each process.
const TASKS: usize = 4;
const RATE: f64 = 60.0;
const BURST: f64 = 40.0;
const LENGTH: Duration = Duration::from_secs(3);
/// Of a caller between two calls: several times what may pass, and a machine that is not at its end.
const PACE: Duration = Duration::from_millis(25);
/// Until the machine is quiet enough for the store to be asked in time for every call.
const ROUNDS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// A key, and the hash that the configuration has of it.
const KEY: &str = "test";
const KEY_HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const POLICY: &str = "[limits]\nin_flight = 1000\n[rates.org]\nall = { per_second = 60, burst = 40 }\n";

/// Ends with the test.
struct Gateway {
    child: Child,
    address: String,
    admin: String,
}

/// When it was sent, and when it was answered: in between it was let pass, or not.
struct Call {
    sent: Duration,
    answered: Duration,
    passed: bool,
}

impl Gateway {
    fn start(directory: &Path, number: usize, upstream: &str, token: &str, store: &str) -> Self {
        let config = directory.join(format!("gateway-{number}.toml"));
        let at = directory.display();
        let text = format!(
            r#"
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
identity.api_keys = [{{ id = "ci", subject = "ci", org = "acme", sha256 = "{KEY_HASH}" }}]
audit.directory = "{at}/audit-{number}"
upstream.base_url = "http://{upstream}/api"
policy.file = "{at}/policy.toml"
limits = {{ replicas = {PROCESSES}, redis = {{ url = "{store}" }} }}
orgs = [{{ id = "acme", credential = {{ env = "TOKEN" }} }}]
"#
        );
        write(&config, &text, 0o600);
        let mut command = Command::new(env!("CARGO_BIN_EXE_prebuild-gateway"));
        command.arg("serve").arg("--config").arg(&config).env("TOKEN", token);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        // To the end: nobody else reads it.
        thread::spawn(move || told.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut gateway = Self { child, address: String::new(), admin: String::new() };
        while gateway.address.is_empty() {
            let line: Value = serde_json::from_str(&lines.recv_timeout(PATIENCE).unwrap()).unwrap();
            let of = |name: &str| line[name].as_str().or(line["fields"][name].as_str()).map(str::to_owned);
            if let (Some(address), Some(admin)) = (of("gateway"), of("admin")) {
                (gateway.address, gateway.admin) = (address, admin);
            }
        }
        gateway
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn await_store(&self) {
        let begun = Instant::now();
        while !self.get("/metrics").contains("prebuild_gateway_limit_store_up 1") {
            assert!(begun.elapsed() < PATIENCE, "{}", self.get("/readyz"));
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Decisions without the store.
    fn alone(&self) -> u32 {
        let metrics = self.get("/metrics");
        let line = "prebuild_gateway_limit_store_decisions_total{result=\"local\"} ";
        metrics.lines().find_map(|found| found.strip_prefix(line)?.parse().ok()).unwrap_or(0)
    }

    async fn client(&self) -> PrebuildServiceClient<Channel> {
        let endpoint = Endpoint::new(format!("http://{}", self.address)).unwrap();
        PrebuildServiceClient::new(endpoint.connect().await.unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn call(client: &mut PrebuildServiceClient<Channel>, begun: Instant) -> Call {
    let mut request = Request::new(ListWarmPoolsRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    let sent = begun.elapsed();
    let answer = client.list_warm_pools(request).await;
    let passed = match answer {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            false
        }
    };
    Call { sent, answered: begun.elapsed(), passed }
}

async fn hammer(gateways: &[Gateway], begun: Instant) -> Vec<Call> {
    let mut tasks = Vec::new();
    for gateway in gateways {
        for _ in 0..TASKS {
            let mut client = gateway.client().await;
            tasks.push(tokio::spawn(async move {
                let mut calls = Vec::new();
                let until = Instant::now() + LENGTH;
                while Instant::now() < until {
                    calls.push(call(&mut client, begun).await);
                    tokio::time::sleep(PACE).await;
                }
                calls
            }));
        }
    }
    let mut calls = Vec::new();
    for task in tasks {
        calls.extend(task.await.unwrap());
    }
    calls
}

/// By how many calls what passed is over `burst + rate * t` on the worst stretch, from the sending of a call to the
/// answer of one: all that lies within it was let pass within it. Below zero, it never was.
fn excess(calls: &[Call]) -> f64 {
    let mut passed: Vec<_> = calls.iter().filter(|call| call.passed).collect();
    passed.sort_unstable_by_key(|call| call.answered);
    let mut worst = f64::NEG_INFINITY;
    for first in &passed {
        let mut within = 0.0;
        for last in passed.iter().filter(|call| call.sent >= first.sent) {
            within += 1.0;
            worst = worst.max(within - BURST - RATE * (last.answered - first.sent).as_secs_f64());
        }
    }
    worst
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_are_never_over() {
    let _alone = ALONE.lock().await;
    let (server, directory) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let org = Org::demo("acme", Org::new_token());
    let token = org.token.expose_secret().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (upstream, stop) = (listener.local_addr().unwrap().to_string(), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let sandbox = Sandbox::new(Settings { orgs: vec![org], ..Default::default() });
    tokio::spawn(sandbox.serve(listener, stop));
    write(&directory.path().join("policy.toml"), POLICY, 0o644);
    let start = |number| Gateway::start(directory.path(), number, &upstream, &token, &server.url());
    let gateways: Vec<Gateway> = (0..PROCESSES).map(start).collect();
    let begun = Instant::now();
    for gateway in &gateways {
        gateway.await_store();
        call(&mut gateway.client().await, begun).await;
    }
    for _ in 0..ROUNDS {
        // More than a burst is saved up, and there is to be but one.
        tokio::time::sleep(Duration::from_secs_f64(2.0 * BURST / RATE)).await;
        if round(&gateways, begun).await {
            return;
        }
    }
    panic!("in {ROUNDS} rounds the machine was too busy for the store to be asked in time");
}

/// Whether the store was asked in time for every call. What passes is never over, also where it was not.
async fn round(gateways: &[Gateway], begun: Instant) -> bool {
    let alone = || gateways.iter().map(Gateway::alone).sum::<u32>();
    let before = alone();
    let calls = hammer(gateways, begun).await;
    let alone = alone() - before;
    let passed = calls.iter().filter(|call| call.passed).count() as f64;
    let (over, due) = (excess(&calls), BURST + RATE * LENGTH.as_secs_f64());
    println!(
        "{} calls of {PROCESSES} processes, {passed} of {due} passed, {over:.1} over the limit, {alone} decided alone",
        calls.len()
    );
    // Each process has its part of the limit then, which comes on top.
    assert!(over <= f64::from(alone), "{over} over");
    if alone > 0 {
        return false;
    }
    assert!(calls.len() as f64 > 2.0 * due, "{} calls are no load", calls.len());
    assert!(passed >= 0.95 * due, "{passed} of {due}");
    true
}
