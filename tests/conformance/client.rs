//! Calls through the gateway's call plane, which speaks Connect, JSON, unary.

use std::{
    collections::HashMap,
    fs::Permissions,
    io::{Write as _, stdin, stdout},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use governor::clock::MonotonicClock;
use prebuild_gateway::{
    audit,
    budget::Budgets,
    call::{Call, Context, Deadline, Handle as _, Identity, OrgId, Reply, RequestId, Scopes},
    error::{Code, Error, Reason},
    gateway::{Gateway, Stages},
    limit::{Engine, Limits},
    policy::{Bind, Edition, Ground, Policy, Stricter, Texts, Validate},
    rpc::MethodSpec,
    rule::Bound,
    telemetry::Metrics,
    upstream::{
        Base, Client, Config, Credentials, Learn, LogHosts, Organizations, Parting, Protocol, Upstream,
    },
};
use prost::Message as _;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BoxError,
    messages::{
        IDEMPOTENT_UNARY, RequestInfo, RpcError, UNARY_READ, UNIMPLEMENTED, UnaryResponse, allowed, any,
        headers, metadata,
    },
    pipe::{Answered, ClientRequest, ClientResponse, Failed, Outcome, receive, send},
};

const ORG: &str = "suite";
const HTTP_1: i32 = 1;

/// Calls at a time: most of them wait.
const AT_ONCE: usize = 32;

/// The gateway never calls without a deadline. This is what its front gives a caller that has none.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// One gateway for each server that the suite starts, and what they share.
struct Gateways {
    log: audit::Log,
    metrics: Metrics,
    folder: tempfile::TempDir,
    made: Mutex<HashMap<Way, Gateway>>,
}

/// HTTP version, port and certificate.
type Way = (i32, u32, Vec<u8>);

pub async fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let metrics = Metrics::new();
    let log = audit::Log::open(&audit::Config::at(folder.path().join("audit")), metrics.clone())?;
    let gateways = Arc::new(Gateways { log, metrics, folder, made: Mutex::default() });
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut calls = JoinSet::new();
    loop {
        let next = tokio::task::spawn_blocking(|| receive::<ClientRequest>(&mut stdin().lock())).await??;
        let Some(request) = next else { break };
        let (gateways, place) = (gateways.clone(), places.clone().acquire_owned().await?);
        calls.spawn(async move {
            let test_name = request.test_name.clone();
            let outcome = match gateways.call(request).await {
                Ok(answered) => Outcome::Response(answered),
                Err(error) => Outcome::Error(Failed { message: error.to_string() }),
            };
            drop(place);
            // One lock for the whole message, so that two never mix.
            send(&mut stdout().lock(), &ClientResponse { test_name, result: Some(outcome) })
        });
    }
    while let Some(sent) = calls.join_next().await {
        sent??;
    }
    stdout().flush()?;
    gateways.log.close().await;
    Ok(())
}

impl Gateways {
    async fn call(&self, request: ClientRequest) -> Result<Answered, BoxError> {
        let gateway = self.gateway(&request)?;
        let method = method(request.method.as_deref())?;
        let [message] = &request.request_messages[..] else { return Err("not a unary request".into()) };
        let timeout = request.timeout_ms.map(|millis| Duration::from_millis(millis.into()));
        let gone = CancellationToken::new();
        let (wire, facts) = method.decode(&message.value)?;
        let call = Call {
            method,
            context: Context::new(RequestId::new(), Instant::now(), None),
            identity: Identity {
                subject: ORG.into(),
                org: OrgId::from(ORG),
                credential: ORG.into(),
                scopes: Scopes::all(),
                passed: None,
            },
            facts,
            request: wire,
            deadline: Deadline::at(Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE)),
            metadata: metadata(&request.request_headers),
            gone: gone.clone(),
            place: None,
            bound: Bound::default(),
            left: http::Extensions::new(),
        };
        let cancel = request.cancel.and_then(|cancel| cancel.after_close_send_ms);
        let result = match cancel {
            None => gateway.handle(call).await,
            // As a front does: whoever leaves drops the call, and gets no answer.
            Some(millis) => tokio::time::timeout(Duration::from_millis(millis.into()), gateway.handle(call))
                .await
                .unwrap_or_else(|_| Err(Error::refuse(Reason::CallerGone))),
        };
        gone.cancel();
        let mut answered = match result {
            Ok(reply) => replied(reply)?,
            Err(error) => refused(error),
        };
        if timeout.is_none() {
            forget_deadline(&mut answered)?;
        }
        Ok(answered)
    }

    fn gateway(&self, request: &ClientRequest) -> Result<Gateway, BoxError> {
        let key = (request.http_version, request.port, request.server_tls_cert.clone());
        let mut made = self.made.lock().map_err(|_| "poisoned")?;
        if let Some(gateway) = made.get(&key) {
            return Ok(gateway.clone());
        }
        let gateway = self.make(request, made.len())?;
        made.insert(key, gateway.clone());
        Ok(gateway)
    }

    fn make(&self, request: &ClientRequest, number: usize) -> Result<Gateway, BoxError> {
        let is_tls = !request.server_tls_cert.is_empty();
        let scheme = if is_tls { "https" } else { "http" };
        let mut config = Config::at(format!("{scheme}://{}:{}", request.host, request.port));
        config.protocol = match request.http_version {
            HTTP_1 => Protocol::Http1,
            _ if is_tls => Protocol::Auto,
            _ => Protocol::Http2,
        };
        if is_tls {
            let path = self.folder.path().join(format!("{number}.pem"));
            write(&path, &request.server_tls_cert)?;
            config.ca_file = Some(path);
        }
        let org = OrgId::from(ORG);
        // None: a refused credential is then not the gateway's own.
        let client = Client::new(&config, Base::parse(&config.base_url)?, Credentials::default())?;
        let log_hosts = LogHosts::new(client.base(), &[])?;
        let upstream = Upstream::new(client, allowed(None), config.mutation_timeout, self.metrics.clone());
        // Known, as a question would be a call that the suite does not expect.
        let organizations = Organizations::new([(org.clone(), ORG.to_owned())]);
        let loose = "rates.org.all = { per_second = 1000000, burst = 1000000 }\nlimits.in_flight = 1000000";
        let texts = Texts { policy: loose.to_owned(), ..Texts::default() };
        let policy = Policy::new(Edition::of(&texts, &Ground::default())?);
        Ok(Gateway::new(Stages {
            tasks: TaskTracker::new(),
            audit: audit::Audit::new(
                self.log.clone(),
                audit::Detail::of(&audit::Config::at(self.folder.path().to_owned()))?,
            ),
            bind: Bind(policy),
            limits: Limits::new(Engine::local(MonotonicClock)),
            budgets: Budgets::default(),
            validate: Validate { stricter: Stricter::default() },
            learn: Learn::new(upstream, organizations),
            parting: Parting::ByOrganization,
            log_hosts,
            metrics: self.metrics.clone(),
        }))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BoxError> {
    std::fs::write(path, bytes)?;
    Ok(std::fs::set_permissions(path, Permissions::from_mode(0o644))?)
}

fn method(name: Option<&str>) -> Result<&'static MethodSpec, BoxError> {
    match name {
        Some("Unary") => Ok(&UNARY_READ),
        Some("IdempotentUnary") => Ok(&IDEMPOTENT_UNARY),
        Some("Unimplemented") => Ok(&UNIMPLEMENTED),
        other => Err(format!("no such unary method: {other:?}").into()),
    }
}

fn replied(reply: Reply) -> Result<Answered, BoxError> {
    Ok(Answered {
        response_headers: headers(&reply.metadata),
        payloads: UnaryResponse::decode(reply.wire)?.payload.into_iter().collect(),
        error: None,
        response_trailers: headers(&reply.trailers),
    })
}

/// An error of the gateway has one place for metadata, which the suite takes for trailers.
fn refused(error: Error) -> Answered {
    Answered {
        error: Some(RpcError {
            code: code(error.code),
            message: Some(error.message.into_owned()),
            details: error.details,
        }),
        response_trailers: headers(&error.metadata),
        ..Answered::default()
    }
}

fn code(code: Code) -> i32 {
    code as i32
}

/// Upstream always hears of a deadline. The suite, which knows of those alone that its cases set, is not told of it.
fn forget_deadline(answered: &mut Answered) -> Result<(), BoxError> {
    for payload in &mut answered.payloads {
        if let Some(info) = &mut payload.request_info {
            info.timeout_ms = None;
        }
    }
    let details = answered.error.iter_mut().flat_map(|error| &mut error.details);
    for detail in details.filter(|detail| detail.type_url.ends_with(RequestInfo::NAME)) {
        let mut info = RequestInfo::decode(&detail.value[..])?;
        info.timeout_ms = None;
        *detail = any(RequestInfo::NAME, info.encode_to_vec());
    }
    Ok(())
}
