//! The running process: every part made from the config, started in order, and stopped in the reverse one.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use governor::clock::MonotonicClock;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Layer as _, Service, util::option_layer};

use crate::{
    admin::{self, Check, Readiness, Status},
    audit::{self, Audit, ship::Shipping},
    budget::Budgets,
    config::{Callers, Config, KeyFile, Resolved, Tokens},
    front::{Front, HttpRequest, HttpResponse, Peers, Reflect},
    gateway::{Gateway, Stages, Wire},
    identity::{Identities, UpstreamTokens, jwt::Issuers},
    limit::{self, Engine, Limits, Shared},
    policy::{Bind, Policy, Validate},
    rpc,
    server::{self, Server, Tls},
    store::Store,
    telemetry::Metrics,
    upstream::{ClientError, Introspection, Learn},
};

mod budgets;
mod credentials;
mod files;
mod ground;
mod health;
mod issuers;
mod keys;
mod policies;
mod routes;

use files::Files;
use ground::{Ground, Orgs};
use health::Health;
use routes::Routes;

/// How long readiness says "draining" before connections are told: load balancers look every second or so.
const NOTICE: Duration = Duration::from_millis(500);

/// Mutations whose callers have left get at least this long to get their answers on record, also past the grace.
const MIN_DRAIN: Duration = Duration::from_secs(1);

/// Between two rounds of questions to an upstream that does not answer at start.
const LEARN_PAUSE: Duration = Duration::from_secs(5);

/// A gateway that serves.
#[derive(Debug)]
pub struct App {
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    state: Arc<State>,
    drain: CancellationToken,
    stop: CancellationToken,
    grace: Duration,
    serving: JoinHandle<server::Summary>,
    operating: JoinHandle<Result<server::Summary, server::Invalid>>,
    shipping: Shipping,
}

/// The sockets to serve on; port 0 is any.
#[derive(Debug)]
pub struct Listeners {
    pub gateway: TcpListener,
    pub admin: TcpListener,
}

/// What the parts share and the operator sees.
#[derive(Debug)]
struct State {
    log: audit::Log,
    metrics: Metrics,
    tasks: TaskTracker,
    health: Health,
    files: Files,
    policy: Policy,
    budgets: Budgets,
    learn: Learn,
    orgs: Orgs,
    issuers: Issuers,
    /// What the replicas share.
    store: Option<Store>,
    draining: AtomicBool,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("audit.directory: {0}")]
    Audit(#[from] audit::OpenError),
    #[error("audit.hash_keys: {0}")]
    HashKeys(#[from] audit::hash::KeysError),
    #[error("{key}: {0}", key = .0.key())]
    Upstream(#[from] ClientError),
    /// Upstream says that it is another one.
    #[error("{key}: {problem}")]
    Organization { key: String, problem: String },
    #[error("server: {0}")]
    Server(#[from] server::Invalid),
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Requests that were cut off because the grace period was over.
    pub requests_lost: u64,
    /// Mutations that were still waiting for upstream then.
    pub tasks_lost: usize,
}

impl Listeners {
    /// # Errors
    /// An address is not to be had.
    pub async fn bind(gateway: SocketAddr, admin: SocketAddr) -> io::Result<Self> {
        Ok(Self { gateway: TcpListener::bind(gateway).await?, admin: TcpListener::bind(admin).await? })
    }
}

impl App {
    /// Starts serving.
    ///
    /// # Errors
    /// The audit log cannot be opened, a certificate cannot be read, a setting cannot be served with.
    pub fn start(resolved: Resolved, listeners: Listeners) -> Result<Self, StartError> {
        Self::begin(Ground::of(resolved)?, listeners)
    }

    /// The same, once upstream was asked what it calls the orgs; for some seconds at most. What it has not said by then
    /// it is asked for again in the background.
    ///
    /// # Errors
    /// Also, it says that an org's credential is another organization's than the org is.
    pub async fn start_asked(resolved: Resolved, listeners: Listeners) -> Result<Self, StartError> {
        let ground = Ground::of(resolved)?;
        ground.ask().await?;
        let app = Self::begin(ground, listeners)?;
        app.learn_organizations(LEARN_PAUSE);
        Ok(app)
    }

    fn begin(ground: Ground, listeners: Listeners) -> Result<Self, StartError> {
        let Ground { resolved, server, metrics, learn, orgs, mut files, store } = ground;
        let log = audit::Log::open(&resolved.config.audit, metrics.clone())?;
        let shipping = Shipping::begin(&log, resolved.sinks, &metrics);
        let Resolved { config, tls, callers, policy, policy_file, way, request_metadata, .. } = resolved;
        let (tasks, drain, stop) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let health = Health::watch(&way.base, config.upstream.health_interval, log.clone(), metrics.clone());
        let budgets = budgets::begin(&config, &learn, &way.parting, store.as_ref(), &metrics);
        let policy = policies::begin(policy, policy_file, &config.policy, &mut files, &budgets, &metrics);
        let audit = Audit::new(log.clone(), audit::Detail::of(&config.audit)?);
        let gateway = Gateway::new(Stages {
            tasks: tasks.clone(),
            audit: audit.clone(),
            bind: Bind(policy.clone()),
            limits: Limits::new(engine(&config.limits, store.as_ref(), &metrics)),
            budgets: budgets.clone(),
            validate: Validate { stricter: config.validation.stricter },
            learn: learn.clone(),
            parting: way.parting,
            log_hosts: way.log_hosts,
            metrics: metrics.clone(),
        });
        let passed = upstream_tokens(&config, &learn, &orgs, &metrics);
        let (identities, key_file, tokens) = identities(callers, passed);
        let issuers = tokens.issuers.clone();
        let front = Front::new(gateway, rpc::methods(), config.requests, request_metadata, metrics.clone());
        let wire = Wire {
            audit,
            metrics: metrics.clone(),
            in_flight: config.limits.in_flight,
            peers: Peers::new(config.limits.refusals, metrics.clone()),
            deadline: config.deadline,
            identities: identities.clone(),
            reflect: Reflect::new(config.reflection, drain.clone())?,
            explains: true,
        };
        // Outermost: a preflight has no key and is no call.
        let routes = option_layer(config.cors.layer(&way.response_metadata))
            .layer(Routes::new(wire.around(front), health.service()));
        let (gateway, admin) = (listeners.gateway.local_addr()?, listeners.admin.local_addr()?);
        keys::follow(key_file, identities, config.identity.reload_interval, &mut files);
        credentials::follow(way.credential_files, &learn, config.upstream.reload_interval, &mut files);
        tls.iter().for_each(|tls| files.follow(tls.clone(), tls.first(), tls.reload_interval()));
        issuers::keep_fresh(tokens, &mut files, config.identity.reload_interval, &stop, &metrics);
        let (grace, opening) = (config.shutdown.grace, files.opening());
        let state = Arc::new(State {
            log,
            metrics,
            tasks,
            health,
            files,
            policy,
            budgets,
            learn,
            orgs,
            issuers,
            store,
            draining: AtomicBool::new(false),
        });
        let serving = serve(server, tls, listeners.gateway, routes, drain.clone(), opening);
        let operating = tokio::spawn(admin::serve(listeners.admin, state.clone(), stop.clone()));
        Ok(Self { gateway, admin, state, drain, stop, grace, serving, operating, shipping })
    }

    /// The audit log, for what wants to see it end.
    pub fn log(&self) -> &audit::Log {
        &self.state.log
    }

    /// Asks upstream in the background what it calls the orgs, so that no first call has to, until it has said so of
    /// each, and again while a credential is another organization's; `pause` goes before the first question, and is
    /// doubled before each further one.
    pub fn learn_organizations(&self, pause: Duration) {
        let asking = self.state.learn.clone().keep_settled(self.state.orgs.all(), pause);
        tokio::spawn(self.drain.clone().run_until_cancelled_owned(asking));
    }

    /// Ends it: no new calls, those in flight may finish within the grace period, then mutations whose callers have
    /// left, then the audit log. The operator's port answers to the end.
    pub async fn drain(self) -> Ended {
        self.state.draining.store(true, Ordering::Relaxed);
        self.state.health.drain();
        tokio::time::sleep(NOTICE.min(self.grace / 10)).await;
        let deadline = tokio::time::Instant::now() + self.grace;
        self.state.health.end_watches();
        self.drain.cancel();
        let summary = self.serving.await.unwrap_or_default();
        self.state.tasks.close();
        let until = deadline.max(tokio::time::Instant::now() + MIN_DRAIN);
        let _over = tokio::time::timeout_at(until, self.state.tasks.wait()).await;
        let tasks_lost = self.state.tasks.len();
        self.state.log.close().await;
        self.shipping.end().await;
        self.stop.cancel();
        let _ended = self.operating.await;
        Ended { requests_lost: summary.requests_lost, tasks_lost }
    }
}

/// Who counts rates: this process, or the store for all replicas.
fn engine(config: &limit::Config, store: Option<&Store>, metrics: &Metrics) -> Engine {
    match (store, &config.redis, config.replicas) {
        (Some(store), Some(redis), Some(replicas)) => {
            let reads_pass = redis.reads_pass.iter().map(|rule| rule.as_str().into());
            Engine::shared(Shared::new(store.clone(), replicas, reads_pass, metrics.clone()))
        }
        _ => Engine::local(MonotonicClock),
    }
}

/// All the ways to be known, and what of them is followed.
fn identities(callers: Callers, passed: Option<UpstreamTokens>) -> (Identities, Option<KeyFile>, Tokens) {
    let Callers { keys, certificates, key_file, tokens } = callers;
    let known = Identities::new(keys).with_certificates(certificates).with_issuers(tokens.issuers.clone());
    (known.with_upstream_tokens(passed), key_file, tokens)
}

/// Who may come with a token of upstream's own.
fn upstream_tokens(config: &Config, learn: &Learn, orgs: &Orgs, metrics: &Metrics) -> Option<UpstreamTokens> {
    config.identity.upstream_tokens.enabled.then(|| {
        let introspect = Arc::new(Introspection::new(learn.clone(), orgs.all()));
        UpstreamTokens::new(&config.identity.upstream_tokens, introspect, metrics.clone())
    })
}

/// Serves the main port, with a certificate or without, once that is over. Until then callers wait to be accepted.
fn serve<S>(
    server: Server,
    tls: Option<Tls>,
    listener: TcpListener,
    service: S,
    drain: CancellationToken,
    opening: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<server::Summary>
where
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    tokio::spawn(async move {
        opening.await;
        match tls {
            None => server.serve(listener, service, drain).await,
            Some(tls) => server.with_transport(tls).serve(listener, service, drain).await,
        }
    })
}

/// Shown only: without the store each replica keeps its part of the limits.
fn limits(store: &Store) -> Check {
    let trouble = store.trouble();
    let check = Check::shown("limits.redis", trouble.is_none());
    trouble.into_iter().fold(check, |check, fault| check.with_detail(fault.to_string()))
}

/// Shown only: at the cap the log goes on, and the oldest records go, or are kept for sinks.
fn room(log: &audit::Log) -> Check {
    let warning = log.fill();
    let check = Check::shown("audit.keep_bytes", warning.is_none());
    warning.into_iter().fold(check, |check, warning| check.with_detail(warning.to_string()))
}

impl Status for State {
    fn ready(&self) -> Readiness {
        let draining = self.draining.load(Ordering::Relaxed);
        let mut checks = vec![
            Check::required("config", true),
            Check::required("audit", self.log.is_healthy() && self.health.audit_is_writable()),
            Check::required("not_draining", !draining),
            Check::shown("upstream", self.health.upstream_is_reachable()),
        ];
        checks.push(room(&self.log));
        checks.push(policies::check(&self.policy, &self.files));
        checks.extend(self.files.checks());
        checks.extend(self.orgs.checks(self.learn.organizations()));
        checks.extend(issuers::checks(&self.issuers));
        checks.extend(self.store.as_ref().map(limits));
        checks.extend(budgets::check(&self.budgets));
        Readiness { checks }
    }

    fn metrics(&self) -> String {
        self.metrics.encode()
    }
}
