//! Budgets that replicas share: the books in a real server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prebuild_gateway::{
    budget::{
        Ledger, Shared,
        claim::{Claim, End, Limit, Verdict, Work},
        ledger::Begin,
        shared::Terms,
    },
    call::{Counted, OrgId, RequestId, Standing},
    rule::{BudgetOf, Burden, Selection},
    store::Store,
    telemetry::Metrics,
};
use redis::Script;

use super::server::Server;
use crate::ALONE;

const LIMIT: u32 = 10;
const CLAIMS: usize = 1_000;
const REPLICAS: usize = 4;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a claim, beside the store's own patience: what a busy machine may add.
const SLACK: Duration = Duration::from_millis(100);
/// What the store keeps of one org at most, as `budget::shared` has it.
const LARGEST: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(60);

fn org() -> OrgId {
    "acme".into()
}

fn claim() -> Claim {
    let limit = Limit { burden: Burden::RunningPrebuilds(LIMIT), of: BudgetOf::Org, is_enforced: true };
    Claim {
        request: RequestId::new(),
        project: "p".to_owned(),
        work: Work::Prebuild,
        limits: vec![limit],
        shown: Selection::default(),
    }
}

/// With a connection that is good, and the org's books open.
async fn replica(server: &Server, lease: Duration) -> Arc<Shared> {
    let shared = replica_without(server, lease).await;
    shared.open(&org());
    shared
}

/// By its policy the org has no budget.
async fn replica_without(server: &Server, lease: Duration) -> Arc<Shared> {
    let store = Store::open(server.resolved(), Metrics::new());
    until(|| store.trouble().is_none()).await;
    let interval = Duration::from_millis(10);
    let terms = Terms { lag: Duration::ZERO, interval, lease, renewal: Duration::ZERO };
    Arc::new(Shared::new(store, terms))
}

async fn until(mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A census that finds nothing, as soon as there may be one.
async fn count(shared: &Shared) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE);
        if let Some(Begin::Now(stamp)) = shared.begin(&org()).await
            && shared.apply(&org(), stamp, Counted::default()).await.is_some()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn used(shared: &Shared) -> Option<u32> {
    shared.look(&org(), &claim()).await.map(|counts| counts[0].used)
}

async fn await_used(shared: &Shared, expected: u32) {
    let begun = Instant::now();
    loop {
        let used = used(shared).await;
        if used == Some(expected) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{used:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many scripts the server has run.
fn scripts(server: &Server) -> u64 {
    let stats: String = server.ask(&["INFO", "commandstats"]).unwrap();
    let lines = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
    let calls = lines.filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok());
    calls.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_racing_claims_take_what_there_is_and_no_more() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(replica(&server, Duration::ZERO).await);
    }
    count(&replicas[0]).await;
    let (before, begun) = (scripts(&server), Instant::now());
    let claims = (0..CLAIMS).map(|index| {
        let shared = replicas[index % REPLICAS].clone();
        tokio::spawn(async move {
            let claim = claim();
            let asked = Instant::now();
            let verdict = shared.claim(&org(), &claim, LONG).await;
            // Of those that were let through every other one is refused upstream, and gives its place back.
            if matches!(verdict, Verdict::Taken(_)) && index % 2 == 0 {
                shared.settle(&org(), claim.request, End::Nothing, LONG);
            }
            (verdict, asked.elapsed(), index)
        })
    });
    let (mut kept, mut given_back, mut full, mut unknown) = (0, 0, 0, 0);
    let mut longest = Duration::ZERO;
    for each in claims.collect::<Vec<_>>() {
        let (verdict, took, index) = each.await.unwrap();
        longest = longest.max(took);
        match verdict {
            Verdict::Taken(_) if index % 2 == 0 => given_back += 1,
            Verdict::Taken(_) => kept += 1,
            Verdict::Full(_) => full += 1,
            Verdict::Uncounted => unknown += 1,
        }
    }
    println!(
        "{CLAIMS} claims of {REPLICAS} replicas in {:?}: {kept} kept, {given_back} given back, {full} refused, \
         {unknown} without an answer, the longest took {longest:?}; {} scripts",
        begun.elapsed(),
        scripts(&server) - before,
    );
    assert!(kept <= LIMIT && kept + given_back >= LIMIT, "{kept} {given_back}");
    assert!(longest <= Store::PATIENCE + SLACK, "{longest:?}");
    // What nobody heard of is given back, too.
    for shared in &replicas {
        await_used(shared, kept).await;
    }
}

#[tokio::test]
async fn without_the_store_nothing_is_granted_and_lost_books_are_counted_a_lease_later() {
    const LEASE: Duration = Duration::from_millis(400);
    let _alone = ALONE.lock().await;
    let mut server = Server::start(&[]);
    let shared = replica(&server, LEASE).await;
    let begun = Instant::now();
    count(&shared).await;
    assert!(begun.elapsed() >= LEASE - SLACK, "calls may have been under way: {:?}", begun.elapsed());
    assert!(matches!(shared.claim(&org(), &claim(), LONG).await, Verdict::Taken(_)));

    server.kill();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(shared.claim(&org(), &claim(), LONG).await, Verdict::Uncounted);
        assert!(asked.elapsed() <= Store::PATIENCE + SLACK, "{:?}", asked.elapsed());
    }
    assert_eq!(used(&shared).await, None);
    assert_eq!(shared.begin(&org()).await, None);

    server.restart();
    let begun = Instant::now();
    let mut is_told = false;
    while !is_told {
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(shared.claim(&org(), &claim(), LONG).await, Verdict::Uncounted, "never counted");
        is_told = matches!(shared.begin(&org()).await, Some(Begin::Later { .. }));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    count(&shared).await;
    assert!(matches!(shared.claim(&org(), &claim(), LONG).await, Verdict::Taken(_)));
}

#[tokio::test]
async fn what_cannot_be_told_is_told_later() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let (shared, other) = (replica(&server, Duration::ZERO).await, replica(&server, Duration::ZERO).await);
    count(&shared).await;
    let claim = claim();
    assert!(matches!(shared.claim(&org(), &claim, LONG).await, Verdict::Taken(_)));
    assert_eq!(used(&other).await, Some(1));
    server.signal("STOP");
    shared.settle(&org(), claim.request, End::Nothing, LONG);
    tokio::time::sleep(Store::PATIENCE * 2).await;
    server.signal("CONT");
    await_used(&other, 0).await;
}

#[tokio::test]
async fn claims_of_a_process_that_is_gone_go_with_the_first_census_after_their_lease() {
    const LEASE: Duration = Duration::from_millis(300);
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let (gone, other) = (replica(&server, Duration::ZERO).await, replica(&server, Duration::ZERO).await);
    count(&gone).await;
    let begun = Instant::now();
    assert!(matches!(gone.claim(&org(), &claim(), LEASE).await, Verdict::Taken(_)));
    let taken = Instant::now();
    drop(gone);
    count(&other).await;
    if begun.elapsed() < LEASE {
        assert_eq!(used(&other).await, Some(1), "it may still be on its way");
    }
    tokio::time::sleep(LEASE.saturating_sub(taken.elapsed())).await;
    count(&other).await;
    assert_eq!(used(&other).await, Some(0));
    // What was there is there for as long as anybody counts, and one that is another server's is not believed.
    server.tell(&["HSET", "prebuild-gateway:{acme}:budgets", "server", "other"]);
    assert_eq!(used(&other).await, None);
    count(&other).await;
    assert_eq!(used(&other).await, Some(0));
}

/// One replica has a budget, and another has none, not yet or not any more: what that one sends no books know of.
#[tokio::test]
async fn calls_without_claims_close_the_books_of_all_until_they_are_over() {
    const LEASE: Duration = Duration::from_millis(400);
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let (with, without) = (replica(&server, LEASE).await, replica_without(&server, LEASE).await);
    count(&with).await;
    let mut judges = vec![with.clone()];
    for _ in 0..2 {
        let begun = Instant::now();
        without.pass(&org(), &claim(), LEASE).await;
        for judge in &judges {
            assert_eq!(judge.claim(&org(), &claim(), LONG).await, Verdict::Uncounted);
        }
        // Then it has the budget, too.
        without.open(&org());
        assert_eq!(without.claim(&org(), &claim(), LONG).await, Verdict::Uncounted);
        count(&with).await;
        assert!(begun.elapsed() >= LEASE, "it may be under way: {:?}", begun.elapsed());
        for judge in [&with, &without] {
            assert!(matches!(judge.claim(&org(), &claim(), LONG).await, Verdict::Taken(_)));
        }
        // And not any more, and by the next round nobody has.
        without.close(&org());
        with.close(&org());
        judges.clear();
        with.open(&org());
    }
}

#[tokio::test]
async fn calls_that_were_sent_while_the_store_was_away_are_told_when_it_is_back() {
    const LEASE: Duration = Duration::from_millis(600);
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let (judge, kept) = (replica(&server, LEASE).await, replica(&server, LEASE).await);
    let without = replica_without(&server, LEASE).await;
    count(&judge).await;
    server.signal("STOP");
    let call = claim();
    assert_eq!(kept.claim(&org(), &call, LONG).await, Verdict::Uncounted);
    // It was only looked at.
    kept.pass(&org(), &call, LONG).await;
    tokio::time::sleep(Store::PATIENCE * 2).await;
    server.signal("CONT");
    await_used(&judge, 1).await;
    kept.settle(&org(), call.request, End::Nothing, LONG);
    await_used(&judge, 0).await;

    server.signal("STOP");
    let asked = Instant::now();
    without.pass(&org(), &claim(), LEASE).await;
    assert!(asked.elapsed() <= Store::PATIENCE + SLACK, "{:?}", asked.elapsed());
    server.signal("CONT");
    let begun = Instant::now();
    while judge.look(&org(), &claim()).await.is_some()
        || !matches!(judge.begin(&org()).await, Some(Begin::Later { .. }))
    {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A store that is too slow is given up for all orgs.
#[tokio::test]
async fn books_that_are_too_large_to_be_kept_in_time_are_no_others_matter() {
    const OBJECTS: usize = 40_000;
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let shared = replica(&server, Duration::ZERO).await;
    let store = Store::open(server.resolved(), Metrics::new());
    let stamp = loop {
        if let Some(Begin::Now(stamp)) = shared.begin(&org()).await {
            break stamp;
        }
    };
    let id = |at| format!("0198c0de-0000-7000-8000-{at:012}");
    let prebuilds = (0..OBJECTS).map(|at| Standing { id: id(at), project: id(at % 300) }).collect();
    let counted = Counted { prebuilds, ..Counted::default() };
    assert_eq!(shared.apply(&org(), stamp, counted).await, None);
    // The next step comes behind it.
    let acme = org();
    until_some(|| shared.begin(&acme)).await;
    assert_eq!(shared.claim(&org(), &claim(), LONG).await, Verdict::Uncounted);
    let size: usize = server.ask(&["HSTRLEN", "prebuild-gateway:{acme}:budgets", "books"]).unwrap();
    assert!(size < LARGEST, "{size}");

    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    let write = Script::new("return redis.call('HSET', KEYS[1], 'books', ARGV[1])");
    let read = Script::new("return redis.call('HGET', KEYS[1], 'books')");
    for _ in 0..15 {
        writes.push(timed(&store, &write, &["x".repeat(LARGEST)]).await);
        reads.push(timed(&store, &read, &[]).await);
    }
    writes.sort_unstable();
    reads.sort_unstable();
    println!("{LARGEST} bytes are written in {:?}, and read in {:?}", writes[7], reads[7]);
    assert!(writes[7].max(reads[7]) < Store::PATIENCE, "{writes:?} {reads:?}");
}

/// As the store's patience has it.
async fn timed(store: &Store, script: &Script, arguments: &[String]) -> Duration {
    until(|| store.trouble().is_none()).await;
    let begun = Instant::now();
    match store.run(script, &"globex".into(), "budgets", arguments, |_| Ok(())).await {
        Ok(()) => begun.elapsed(),
        Err(_) => Duration::MAX,
    }
}

async fn until_some<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) {
    let begun = Instant::now();
    while ask().await.is_none() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
