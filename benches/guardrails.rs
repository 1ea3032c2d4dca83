//! What guardrails cost a call, beside the same way without them.

#![expect(clippy::panic, reason = "a bench that cannot begin has nothing to measure")]

use std::{
    fmt::Write as _,
    hint::black_box,
    num::NonZeroU32,
    time::{Duration, Instant, SystemTime},
};

use criterion::{Criterion, criterion_group, criterion_main};
use governor::clock::MonotonicClock;
use http::{Extensions, HeaderMap};
use prebuild_gateway::{
    call::{Call, Context, Deadline, Identity, Line, Reply, RequestId, Scopes},
    error::Error,
    limit::{Bucket, Demand, Engine, InFlight, Limits, Local},
    policy::{
        Authorize, Bind, Edition, Ground, InScope, Permitted, Policy, Texts, WriteDefaults,
        rules::{Otherwise, Question, Rules},
    },
    proto::gitpod::v1::{CreatePrebuildRequest, PrebuildSpec},
    rpc::{MethodSpec, Seen, methods},
    rule::{Applied, Bound, Draw, Holder, Mode, Quota, Rank, Rate},
    stack::stage,
    telemetry::Metrics,
};
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::{Service as _, ServiceBuilder, service_fn, util::BoxCloneSyncService};

type Stack = BoxCloneSyncService<Call, Reply, Error>;

const PROJECT: &str = "0198c0de-0000-7000-8000-0000000000a1";

/// Every typed limit there is: ten.
const TEN_LIMITS: &str = r#"
[limits]
methods = { allow = ["read", "mutate"], deny = ["DeletePrebuild"] }
max_timeout = "1h"
min_pool_size = 1
max_pool_size = 5
max_page_size = 50
projects = { allow = ["0198c0de-0000-7000-8000-0000000000a1"] }
environment_classes = { allow = ["0198c0de-0000-7000-8000-0000000000c1"] }
in_flight = 1000
default_timeout = "45m"
default_environment_classes = { "0198c0de-0000-7000-8000-0000000000a1" = "0198c0de-0000-7000-8000-0000000000c1" }
"#;

/// And rates that six buckets are kept of, of which a creation is in four.
const RATES: &str = r#"
[rates.org]
all = { per_second = 1000000, burst = 1000000 }
read = { per_second = 1000000, burst = 1000000 }
expensive = { per_second = 1000000, burst = 1000000 }
[rates.subject]
all = { per_second = 1000000, burst = 1000000 }
read = { per_second = 1000000, burst = 1000000 }
expensive = { per_second = 1000000, burst = 1000000 }
"#;

/// So wide that nothing is refused.
const WIDE: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

fn wide() -> Rate {
    Rate::per_second(WIDE, WIDE)
}

fn applied<T>(rule: &str, value: T) -> Applied<T> {
    Applied { rule: rule.into(), mode: Mode::Enforce, candidate: false, value, link: None }
}

/// The first so many of a policy's rates: the org's and its subject's in turn.
fn quotas(count: usize) -> Vec<Quota> {
    let rules = ["rates.org.all", "rates.subject.all", "rates.org.read", "rates.subject.read"];
    let rules = rules.into_iter().chain(["rates.org.mutate", "rates.subject.mutate"]);
    let quota = |rule: &str| {
        let holder = if rule.contains("subject") { Holder::Subject } else { Holder::Org };
        Quota { rate: applied(rule, wide()), rank: Rank::default(), holder, cost: NonZeroU32::MIN }
    };
    rules.take(count).map(quota).collect()
}

fn method() -> &'static MethodSpec {
    methods().find(|method| method.name == "CreatePrebuild").unwrap_or_else(|| panic!("no such method"))
}

fn identity() -> Identity {
    Identity {
        subject: "ci".into(),
        org: "acme".into(),
        credential: "ci-1".into(),
        scopes: Scopes::all(),
        passed: None,
    }
}

/// A creation that leaves its class and its timeout to the policy.
fn call(bound: Bound) -> Call {
    let message = CreatePrebuildRequest {
        project_id: PROJECT.to_owned(),
        spec: Some(PrebuildSpec::default()),
        ..Default::default()
    };
    let decoded = method().decode(&message.encode_to_vec());
    let (request, facts) = decoded.unwrap_or_else(|error| panic!("{error}"));
    Call {
        method: method(),
        context: Context::new(RequestId::new(), Instant::now(), None),
        identity: identity(),
        facts,
        request,
        deadline: Deadline::at(Instant::now() + Duration::from_secs(60)),
        metadata: HeaderMap::new(),
        gone: CancellationToken::new(),
        place: None,
        bound,
        left: Extensions::new(),
    }
}

/// What stands in for all that is below.
async fn answer(call: Call) -> Result<Reply, Error> {
    black_box(call);
    Ok(Reply {
        json: "{}".into(),
        wire: "".into(),
        seen: Seen::default(),
        drift: Vec::new(),
        metadata: HeaderMap::new(),
        trailers: HeaderMap::new(),
        line: Line::default(),
    })
}

fn plain() -> Stack {
    BoxCloneSyncService::new(service_fn(answer))
}

fn limited() -> Stack {
    let stack = ServiceBuilder::new()
        .layer(stage(Limits::new(Engine::local(MonotonicClock))))
        .layer(stage(InFlight::new(Metrics::new())))
        .service(service_fn(answer));
    BoxCloneSyncService::new(stack)
}

fn policy(text: &str) -> Bind {
    let ground = Ground { orgs: vec!["acme".into()], in_flight: 4096 };
    let texts = Texts { policy: text.to_owned(), rules: Vec::new() };
    let edition = Edition::of(&texts, &ground).unwrap_or_else(|misfit| panic!("{misfit}"));
    Bind(Policy::new(edition))
}

async fn answer_permitted(call: Permitted<Call>) -> Result<Reply, Error> {
    answer(call.into_inner()).await
}

/// The stages of the policy, without those that limit.
fn judged(text: &str) -> Stack {
    let stack = ServiceBuilder::new()
        .layer(stage(policy(text)))
        .layer(stage(InScope))
        .layer(stage(WriteDefaults))
        .layer(stage(Authorize::default()))
        .service(service_fn(answer_permitted));
    BoxCloneSyncService::new(stack)
}

/// All stages of guardrails that every call goes through.
fn guarded(text: &str) -> Stack {
    let stack = ServiceBuilder::new()
        .layer(stage(policy(text)))
        .layer(stage(Limits::new(Engine::local(MonotonicClock))))
        .layer(stage(InFlight::new(Metrics::new())))
        .layer(stage(InScope))
        .layer(stage(WriteDefaults))
        .layer(stage(Authorize::default()))
        .service(service_fn(answer_permitted));
    BoxCloneSyncService::new(stack)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap_or_else(|error| panic!("{error}"))
}

/// One call through a stack; making the call is no part of it.
fn run(criterion: &mut Criterion, name: &str, stack: &Stack, bound: &Bound) {
    let runtime = runtime();
    let passed = runtime.block_on(stack.clone().call(call(bound.clone())));
    passed.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    criterion.bench_function(name, |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || (stack.clone(), call(bound.clone())),
            |(mut stack, call)| async move { stack.call(call).await.is_ok() },
            criterion::BatchSize::SmallInput,
        );
    });
}

fn limits(criterion: &mut Criterion) {
    run(criterion, "call/plain", &plain(), &Bound::default());
    run(criterion, "call/limits/0", &limited(), &Bound::default());
    for count in [1, 3, 6] {
        let bound = Bound {
            quotas: quotas(count),
            in_flight: vec![applied("limits.in_flight", 256)],
            ..Bound::default()
        };
        run(criterion, &format!("call/limits/{count}"), &limited(), &bound);
    }
}

fn policies(criterion: &mut Criterion) {
    run(criterion, "call/policy/built_in", &judged(""), &Bound::default());
    run(criterion, "call/policy/10_limits", &judged(TEN_LIMITS), &Bound::default());
    run(criterion, "call/guarded", &guarded(&format!("{TEN_LIMITS}{RATES}")), &Bound::default());
}

/// Of rules that all look at a call, and none of which it breaks.
fn rules_of(count: usize) -> Rules {
    let mut text = String::new();
    for number in 0..count {
        let _written = write!(
            text,
            "@id(\"rule-{number}\")\n\
             forbid (principal in Org::\"acme\", action == Action::\"CreatePrebuild\", resource)\n\
             when {{ context.timeout_seconds > {} && principal.id like \"ci-{number}*\" }};\n",
            1800 + number
        );
    }
    let rules = Rules::compile(&[("rules.cedar".to_owned(), text)], Otherwise::Permit, &["acme".into()]);
    rules.unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// Rules in Cedar by themselves; a method that none is about, too.
fn rules(criterion: &mut Criterion) {
    let (call, identity) = (call(Bound::default()), identity());
    let judge = |criterion: &mut Criterion, name: &str, count: usize, method| {
        let rules = rules_of(count);
        let question = Question {
            identity: &identity,
            method,
            facts: &call.facts,
            draw: Draw::new(1),
            now: SystemTime::now(),
            peer: None,
            protocol: "grpc",
        };
        criterion.bench_function(name, |bencher| bencher.iter(|| rules.judge(black_box(&question))));
    };
    for count in [1, 10, 100] {
        judge(criterion, &format!("rules/{count}"), count, method());
    }
    let other = methods().find(|method| method.name == "GetPrebuild").unwrap_or(method());
    judge(criterion, "rules/100_of_another_method", 100, other);
}

/// Where every call is somebody else's: each makes a bucket, and one goes for it.
fn strangers(criterion: &mut Criterion) {
    let local = Local::new(MonotonicClock);
    let mut number = 0_u64;
    criterion.bench_function("rates/made_up_subjects", |bencher| {
        bencher.iter(|| {
            number += 1;
            let subject = Some(number.to_string().as_str().into());
            let bucket = Bucket {
                org: "acme".into(),
                subject,
                rule: "rates.subject.all".into(),
                candidate: false,
                level: 0,
            };
            local.take(&[Demand {
                bucket,
                rate: wide(),
                cost: NonZeroU32::MIN,
                in_force: true,
                is_partial: false,
            }])
        });
    });
}

criterion_group!(guardrails, limits, policies, rules, strangers);
criterion_main!(guardrails);
