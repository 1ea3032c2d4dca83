//! Makes logs of random calls, which the gateway's own stages judge and record. What is not the policy's is drawn: rates,
//! budgets, and what upstream knows of objects.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use http::{Extensions, HeaderMap};
use prebuild_gateway::{
    audit::{self, Audit, Detail, Intent, Log},
    call::{Call, Context, Deadline, Identity, Line, Reply, RequestId, Scope, Scopes},
    error::{Error, Reason},
    policy::{
        Authorize, Bind, DryRun, Edition, Ground, Halt, InScope, Permitted, Policy, Stricter, Texts,
        Validate, WriteDefaults,
    },
    rpc::{
        CREATE_PREBUILD, Class, DELETE_PREBUILD, Facts, MethodSpec, Object, Seen, Sizes, Timeout, methods,
    },
    rule::{Bound, Need},
    stack::{Next, Stage, stage},
    telemetry::Metrics,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service as _, ServiceBuilder, service_fn};
use uuid::Uuid;

/// Every kind of limit, defaults that are written, shares, and entries that decide nothing.
const POLICY: &str = r#"
[limits]
max_timeout = { value = "90min", share = 0.5, candidate = "30min" }
default_timeout = "45min"
max_page_size = 20
min_pool_size = { value = 1, mode = "warn" }
max_pool_size = { value = 4, candidate = 2 }
methods = { deny = ["GetWarmPool"], share = 0.3 }
[orgs.acme.limits]
projects = { deny = ["0198c0de-0000-7000-8000-0000000000a3"] }
environment_classes = { allow = ["0198c0de-0000-7000-8000-0000000000c0"], share = 1.0, mode = "enforce" }
default_environment_classes = { "0198c0de-0000-7000-8000-0000000000a1" = "0198c0de-0000-7000-8000-0000000000c0" }
[orgs.acme.subjects.ada.limits]
max_timeout = "2h"
environment_classes = { allow = "any" }
[orgs.acme.subjects.planted.limits]
max_timeout = "2h"
environment_classes = { allow = "any" }
[rules]
files = ["rules.cedar"]
"#;

const RULES: &str = r#"
@id("night") @share("0.7")
forbid(principal, action in Action::"mutate", resource) when { context.hour >= 22 };
@id("office")
forbid(principal in Org::"globex", action in Action::"secret", resource)
unless { context has client_address && context.client_address.isInRange(ip("10.0.0.0/8")) };
@id("said") @mode("warn")
forbid(principal, action == Action::"CreatePrebuild", resource) unless { context.timeout_given };
@id("said-by-ada")
forbid(principal == Subject::"acme/ada", action == Action::"CreatePrebuild", resource)
unless { context.timeout_given };
@id("small")
forbid(principal, action == Action::"UpdateWarmPool", resource in Project::"0198c0de-0000-7000-8000-0000000000a1")
when { context.largest_size > 2 };
@id("connect")
forbid(principal, action == Action::"ListPrebuilds", resource) when { context.protocol == "connect" };
"#;
/// What the candidate does not have.
const DROPPED: &str = r#"
@id("dropped") forbid(principal == Subject::"acme/janitor", action in Action::"mutate", resource);
"#;
/// What it has in its place.
const ADDED: &str = r#"
@id("added") forbid(principal == Subject::"acme/planted", action == Action::"CreatePrebuild", resource)
when { context.timeout_seconds > 2000 };
"#;

/// Of the gateway that made the calls; its credentials are not there.
const CONFIG: &str = r#"
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
identity.keys_file = "keys.toml"
audit.directory = "audit"
upstream.base_url = "http://127.0.0.1:1/api"
orgs = [{ id = "acme", credential = { env = "NOT_THERE" } }, { id = "globex", credential = { env = "NOT_THERE" } }]
"#;

/// One call in so many is refused for what is not the policy's, or is a dry run.
const SELDOM: u64 = 40;
/// Calls at a time.
const AT_A_TIME: usize = 256;

/// The calls of one log.
pub(crate) struct Calls(Vec<Made>);

/// What rules said of a call, where they had a word.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) request: String,
    pub(crate) subject: &'static str,
    pub(crate) passed: Option<bool>,
}

/// A call that is not made yet.
#[derive(Clone)]
struct Made {
    id: RequestId,
    method: &'static MethodSpec,
    org: &'static str,
    subject: &'static str,
    scopes: Vec<Scope>,
    facts: Facts,
    peer: Option<SocketAddr>,
    protocol: &'static str,
    is_dry_run: bool,
    at: SystemTime,
}

/// The same numbers each time.
struct Dice(u64);

/// Stands where rates refuse.
#[derive(Clone)]
struct Rate;

/// Stands where the object is looked up.
#[derive(Clone)]
struct Look;

/// Stands where budgets refuse.
#[derive(Clone)]
struct Spend;

/// Writes the configuration.
pub(crate) fn configure(path: &Path) {
    fs::write(path, CONFIG).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The policy that calls are recorded under, and the candidate: files below `directory`.
pub(crate) fn policies(directory: &Path) -> [PathBuf; 2] {
    let write = |name: &str, rules: String| {
        let place = directory.join(name);
        fs::create_dir_all(&place).unwrap();
        for (file, text) in [("policy.toml", POLICY), ("rules.cedar", &rules)] {
            fs::write(place.join(file), text).unwrap();
            fs::set_permissions(place.join(file), fs::Permissions::from_mode(0o644)).unwrap();
        }
        place.join("policy.toml")
    };
    [write("present", format!("{RULES}{DROPPED}")), write("candidate", format!("{RULES}{ADDED}"))]
}

impl Calls {
    pub(crate) fn random(number: usize) -> Self {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        Self((0..number).map(|nth| Made::random(&mut dice, nth)).collect())
    }

    /// Makes them all, under a policy and into a log, and tells what rules said.
    pub(crate) async fn record(&self, policy: &Path, log: &Path) -> Vec<Said> {
        let config = audit::Config { instance: "gateway-0".to_owned(), ..audit::Config::at(log) };
        let log = Log::open(&config, Metrics::new()).unwrap();
        let said = self.record_into(policy, &log, &Detail::of(&config).unwrap()).await;
        log.close().await;
        said
    }

    /// The same, into a log that goes on.
    pub(crate) async fn record_into(&self, policy: &Path, log: &Log, detail: &Detail) -> Vec<Said> {
        let ground =
            Ground { orgs: vec!["acme".into(), "globex".into()], in_flight: 1024, ..Ground::default() };
        let policy = Policy::new(Edition::of(&Texts::read(policy).unwrap(), &ground).unwrap());
        let mut said = Vec::new();
        for some in self.0.chunks(AT_A_TIME) {
            let mut tasks = JoinSet::new();
            for made in some {
                tasks.spawn(made.clone().run(policy.clone(), log.clone(), detail.clone()));
            }
            said.extend(tasks.join_all().await);
        }
        said.sort_by(|one: &Said, other| one.request.cmp(&other.request));
        said
    }
}

impl Made {
    fn random(dice: &mut Dice, nth: usize) -> Self {
        let all: Vec<_> = methods().collect();
        let (method, org, subject) = match nth % 50 {
            0 => (&CREATE_PREBUILD, "acme", "planted"),
            1 => (&DELETE_PREBUILD, "acme", "janitor"),
            _ => (*dice.of(&all), *dice.of(&["acme", "globex"]), *dice.of(&["ci", "ada", "ada b"])),
        };
        let addresses = ["10.1.2.3:1", "192.0.2.7:2", "[::ffff:10.0.0.1]:3", "[2001:db8::1]:4"];
        let mut scopes = Class::ALL.map(Scope::Class).to_vec();
        if dice.roll(10) == 0 {
            scopes.truncate(1);
        }
        let is_dry_run = dice.roll(40) == 0;
        scopes.extend(is_dry_run.then_some(Scope::Explain));
        let id = Uuid::from_u64_pair(dice.roll(u64::MAX), dice.roll(u64::MAX));
        Self {
            id: RequestId::from(id),
            method,
            org,
            subject,
            scopes,
            facts: dice.facts(),
            peer: (dice.roll(5) > 0).then(|| dice.of(&addresses).parse().unwrap()),
            protocol: dice.of::<&str>(&["grpc", "grpc_web", "connect"]),
            is_dry_run,
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_790_000_000_000_000 + dice.roll(1 << 40)),
        }
    }

    fn call(&self) -> Call {
        let (request, facts) = self.method.decode(&self.method.state(&self.facts)).unwrap();
        let identity = Identity {
            subject: self.subject.into(),
            org: self.org.into(),
            credential: "key".into(),
            scopes: Scopes::new(&self.scopes),
            passed: None,
        };
        let context = Context::new(self.id, Instant::now(), self.peer);
        context.set_method(self.method);
        context.set_identity(identity.clone());
        context.set_protocol(self.protocol);
        if self.is_dry_run {
            context.set_dry_run();
        }
        Call {
            method: self.method,
            context,
            identity,
            facts,
            request,
            deadline: Deadline::at(Instant::now() + Duration::from_secs(600)),
            metadata: HeaderMap::new(),
            gone: CancellationToken::new(),
            place: None,
            bound: Bound::default(),
            left: Extensions::new(),
        }
    }

    /// In the gateway's order.
    async fn run(self, policy: Policy, log: Log, detail: Detail) -> Said {
        let mut stack = ServiceBuilder::new()
            .layer(stage(Audit::new(log.clone(), detail.clone())))
            .layer(stage(Bind(policy)))
            .layer(stage(Rate))
            .layer(stage(DryRun))
            .layer(stage(InScope))
            .layer(stage(WriteDefaults))
            .layer(stage(Validate { stricter: Stricter::Forward }))
            .layer(stage(Look))
            .layer(stage(Authorize { at: Some(self.at) }))
            .layer(stage(Spend))
            .layer(stage(Halt))
            .layer(stage(Intent::new(log, detail)))
            .service(service_fn(|_: Permitted<Call>| async { Ok::<_, Error>(reply()) }));
        let call = self.call();
        let context = call.context.clone();
        let reason = stack.call(call).await.err().and_then(|error| error.reason);
        assert_ne!(reason, Some(Reason::Internal));
        let passed = match reason {
            _ if self.is_dry_run => None,
            Some(Reason::PolicyDenied) => Some(false),
            _ => context.judged().map(|_| true),
        };
        Said { request: self.id.to_string(), subject: self.subject, passed }
    }
}

impl Dice {
    /// Below `most`. (Marsaglia's xorshift.)
    fn roll(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = usize::try_from(self.roll(all.len() as u64)).unwrap();
        &all[index]
    }

    fn id(&mut self, kind: char) -> String {
        match self.roll(SELDOM) {
            0 => "none of ours".to_owned(),
            number => format!("0198c0de-0000-7000-8000-0000000000{kind}{}", number % 4),
        }
    }

    /// Any; a request states of them what it has.
    fn facts(&mut self) -> Facts {
        let timeouts = [1, 600, 1800, 2345, 3600, 5400, 7200, 7201];
        let size = |dice: &mut Self| (dice.roll(3) > 0).then(|| i32::try_from(dice.roll(7)).unwrap());
        let mut facts = Facts {
            project: Some(self.id('a')),
            class: (self.roll(3) > 0).then(|| self.id('c')),
            prebuild: Some(Uuid::from_u64_pair(self.roll(u64::MAX), self.roll(u64::MAX)).to_string()),
            pool: Some(Uuid::from_u64_pair(self.roll(u64::MAX), self.roll(u64::MAX)).to_string()),
            spec: self.roll(40) > 0,
            page_size: (self.roll(2) > 0).then(|| i32::try_from(self.roll(105)).unwrap()),
            sizes: Sizes { desired: None, min: size(self), max: size(self) },
            ..Facts::default()
        };
        facts.timeout = (self.roll(3) > 0).then(|| Timeout { seconds: *self.of(&timeouts), nanos: 0 });
        facts.filter.projects = (0..self.roll(3)).map(|_| self.id('a')).collect();
        facts
    }
}

/// Drawn by the call's id, so that it is the same under any policy.
fn draws(call: &Call, which: u128) -> bool {
    call.context.id().as_u128() % u128::from(SELDOM) == which
}

fn object(call: &Call, sized: bool) -> Object {
    let id = call.context.id().as_u128() >> 16;
    let size = i32::try_from(id % 4).unwrap();
    let is_pool = call.facts.pool.is_some() && sized;
    let sizes = Sizes { desired: Some(size), min: Some(size), max: Some(size + 1) };
    Object {
        id: call.facts.object().unwrap().to_owned(),
        organization: "0198c0de-0000-7000-8000-0000000000f0".to_owned(),
        project: format!("0198c0de-0000-7000-8000-0000000000a{}", id / 4 % 4),
        class: format!("0198c0de-0000-7000-8000-0000000000c{}", id / 16 % 3),
        sizes: if is_pool { sizes } else { Sizes::default() },
        ..Object::default()
    }
}

fn reply() -> Reply {
    Reply {
        json: "{}".into(),
        wire: "".into(),
        seen: Seen::default(),
        drift: Vec::new(),
        metadata: HeaderMap::new(),
        trailers: HeaderMap::new(),
        line: Line::default(),
    }
}

impl Stage<Call> for Rate {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        if draws(&call, 0) { Err(Error::refuse(Reason::RateLimited)) } else { next.run(call).await }
    }
}

impl Stage<Call> for Look {
    type Passes = Call;
    type Response = Reply;

    /// What is known is given, too, where nothing asks for it; and what only those ask for that decide nothing may be
    /// missing.
    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        if call.method.lookup.is_some() {
            let of_sizes = if call.method.takes("max_size") { call.bound.needs_object } else { Need::Not };
            let sizes = call.bound.needs_sizes.max(of_sizes);
            let need = if call.facts.sizes.lack_one_bound() { Need::Required } else { sizes };
            match need.max(call.bound.needs_object) {
                Need::Required if draws(&call, 1) => return Err(Error::refuse(Reason::NotFound)),
                Need::Wanted if draws(&call, 2) => {}
                Need::Not if !draws(&call, 3) => {}
                _ => call.facts.resource = Some(object(&call, need > Need::Not)),
            }
        }
        next.run(call).await
    }
}

impl Stage<Permitted<Call>> for Spend {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        if draws(call.get(), 4) { Err(Error::refuse(Reason::BudgetExceeded)) } else { next.run(call).await }
    }
}
