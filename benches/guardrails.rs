//! What guardrails cost a call, beside the same way without them.

#![expect(clippy::panic, reason = "a bench that cannot begin has nothing to measure")]

use std::{
    hint::black_box,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use governor::clock::MonotonicClock;
use http::{Extensions, HeaderMap};
use prebuild_gateway::{
    call::{Call, Context, Deadline, Identity, Line, Reply, RequestId, Scopes},
    error::Error,
    limit::{Bucket, Demand, Engine, InFlight, Limits, Local},
    rpc::{GET_PREBUILD, Seen},
    rule::{Applied, Bound, Holder, Mode, Quota, Rate},
    stack::stage,
    telemetry::Metrics,
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::{Service as _, ServiceBuilder, service_fn, util::BoxCloneSyncService};

type Stack = BoxCloneSyncService<Call, Reply, Error>;

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
        Quota { rate: applied(rule, wide()), holder, cost: NonZeroU32::MIN }
    };
    rules.take(count).map(quota).collect()
}

fn call(bound: Bound) -> Call {
    let identity = Identity {
        subject: "ci".into(),
        org: "acme".into(),
        credential: "ci-1".into(),
        scopes: Scopes::all(),
        passed: None,
    };
    let (request, facts) = GET_PREBUILD.decode(b"").unwrap_or_else(|error| panic!("{error}"));
    Call {
        method: &GET_PREBUILD,
        context: Context::new(RequestId::new(), Instant::now(), None),
        identity,
        facts,
        request,
        deadline: Deadline::at(Instant::now() + Duration::from_secs(60)),
        metadata: HeaderMap::new(),
        unknown: Vec::new(),
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

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap_or_else(|error| panic!("{error}"))
}

/// One call through a stack; making the call is no part of it.
fn run(criterion: &mut Criterion, name: &str, stack: &Stack, bound: &Bound) {
    let runtime = runtime();
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

/// Where every call is somebody else's: each makes a bucket, and one goes for it.
fn strangers(criterion: &mut Criterion) {
    let local = Local::new(MonotonicClock);
    let mut number = 0_u64;
    criterion.bench_function("rates/made_up_subjects", |bencher| {
        bencher.iter(|| {
            number += 1;
            let subject = Some(number.to_string().as_str().into());
            let bucket =
                Bucket { org: "acme".into(), subject, rule: "rates.subject.all".into(), candidate: false };
            local.take(&[Demand { bucket, rate: wide(), cost: NonZeroU32::MIN, in_force: true }])
        });
    });
}

criterion_group!(guardrails, limits, strangers);
criterion_main!(guardrails);
