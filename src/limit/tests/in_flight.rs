//! Caps on what an org has in flight: held while work runs, whoever waits for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use prost::Message as _;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;
use tonic_types::pb;
use tower::{Service as _, ServiceBuilder, service_fn, util::BoxCloneSyncService};

use super::applied;
use crate::{
    call::{
        Call, OrgId, Reply,
        tests::{call, reply},
    },
    error::{Code, Error, Reason},
    gateway::Detach,
    limit::InFlight,
    proto::gitpod::v1 as api,
    rpc::{CREATE_PREBUILD, GET_PREBUILD, MethodSpec},
    rule::{Applied, Mode},
    stack::stage,
    telemetry::Metrics,
};

type Begun = Arc<Mutex<VecDeque<oneshot::Sender<()>>>>;

/// Detach over the stage over work that tells when it has begun, and waits to be let go.
struct Plane {
    stack: BoxCloneSyncService<Call, Reply, Error>,
    begun: Begun,
    go: Arc<Notify>,
    tasks: TaskTracker,
    metrics: Metrics,
}

fn plane() -> Plane {
    let (begun, go, tasks, metrics) =
        (Begun::default(), Arc::new(Notify::new()), TaskTracker::new(), Metrics::new());
    let (begins, waits) = (Arc::clone(&begun), Arc::clone(&go));
    let work = service_fn(move |_: Call| {
        let (begin, wait) = (begins.lock().unwrap().pop_front().unwrap(), Arc::clone(&waits));
        async move {
            begin.send(()).unwrap();
            wait.notified().await;
            Ok::<_, Error>(reply())
        }
    });
    let stack = ServiceBuilder::new()
        .layer(stage(Detach::new(tasks.clone())))
        .layer(stage(InFlight::new(metrics.clone())))
        .service(work);
    Plane { stack: BoxCloneSyncService::new(stack), begun, go, tasks, metrics }
}

fn capped(org: &str, method: &'static MethodSpec, caps: Vec<Applied<u32>>) -> Call {
    let mut call = call(method, &api::GetPrebuildRequest::default());
    call.identity.org = OrgId::from(org);
    call.bound.in_flight = caps;
    call
}

fn cap(value: u32) -> Vec<Applied<u32>> {
    vec![applied("limits.in_flight", Mode::Enforce, value)]
}

impl Plane {
    /// A call that has begun and waits.
    async fn begin(&self, call: Call) -> tokio::task::JoinHandle<Result<Reply, Error>> {
        let (begin, begun) = oneshot::channel();
        self.begun.lock().unwrap().push_back(begin);
        let running = tokio::spawn(self.stack.clone().call(call));
        begun.await.unwrap();
        running
    }

    fn shown(&self, org: &str) -> String {
        let sample = format!("prebuild_gateway_org_calls_in_flight{{org=\"{org}\"}} ");
        let text = self.metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(&sample)).unwrap().to_owned()
    }
}

#[tokio::test]
async fn one_too_many_is_refused_and_another_org_is_not() {
    let plane = plane();
    let first = plane.begin(capped("acme", &GET_PREBUILD, cap(2))).await;
    let second = plane.begin(capped("acme", &GET_PREBUILD, cap(2))).await;
    assert_eq!(plane.shown("acme"), "2");
    let refused = capped("acme", &GET_PREBUILD, cap(2));
    let context = refused.context.clone();
    let error = plane.stack.clone().call(refused).await.unwrap_err();
    assert_eq!((error.code, error.reason), (Code::ResourceExhausted, Some(Reason::OrgBusy)));
    assert_eq!(error.rule.as_deref(), Some("limits.in_flight"));
    let failure = pb::QuotaFailure::decode(&*error.details[0].value).unwrap();
    assert_eq!(failure.violations[0].subject, "org:acme");
    assert_eq!(failure.violations[0].description, "limits.in_flight: at most 2 calls in flight");
    assert!(context.rulings()[0].refuses());
    let other = plane.begin(capped("globex", &GET_PREBUILD, cap(2))).await;
    assert_eq!(plane.shown("acme"), "2", "a refused call holds no place");
    plane.go.notify_waiters();
    for running in [first, second, other] {
        running.await.unwrap().unwrap();
    }
    assert_eq!((plane.shown("acme"), plane.shown("globex")), ("0".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn a_mutation_holds_its_place_when_its_caller_has_left_and_a_read_does_not() {
    let plane = plane();
    let (create, get) = (
        plane.begin(capped("acme", &CREATE_PREBUILD, cap(2))).await,
        plane.begin(capped("acme", &GET_PREBUILD, cap(2))).await,
    );
    for running in [create, get] {
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }
    assert_eq!(plane.shown("acme"), "1");
    let next = plane.begin(capped("acme", &GET_PREBUILD, cap(2))).await;
    let error = plane.stack.clone().call(capped("acme", &GET_PREBUILD, cap(2))).await.unwrap_err();
    assert_eq!(error.reason, Some(Reason::OrgBusy));
    plane.go.notify_waiters();
    next.await.unwrap().unwrap();
    plane.tasks.close();
    plane.tasks.wait().await;
    assert_eq!(plane.shown("acme"), "0");
}

#[tokio::test]
async fn a_cap_that_is_only_looked_at_lets_pass_and_is_on_record() {
    let plane = plane();
    let looked_at =
        || vec![applied("limits.in_flight", Mode::Warn, 1), applied("limits.in_flight", Mode::Enforce, 3)];
    let first = plane.begin(capped("acme", &GET_PREBUILD, looked_at())).await;
    let call = capped("acme", &GET_PREBUILD, looked_at());
    let context = call.context.clone();
    let second = plane.begin(call).await;
    let [ruling] = &context.rulings()[..] else { panic!("{:?}", context.rulings()) };
    assert!(ruling.warns() && !ruling.refuses());
    assert_eq!(ruling.bound.as_deref(), Some("at most 1 calls in flight"));
    plane.go.notify_waiters();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

/// Never more than the cap at once, however they race, and all places are free in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_for_the_last_place_has_one_winner() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (metrics, counted, peak) = (Metrics::new(), Arc::clone(&inside), Arc::clone(&most));
    let work = service_fn(move |_: Call| {
        let (inside, most) = (Arc::clone(&counted), Arc::clone(&peak));
        async move {
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, SeqCst);
            Ok::<_, Error>(reply())
        }
    });
    let stack = ServiceBuilder::new().layer(stage(InFlight::new(metrics.clone()))).service(work);
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let stack = stack.clone();
        racers.spawn(async move {
            let mut passed = 0;
            for _ in 0..200 {
                let call = capped("acme", &GET_PREBUILD, cap(3));
                passed += usize::from(stack.clone().call(call).await.is_ok());
            }
            passed
        });
    }
    let passed: usize = racers.join_all().await.into_iter().sum();
    assert!((1..=3).contains(&most.load(SeqCst)) && passed >= 200, "{most:?} {passed}");
    assert!(metrics.encode().contains("prebuild_gateway_org_calls_in_flight{org=\"acme\"} 0\n"));
}
