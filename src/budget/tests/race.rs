//! The stage before a sandbox that counts how much runs at once.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::join_all;
use http::HeaderValue;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::{Service as _, ServiceBuilder, util::BoxCloneSyncService};

use super::{
    super::{Budgets, Local, Settings},
    INTERVAL, budget, call, running,
};
use crate::{
    budget::{Ledger as _, claim::Claim},
    call::{Call, Census as _, Deadline, OrgId, Reply, Token},
    connect::metadata::AllowList,
    error::{Code, Error, Reason},
    policy::{Authorize, tests::Unruled},
    proto::gitpod::v1 as pb,
    rpc,
    rule::{BudgetOf, Burden, Mode},
    sandbox::{FAULT_HEADER, Life, ManualClock, Org, Rules, Sandbox, Settings as SandboxSettings},
    stack::stage,
    telemetry::Metrics,
    upstream::{
        self, Base, Client, Credentials, Inventory, Learn, Organizations, Parting, Tenancy, Upstream,
    },
};

const LIMIT: u32 = 10;
const CREATES: usize = 1_000;
/// Of those, the first ones fail on their way.
const FAULTS: [&str; 4] = ["reset-after", "reset", "status=502", "execute,status=502"];
const STEP: Duration = Duration::from_secs(100);

type Stack = BoxCloneSyncService<Call, Reply, Error>;

/// A sandbox, and replicas that share books.
struct Bench {
    sandbox: Sandbox,
    clock: ManualClock,
    acme: Org,
    ledger: Arc<Local>,
    /// Added to the time of the books.
    later: Arc<AtomicU64>,
    replicas: Vec<(Stack, Budgets)>,
    census: Inventory,
    _stop: DropGuard,
}

impl Bench {
    async fn start(replicas: usize) -> Self {
        let clock = ManualClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let life = Life { step: STEP, warn_every: 0, fail_every: 0 };
        let acme = Org::demo("acme", "acme-token".into());
        let orgs = vec![acme.clone()];
        let settings = SandboxSettings { orgs, life, rules: Rules::Official, clock: clock.clock() };
        let sandbox = Sandbox::new(settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(sandbox.clone().serve(listener, stop.clone()));
        let (begin, later) = (Instant::now(), Arc::<AtomicU64>::default());
        let added = Arc::clone(&later);
        let time = move || begin.elapsed() + Duration::from_secs(added.load(Ordering::Relaxed));
        let ledger = Arc::new(Local::by(Arc::new(time), Duration::ZERO));
        let (upstream, census) = way(address, &acme);
        let replica = |_| {
            let settings = Settings {
                interval: INTERVAL,
                mutation_timeout: Duration::from_secs(60),
                late: Duration::from_secs(5),
            };
            let budgets = Budgets::new(ledger.clone(), Arc::new(census.clone()), settings, Metrics::new());
            let stack = ServiceBuilder::new()
                .layer(stage(Unruled))
                .layer(stage(Authorize::default()))
                .layer(stage(budgets.clone()));
            (BoxCloneSyncService::new(stack.service(upstream.clone())), budgets)
        };
        let replicas = (0..replicas).map(replica).collect();
        ledger.open(&"acme".into());
        let bench = Self { sandbox, clock, acme, ledger, later, replicas, census, _stop: stop.drop_guard() };
        bench.count().await;
        bench
    }

    async fn count(&self) {
        count(&self.replicas[0].1).await;
    }

    fn create(&self) -> Call {
        let request = pb::CreatePrebuildRequest {
            project_id: self.acme.projects[0].id.to_string(),
            spec: Some(pb::PrebuildSpec::default()),
            ..Default::default()
        };
        let mut call = call(&rpc::CREATE_PREBUILD, &request);
        call.bound.budgets = vec![running(LIMIT, Mode::Enforce)];
        call
    }

    async fn used(&self) -> u32 {
        let claim = Claim::of(&self.create()).unwrap();
        self.ledger.look(&"acme".into(), &claim).await.unwrap()[0].used
    }

    /// As often as there are slots, and once more.
    async fn fill(&self) -> Vec<Result<Reply, Error>> {
        let mut results = Vec::new();
        for _ in 0..=LIMIT {
            results.push(self.replicas[0].0.clone().call(self.create()).await);
        }
        results
    }
}

async fn count(budgets: &Budgets) {
    assert!(budgets.0.as_ref().unwrap().reconciler.count(&"acme".into()).await);
}

/// The way to the sandbox, and the census by it.
fn way(address: SocketAddr, acme: &Org) -> (Upstream, Inventory) {
    let url = format!("http://{address}/api");
    let org: OrgId = "acme".into();
    let credentials = Credentials::new([(org.clone(), Token::new("acme-token").unwrap())]);
    let client = Client::new(&upstream::Config::at(&*url), Base::parse(&url).unwrap(), credentials).unwrap();
    let metrics = Metrics::new();
    let allowed = AllowList::for_responses([]).unwrap();
    let upstream = Upstream::new(client, allowed, Duration::from_secs(60), metrics.clone());
    let organizations = Organizations::new([(org, acme.organization_id.to_string())]);
    let learn = Learn::new(upstream.clone(), organizations.clone());
    (upstream, Inventory::new(learn, Tenancy::new(organizations, Parting::ByOrganization, metrics)))
}

/// A thousand at once over two replicas, while prebuilds end, censuses come and go, and answers are lost; and in the
/// middle of it one replica is no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_more_run_upstream_than_may_and_no_slot_is_lost() {
    let bench = Bench::start(2).await;
    let mut replicas = [JoinSet::new(), JoinSet::new()];
    for index in 0..CREATES {
        let mut call = bench.create();
        if let Some(fault) = FAULTS.get(index) {
            call.metadata.insert(FAULT_HEADER, HeaderValue::from_static(fault));
        }
        let mut stack = bench.replicas[index % 2].0.clone();
        let (clock, census) = (bench.clock.clone(), bench.replicas[index % 2].1.clone());
        replicas[index % 2].spawn(async move {
            let result = stack.call(call).await;
            if index % 50 == 49 {
                clock.advance(STEP);
                count(&census).await;
            }
            result.map_err(|error| error.reason)
        });
    }
    let [mut first, mut second] = replicas;
    let mut made = 0;
    for _ in 0..CREATES / 8 {
        made += usize::from(second.join_next().await.unwrap().unwrap().is_ok());
    }
    second.shutdown().await;
    while let Some(ended) = first.join_next().await {
        match ended.unwrap() {
            Ok(_) => made += 1,
            Err(reason) => assert!(
                matches!(reason, Some(Reason::BudgetExceeded | Reason::UpstreamOutcomeUnknown)),
                "{reason:?}"
            ),
        }
    }
    assert!(bench.sandbox.most_running() <= LIMIT as usize, "{} at once", bench.sandbox.most_running());
    assert!(made > 0 && bench.sandbox.executed("CreatePrebuild") >= made as u64);

    // All has ended, and nothing that was lost can take effect any more.
    bench.clock.advance(STEP * 10);
    bench.later.store(1000, Ordering::Relaxed);
    bench.count().await;
    assert_eq!((bench.sandbox.running(), bench.used().await), (0, 0));
    let results = bench.fill().await;
    let made = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(made, LIMIT as usize, "all slots are there again");
    assert_eq!(bench.sandbox.most_running(), LIMIT as usize);
}

/// What may have been made keeps its slot, until a census can tell.
#[tokio::test]
async fn an_unknown_outcome_keeps_its_slot_until_a_census_can_tell() {
    for (fault, runs) in [("reset-after", 1), ("execute,status=502", 1), ("reset", 0), ("status=503", 0)] {
        let bench = Bench::start(1).await;
        let mut call = bench.create();
        call.metadata.insert(FAULT_HEADER, HeaderValue::from_static(fault));
        let error = bench.replicas[0].0.clone().call(call).await.unwrap_err();
        assert_eq!(error.reason, Some(Reason::UpstreamOutcomeUnknown), "{fault}");
        assert_eq!(bench.used().await, 1, "{fault}");
        bench.count().await;
        assert_eq!(bench.used().await, 1 + runs, "{fault}: beside what it may have made");
        bench.later.store(70, Ordering::Relaxed);
        bench.count().await;
        assert_eq!(bench.used().await, runs, "{fault}");
    }
}

#[tokio::test]
async fn a_refusal_of_upstreams_gives_its_slot_back() {
    let bench = Bench::start(1).await;
    for (fault, used) in
        [("code=failed_precondition", 0), ("code=permission_denied", 0), ("code=internal", 1)]
    {
        let mut call = bench.create();
        call.metadata.insert(FAULT_HEADER, HeaderValue::from_static(fault));
        bench.replicas[0].0.clone().call(call).await.unwrap_err();
        assert_eq!(bench.used().await, used, "{fault}");
    }
}

/// What was made past the gateway is there at the next census, on however many pages, and what has ended is not.
#[tokio::test]
async fn the_census_counts_what_was_made_past_the_gateway() {
    let bench = Bench::start(1).await;
    let mut past = bench.replicas[0].0.clone();
    let mut ids = BTreeSet::new();
    for _ in 0..120 {
        let mut call = bench.create();
        call.bound.budgets.clear();
        ids.insert(past.call(call).await.unwrap().seen.objects[0].id.clone());
    }
    let request = pb::CreateWarmPoolRequest {
        project_id: bench.acme.projects[0].id.to_string(),
        environment_class_id: bench.acme.projects[0].classes[0].to_string(),
        min_size: Some(1),
        max_size: Some(7),
        ..Default::default()
    };
    past.call(call(&rpc::CREATE_WARM_POOL, &request)).await.unwrap();
    let deadline = || Deadline::at(Instant::now() + Duration::from_secs(30));
    let counted = bench.census.take("acme".into(), deadline()).await.unwrap();
    let found: BTreeSet<_> = counted.prebuilds.iter().map(|one| one.id.clone()).collect();
    assert_eq!(found, ids);
    assert_eq!((counted.pools.len(), counted.pools[0].max), (1, 7));
    assert_eq!(counted.extent, crate::call::Extent::Paged);
    assert_eq!(counted.prebuilds[0].project, bench.acme.projects[0].id.to_string());
    bench.count().await;
    let error = bench.replicas[0].0.clone().call(bench.create()).await.unwrap_err();
    assert_eq!((error.reason, error.code), (Some(Reason::BudgetExceeded), Code::ResourceExhausted));
    let mut grow = call(&rpc::CREATE_WARM_POOL, &pb::CreateWarmPoolRequest { max_size: Some(4), ..request });
    grow.bound.budgets =
        vec![budget("budgets.org.warm_instances", Mode::Enforce, Burden::WarmInstances(10), BudgetOf::Org)];
    let error = bench.replicas[0].0.clone().call(grow).await.unwrap_err();
    assert_eq!(error.reason, Some(Reason::BudgetExceeded));

    bench.clock.advance(STEP * 10);
    let counted = bench.census.take("acme".into(), deadline()).await.unwrap();
    assert!(counted.prebuilds.is_empty());
}

#[tokio::test]
async fn calls_in_flight_hold_their_slots() {
    let bench = Bench::start(1).await;
    let slow = || {
        let mut call = bench.create();
        call.metadata.insert(FAULT_HEADER, HeaderValue::from_static("delay-after=50ms"));
        let mut stack = bench.replicas[0].0.clone();
        async move { stack.call(call).await }
    };
    let results = join_all((0..=LIMIT).map(|_| slow())).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), LIMIT as usize);
}
