//! Two processes of the gateway, one server that they share, and one upstream: a budget holds over both, also when one of
//! them is killed in the middle of its calls.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prebuild_gateway::sandbox::{FAULT_HEADER, Life, ManualClock, Org, Rules, Sandbox, Settings};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::server::Server;
use crate::ALONE;

const PROGRAM: &str = env!("CARGO_BIN_EXE_prebuild-gateway");
const KEY: &str = "pgw_race-key";
const LIMIT: usize = 10;
const CREATES: usize = 1_000;
/// A build for tests on a small machine answers so many in time, and with it the store's answers are read in time.
const AT_ONCE: usize = 100;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// So often the prebuilds that run end, and the census comes once a second.
const STEP: Duration = Duration::from_millis(1500);
/// The last calls begin so much later than the first.
const STRETCH: Duration = Duration::from_secs(6);

/// How a create ended, in the words of the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Made,
    Refused(String),
    /// The process was killed.
    Broken,
}

struct Upstream {
    sandbox: Sandbox,
    clock: ManualClock,
    acme: Org,
    address: SocketAddr,
    _stop: DropGuard,
}

struct Gateway {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Upstream {
    async fn start() -> Self {
        let clock = ManualClock::starting_at(SystemTime::now());
        let acme = Org::demo("acme", "acme-token".to_owned().into());
        let life = Life { step: Duration::from_secs(100), warn_every: 0, fail_every: 0 };
        let (orgs, rules) = (vec![acme.clone()], Rules::Official);
        let sandbox = Sandbox::new(Settings { orgs, life, rules, clock: clock.clock() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(sandbox.clone().serve(listener, stop.clone()));
        Self { sandbox, clock, acme, address, _stop: stop.drop_guard() }
    }

    /// All that runs ends.
    fn end_all(&self) {
        self.clock.advance(Duration::from_secs(1000));
    }
}

impl Gateway {
    fn start(upstream: &Upstream, server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let rate = "{ per_second = 100000, burst = 100000 }";
        let policy = format!(
            "rates.org.all = {rate}\nlimits.in_flight = 100000\nbudgets.org.running_prebuilds = {LIMIT}\n"
        );
        write(&at("policy.toml"), &policy, 0o644);
        let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
        let config = format!(
            "listen = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\naudit.directory = '{}'\n\
             policy = {{ file = '{}' }}\nbudgets.reconcile_interval = '1s'\n\
             deadline = {{ default = '4s', max = '4s' }}\n\
             [upstream]\nbase_url = 'http://{}/api'\nmutation_timeout = '4s'\nrequest_metadata = ['{FAULT_HEADER}']\n\
             [limits]\nin_flight = 8192\nreplicas = 2\nredis = {{ url = '{}' }}\n\
             [[identity.api_keys]]\nid = 'ci'\nsubject = 'ci'\norg = 'acme'\nsha256 = '{hash}'\n\
             [[orgs]]\nid = 'acme'\ncredential = {{ env = 'TOKEN' }}\nupstream_organization_id = '{}'\n",
            at("audit").display(),
            at("policy.toml").display(),
            upstream.address,
            server.url(),
            upstream.acme.organization_id,
        );
        write(&at("gateway.toml"), &config, 0o600);
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(at("gateway.toml")).env("TOKEN", "acme-token");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let serving = lines.by_ref().find(|line| line.contains("\"serving\"")).unwrap();
        // What it says on is read, so that it can say it.
        thread::spawn(move || lines.for_each(drop));
        let line: Value = serde_json::from_str(&serving).unwrap();
        let address = line["gateway"].as_str().or(line["fields"]["gateway"].as_str()).unwrap();
        Self { child, address: address.parse().unwrap(), _directory: directory }
    }

    /// `kill -9`
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(file: &Path, text: &str, mode: u32) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

type Caller = Client<HttpConnector, Full<Bytes>>;

async fn create(caller: Caller, gateway: SocketAddr, project: String, fault: Option<&str>) -> Ended {
    let uri = format!("http://{gateway}/gitpod.v1.PrebuildService/CreatePrebuild");
    let mut request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"));
    if let Some(fault) = fault {
        request = request.header(FAULT_HEADER, fault);
    }
    let body = format!("{{\"projectId\": \"{project}\", \"spec\": {{}}}}");
    let request = request.body(Full::from(body)).unwrap();
    let Ok(response) = caller.request(request).await else { return Ended::Broken };
    let is_made = response.status().is_success();
    let Ok(body) = response.into_body().collect().await else { return Ended::Broken };
    if is_made {
        return Ended::Made;
    }
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    Ended::Refused(body["details"][0]["debug"]["reason"].as_str().unwrap_or(&body.to_string()).to_owned())
}

/// One after the other, until one is made.
async fn make_one(caller: &Caller, gateway: SocketAddr, project: &str, begun: Instant) {
    loop {
        let ended = create(caller.clone(), gateway, project.to_owned(), None).await;
        if ended == Ended::Made {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{ended:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_eleven_run_and_no_slot_is_lost_when_a_process_is_killed() {
    let _alone = ALONE.lock().await;
    let (server, upstream) = (Server::start(&[]), Upstream::start().await);
    let (first, mut second) = (Gateway::start(&upstream, &server), Gateway::start(&upstream, &server));
    let caller: Caller = Client::builder(TokioExecutor::new()).build_http();
    let project = upstream.acme.projects[0].id.to_string();
    let begun = Instant::now();
    make_one(&caller, first.address, &project, begun).await;
    let counted = begun.elapsed();
    make_one(&caller, second.address, &project, begun).await;

    let mut creates = JoinSet::new();
    for index in 0..CREATES {
        let (caller, project) = (caller.clone(), project.clone());
        let gateway = if index % 2 == 0 { first.address } else { second.address };
        // Some of them at once, and so that some are on their way at any time.
        let after = STRETCH.mul_f64(index.saturating_sub(AT_ONCE) as f64 / (CREATES - AT_ONCE) as f64);
        let fault = (index % 5 == 1).then_some("delay-after=300ms");
        creates.spawn(async move {
            tokio::time::sleep(after).await;
            create(caller, gateway, project, fault).await
        });
    }
    let race = Instant::now();
    let (mut ends, mut is_killed) = (std::collections::BTreeMap::<Ended, usize>::new(), false);
    let mut tick = tokio::time::interval(STEP);
    loop {
        tokio::select! {
            ended = creates.join_next() => match ended {
                Some(ended) => *ends.entry(ended.unwrap()).or_default() += 1,
                None => break,
            },
            _ = tick.tick() => upstream.end_all(),
        }
        if !is_killed && race.elapsed() > STRETCH / 2 {
            second.kill();
            is_killed = true;
        }
    }
    let most = upstream.sandbox.most_running();
    let made = upstream.sandbox.executed("CreatePrebuild");
    println!("first count after {counted:.1?}; {CREATES} creates in {:.1?}: {ends:?}", race.elapsed());
    println!("{made} made upstream, at most {most} at once");
    assert!(is_killed && most <= LIMIT, "{most} at once");
    assert!(made > LIMIT as u64, "nothing was given back: {made}");

    upstream.end_all();
    let free = Instant::now();
    while upstream.sandbox.running() < LIMIT {
        make_one(&caller, first.address, &project, free).await;
    }
    println!("all {LIMIT} slots were there again after {:.1?}", free.elapsed());
    let eleventh = create(caller, first.address, project, None).await;
    assert_ne!(eleventh, Ended::Made);
    assert_eq!(upstream.sandbox.most_running(), LIMIT);
}
