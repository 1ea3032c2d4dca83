//! The stage: who claims what, what becomes of it, and what the caller is told.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture, poll};
use prost::Message as _;
use tonic_types::pb as rpc_pb;
use tower::{Service as _, ServiceBuilder, service_fn};

use super::{
    Budgets, Ledger as _, Local, Settings,
    claim::{Claim, Work},
};
use crate::{
    call::{
        Call, Census, Counted, Deadline, NotCounted, OrgId, Reply, Standing,
        tests::{call, reply},
    },
    error::{Code, Detail as _, Error, Reason, Retry, Sent},
    policy::{Authorize, Permitted, bounds, tests::Unruled},
    proto::gitpod::v1 as pb,
    rpc::{self, Object, Seen, Sizes},
    rule::{Applied, Budget, BudgetOf, Burden, Mode, Outcome, Selection},
    stack::stage,
    store::{self, Store},
    telemetry::Metrics,
};

mod race;
mod reload;

const PROJECT: &str = "0198c0de-0000-7000-8000-0000000000aa";
const INTERVAL: Duration = Duration::from_secs(3600);

/// A census that says what it is told to.
#[derive(Clone, Debug, Default)]
struct Told {
    counted: Arc<Mutex<Counted>>,
    taken: Arc<AtomicUsize>,
}

/// The stage with books whose clock is moved by hand, and no task that counts by itself.
struct Fixture {
    budgets: Budgets,
    census: Told,
    seconds: Arc<AtomicU64>,
    ledger: Arc<Local>,
}

impl Census for Told {
    fn take(&self, _: OrgId, _: Deadline) -> BoxFuture<'static, Result<Counted, NotCounted>> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let counted = self.counted.lock().unwrap().clone();
        async { Ok(counted) }.boxed()
    }
}

impl Told {
    fn say(&self, ids: &[&str]) {
        let standing = |id: &&str| Standing { id: (*id).to_owned(), project: PROJECT.to_owned() };
        self.counted.lock().unwrap().prebuilds = ids.iter().map(standing).collect();
    }
}

impl Fixture {
    fn new() -> Self {
        let (census, seconds) = (Told::default(), Arc::<AtomicU64>::default());
        let clock = Arc::clone(&seconds);
        let clock = Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        let ledger = Arc::new(Local::by(clock, Duration::ZERO));
        let settings =
            Settings { interval: INTERVAL, mutation_timeout: Duration::from_secs(60), late: Duration::ZERO };
        let budgets = Budgets::new(ledger.clone(), Arc::new(census.clone()), settings, Metrics::new());
        Self { budgets, census, seconds, ledger }
    }

    /// With the org's books open, and what there is counted.
    async fn counted(ids: &[&str]) -> Self {
        let fixture = Self::new();
        fixture.ledger.open(&"acme".into());
        fixture.census.say(ids);
        fixture.count().await;
        fixture
    }

    async fn count(&self) {
        assert!(self.budgets.0.as_ref().unwrap().reconciler.count(&"acme".into()).await);
    }

    async fn through<F>(&self, call: Call, upstream: fn(Call) -> F) -> Result<Reply, Error>
    where
        F: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        through(self.budgets.clone(), call, upstream).await
    }

    /// What is used of a budget of running prebuilds.
    async fn used(&self) -> u32 {
        let claim = Claim::of(&create(vec![running(1, Mode::Enforce)])).unwrap();
        self.ledger.look(&"acme".into(), &claim).await.unwrap()[0].used
    }
}

async fn through<F>(budgets: Budgets, call: Call, upstream: fn(Call) -> F) -> Result<Reply, Error>
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let upstream = move |call: Permitted<Call>| upstream(call.into_inner());
    let mut stack = ServiceBuilder::new()
        .layer(stage(Unruled))
        .layer(stage(Authorize::default()))
        .layer(stage(budgets))
        .service(service_fn(upstream));
    stack.call(call).await
}

fn budget(rule: &str, mode: Mode, value: Burden, of: BudgetOf) -> Budget {
    Budget { burden: Applied { rule: rule.into(), mode, candidate: false, value, link: None }, of }
}

fn running(max: u32, mode: Mode) -> Budget {
    budget("budgets.org.running_prebuilds", mode, Burden::RunningPrebuilds(max), BudgetOf::Org)
}

fn create(budgets: Vec<Budget>) -> Call {
    let request = pb::CreatePrebuildRequest {
        project_id: PROJECT.to_owned(),
        spec: Some(pb::PrebuildSpec::default()),
        ..Default::default()
    };
    let mut call = call(&rpc::CREATE_PREBUILD, &request);
    call.bound.budgets = budgets;
    call
}

fn get() -> Call {
    call(&rpc::GET_PREBUILD, &pb::GetPrebuildRequest { prebuild_id: PROJECT.to_owned() })
}

fn shows(id: &str, has_ended: bool) -> Reply {
    let object = Object { id: id.to_owned(), project: PROJECT.to_owned(), has_ended, ..Object::default() };
    Reply { seen: Seen { objects: vec![object], next: None }, ..reply() }
}

async fn made(_: Call) -> Result<Reply, Error> {
    Ok(shows("made", false))
}

async fn never(_: Call) -> Result<Reply, Error> {
    panic!("it must not be forwarded")
}

fn quota(error: &Error) -> Vec<(String, String)> {
    let any = error.details.iter().find(|any| rpc_pb::QuotaFailure::is(any)).unwrap();
    let violations = rpc_pb::QuotaFailure::decode(&any.value[..]).unwrap().violations;
    violations.into_iter().map(|violation| (violation.subject, violation.description)).collect()
}

#[tokio::test]
async fn an_org_without_budgets_has_no_books_and_is_not_counted() {
    let fixture = Fixture::new();
    fixture.through(create(Vec::new()), made).await.unwrap();
    fixture.through(get(), made).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!fixture.ledger.keeps(&"acme".into()));
    assert!(format!("{:?}", fixture.ledger).contains("orgs: 0"), "nothing of it stays");
    assert_eq!(fixture.census.taken.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn nothing_is_added_before_the_first_count() {
    let fixture = Fixture::new();
    let error = fixture.through(create(vec![running(10, Mode::Enforce)]), never).await.unwrap_err();
    assert_eq!((error.reason, error.code), (Some(Reason::BudgetUnknown), Code::Unavailable));
    assert_eq!((error.retry, error.sent), (Retry::After(Duration::from_secs(1)), Sent::No));
    // The call itself has opened the books, whatever the policy's reload has said.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    fixture.through(create(vec![running(10, Mode::Enforce)]), made).await.unwrap();
    assert_eq!(fixture.census.taken.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_orgs_of_the_policy_are_counted_before_they_ask_and_others_no_more() {
    let fixture = Fixture::new();
    fixture.budgets.follow(&BTreeSet::from(["acme".into()]));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    fixture.through(create(vec![running(10, Mode::Enforce)]), made).await.unwrap();
    fixture.budgets.follow(&BTreeSet::new());
    assert!(!fixture.ledger.keeps(&"acme".into()));
}

#[tokio::test]
async fn without_anybody_who_counts_nothing_in_force_passes() {
    let refused = through(Budgets::default(), create(vec![running(10, Mode::Enforce)]), never).await;
    assert_eq!(refused.unwrap_err().reason, Some(Reason::BudgetUnknown));
    through(Budgets::default(), create(vec![running(10, Mode::Warn)]), made).await.unwrap();
}

#[tokio::test]
async fn without_the_store_what_is_in_force_is_refused_and_what_is_looked_at_is_not() {
    let nowhere: store::Config = toml::from_str("url = 'unix:///nowhere/at/all'").unwrap();
    let store = Store::open(nowhere.resolve(None).unwrap(), Metrics::new());
    let minute = Duration::from_secs(60);
    let settings = Settings { interval: INTERVAL, mutation_timeout: minute, late: Duration::ZERO };
    let census = Arc::new(Told::default());
    let budgets = Budgets::shared(store, minute, census, settings, Metrics::new());
    let refused = through(budgets.clone(), create(vec![running(10, Mode::Enforce)]), never).await;
    assert_eq!(refused.unwrap_err().reason, Some(Reason::BudgetUnknown));
    let call = create(vec![running(10, Mode::Warn)]);
    let context = call.context.clone();
    through(budgets, call, made).await.unwrap();
    assert_eq!(context.rulings()[0].outcome, Outcome::Failed);
}

#[tokio::test]
async fn a_refusal_says_how_many_of_how_many_and_who_holds_them() {
    let fixture = Fixture::counted(&["a", "b"]).await;
    let window = Duration::from_secs(3600);
    let creates = Burden::Creates { count: 1, window };
    let creates = budget("budgets.project.creates", Mode::Enforce, creates, BudgetOf::Project);
    fixture.through(create(vec![creates.clone()]), made).await.unwrap();
    let call = create(vec![running(3, Mode::Enforce), creates]);
    let context = call.context.clone();
    let error = fixture.through(call, never).await.unwrap_err();
    assert_eq!((error.reason, error.code), (Some(Reason::BudgetExceeded), Code::ResourceExhausted));
    assert_eq!(error.rule.as_deref(), Some("budgets.org.running_prebuilds"));
    assert_eq!(error.retry, Retry::After(window));
    let expected = [
        ("org:acme".to_owned(), "3 of 3 prebuilds are running: a, b, made".to_owned()),
        (format!("project:{PROJECT}"), "1 of 1 prebuilds were created within 1h".to_owned()),
    ];
    assert_eq!(quota(&error), expected);
    let rulings = context.rulings();
    assert!(rulings.iter().all(|ruling| ruling.refuses()), "{rulings:?}");
    assert_eq!(rulings[0].bound.as_deref(), Some("at most 3 running prebuilds per organization"));
    assert_eq!(rulings[1].bound.as_deref(), Some("at most 1 creations in 1h per project"));
}

#[tokio::test]
async fn what_has_no_id_yet_is_told_by_its_number() {
    let fixture = Fixture::counted(&["a"]).await;
    let lost = |_| async { Err(Error::refuse(Reason::UpstreamOutcomeUnknown)) };
    fixture.through(create(vec![running(2, Mode::Enforce)]), lost).await.unwrap_err();
    let error = fixture.through(create(vec![running(2, Mode::Enforce)]), never).await.unwrap_err();
    let text =
        "2 of 2 prebuilds are running: a, and 1 more, 1 of which are being created or not accounted for yet";
    assert_eq!(quota(&error)[0].1, text);
    assert_eq!(error.retry, Retry::After(INTERVAL));
}

/// Whoever is limited to some projects is told how much others hold, and not what.
#[tokio::test]
async fn a_refusal_names_no_objects_of_projects_that_the_caller_may_not_reach() {
    let fixture = Fixture::counted(&["a", "b"]).await;
    let only = |id: &str| {
        let ids = [uuid::Uuid::try_parse(id).unwrap()].into_iter().collect();
        Selection { allow: Some(Arc::new(ids)), deny: Arc::default() }
    };
    let other = "0198c0de-0000-7000-8000-0000000000bb";
    for (projects, classes, expected) in [
        (only(PROJECT), Selection::default(), "2 of 2 prebuilds are running: a, b"),
        (only(other), Selection::default(), "2 of 2 prebuilds are running: 2 of them"),
        (Selection::default(), only(other), "2 of 2 prebuilds are running: 2 of them"),
    ] {
        let mut call = create(vec![running(2, Mode::Enforce)]);
        (call.bound.projects, call.bound.classes) = (projects, classes);
        let error = fixture.through(call, never).await.unwrap_err();
        assert_eq!(quota(&error)[0].1, expected);
    }
}

#[tokio::test]
async fn what_is_only_looked_at_is_told_and_decides_nothing() {
    let fixture = Fixture::counted(&["a"]).await;
    for mode in [Mode::Audit, Mode::Warn] {
        let call = create(vec![running(1, mode), running(9, Mode::Enforce)]);
        let context = call.context.clone();
        fixture.through(call, made).await.unwrap();
        let rulings = context.rulings();
        assert_eq!(rulings.len(), 1);
        assert_eq!((rulings[0].mode, rulings[0].outcome), (mode, Outcome::Broken));
    }
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let fixture = Fixture::counted(&["a"]).await;
    for max in [1, 5] {
        let call = create(vec![running(max, Mode::Enforce)]);
        call.context.set_dry_run();
        let context = call.context.clone();
        // Whatever ends a dry run stands below.
        fixture.through(call, |_| async { Err(Error::refuse(Reason::DryRun)) }).await.unwrap_err();
        assert_eq!(context.rulings()[0].is_broken(), max == 1);
        assert_eq!(fixture.used().await, 1);
    }
}

/// By how much is used right after the call, and after a census that can tell.
#[tokio::test]
async fn what_becomes_of_a_claim_by_the_calls_end() {
    let refused = |code| move || Err(Error::upstream(code, "no"));
    let own = |reason| move || Err(Error::refuse(reason));
    type End = Box<dyn Fn() -> Result<Reply, Error> + Send + Sync>;
    let ends: Vec<(End, u32)> = vec![
        (Box::new(|| Ok(shows("made", false))), 1),
        (Box::new(|| Ok(shows("made", true))), 0),
        // An answer that shows nothing: something was made.
        (Box::new(|| Ok(reply())), 1),
        (Box::new(refused(Code::InvalidArgument)), 0),
        (Box::new(refused(Code::AlreadyExists)), 0),
        (Box::new(refused(Code::ResourceExhausted)), 0),
        (Box::new(refused(Code::Internal)), 1),
        (Box::new(refused(Code::Unavailable)), 1),
        (Box::new(refused(Code::DeadlineExceeded)), 1),
        (Box::new(own(Reason::UpstreamUnreachable)), 0),
        (Box::new(own(Reason::AuditUnavailable)), 0),
        (Box::new(own(Reason::CallerGone)), 0),
        (Box::new(own(Reason::UpstreamCredential)), 0),
        (Box::new(own(Reason::UpstreamOutcomeUnknown)), 1),
        (Box::new(own(Reason::UpstreamInvalidResponse)), 1),
        (Box::new(own(Reason::UpstreamTenancy)), 1),
        (Box::new(own(Reason::UpstreamRedirect)), 1),
    ];
    for (index, (end, used)) in ends.into_iter().enumerate() {
        let fixture = Fixture::counted(&[]).await;
        let end = Arc::new(end);
        let upstream = service_fn(move |_: Permitted<Call>| {
            let end = Arc::clone(&end);
            async move { end() }
        });
        let stack = ServiceBuilder::new()
            .layer(stage(Unruled))
            .layer(stage(Authorize::default()))
            .layer(stage(fixture.budgets.clone()));
        drop(stack.service(upstream).call(create(vec![running(1, Mode::Enforce)])).await);
        assert_eq!(fixture.used().await, used, "{index}");
        fixture.seconds.fetch_add(1000, Ordering::Relaxed);
        fixture.count().await;
        assert_eq!(fixture.used().await, 0, "{index}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_or_panics_is_in_doubt() {
    let fixture = Fixture::counted(&[]).await;
    let budgets = || vec![running(2, Mode::Enforce)];
    let mut hanging = Box::pin(fixture.through(create(budgets()), |_| std::future::pending()));
    assert!(poll!(&mut hanging).is_pending());
    drop(hanging);
    let panics = std::panic::AssertUnwindSafe(fixture.through(create(budgets()), never)).catch_unwind();
    assert!(panics.await.is_err());
    assert_eq!(fixture.used().await, 2);
    fixture.count().await;
    assert_eq!(fixture.used().await, 2, "they may still take effect");
    fixture.seconds.fetch_add(61, Ordering::Relaxed);
    fixture.count().await;
    assert_eq!(fixture.used().await, 0);
}

#[tokio::test]
async fn an_answer_to_any_call_tells_of_ends_and_of_nothing_else() {
    let fixture = Fixture::counted(&["a", "b"]).await;
    fixture.through(get(), |_| async { Ok(shows("a", true)) }).await.unwrap();
    fixture.through(get(), |_| async { Ok(shows("a", false)) }).await.unwrap();
    fixture.through(get(), |_| async { Ok(shows("new", false)) }).await.unwrap();
    fixture.through(get(), |_| async { Err(Error::refuse(Reason::NotFound)) }).await.unwrap_err();
    assert_eq!(fixture.used().await, 1);
}

#[test]
fn what_a_call_takes_of_warm_instances() {
    let warm = || budget("w", Mode::Enforce, Burden::WarmInstances(40), BudgetOf::Org);
    let sizes = |desired: i32, min, max| pb::CreateWarmPoolRequest {
        project_id: PROJECT.to_owned(),
        #[expect(deprecated, reason = "desired_size is still part of the API")]
        desired_size: desired,
        min_size: min,
        max_size: max,
        ..Default::default()
    };
    let most = u32::try_from(bounds::MAX_POOL_SIZE).unwrap();
    for (desired, min, max, expected) in [
        (0, None, Some(7), 7),
        (0, None, Some(0), 0),
        (5, None, None, 5),
        (0, None, None, most),
        (0, Some(3), None, most),
    ] {
        let mut call = call(&rpc::CREATE_WARM_POOL, &sizes(desired, min, max));
        call.bound.budgets = vec![warm(), running(1, Mode::Enforce)];
        let claim = Claim::of(&call).unwrap();
        assert_eq!((claim.work, claim.limits.len()), (Work::NewPool { max: expected }, 1));
    }
    let present = Sizes { desired: Some(0), min: Some(1), max: Some(6) };
    for (asked, expected) in [
        (Sizes { max: Some(4), ..Sizes::default() }, 4),
        (Sizes { max: Some(9), ..Sizes::default() }, 9),
        (Sizes { min: Some(2), ..Sizes::default() }, 6),
        (Sizes { min: Some(8), ..Sizes::default() }, 8),
        (Sizes { desired: Some(3), ..Sizes::default() }, 6),
        (Sizes { desired: Some(12), ..Sizes::default() }, 12),
    ] {
        let mut call = call(
            &rpc::UPDATE_WARM_POOL,
            &pb::UpdateWarmPoolRequest { warm_pool_id: PROJECT.to_owned(), ..Default::default() },
        );
        call.facts.sizes = asked;
        call.facts.resource = Some(Object { sizes: present, version: 3, ..Object::default() });
        call.bound.budgets = vec![warm()];
        let Work::Pool { max, present, .. } = Claim::of(&call).unwrap().work else { panic!() };
        assert_eq!((max, present.unwrap().max, present.unwrap().version), (expected, 6, 3), "{asked:?}");
    }
}

#[tokio::test]
async fn more_than_there_may_be_at_all_is_not_waited_for() {
    let fixture = Fixture::counted(&[]).await;
    let warm = budget("w", Mode::Enforce, Burden::WarmInstances(5), BudgetOf::Org);
    let request = pb::CreateWarmPoolRequest { max_size: Some(6), ..Default::default() };
    let mut call = call(&rpc::CREATE_WARM_POOL, &request);
    call.bound.budgets = vec![warm];
    let error = fixture.through(call, never).await.unwrap_err();
    assert_eq!(error.retry, Retry::Never);
    assert_eq!(quota(&error)[0].1, "0 of 5 warm instances are taken, and 6 more are asked for");
}
