//! Who is counted when, and what is said of those who are not.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::Semaphore;

use super::{Reconciler, Settings, place::AT_ONCE};
use crate::{
    budget::{Ledger as _, Local},
    call::{Census, Counted, Deadline, NotCounted, OrgId},
    telemetry::Metrics,
};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of an org's counts, one after the other; of those beyond there is an answer.
#[derive(Clone, Debug, Default)]
struct Fated {
    fates: Arc<Mutex<HashMap<OrgId, Vec<Fate>>>>,
    asked: Arc<Mutex<Vec<OrgId>>>,
}

#[derive(Clone, Debug)]
enum Fate {
    Panic,
    Fail,
    /// Answered once there is a permit.
    Wait(Arc<Semaphore>),
}

impl Census for Fated {
    fn take(&self, org: OrgId, _: Deadline) -> BoxFuture<'static, Result<Counted, NotCounted>> {
        self.asked.lock().unwrap().push(org.clone());
        let fate = self.fates.lock().unwrap().get_mut(&org).and_then(Vec::pop);
        async {
            match fate {
                Some(Fate::Panic) => panic!("a bug"),
                Some(Fate::Fail) => return Err(NotCounted("no connection".into())),
                Some(Fate::Wait(gate)) => gate.acquire().await.unwrap().forget(),
                None => {}
            }
            Ok(Counted::default())
        }
        .boxed()
    }
}

impl Fated {
    fn fate(&self, org: &str, fate: Fate) {
        self.fates.lock().unwrap().entry(org.into()).or_default().push(fate);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn reconciler(&self) -> (Reconciler, Arc<Local>) {
        let hour = Duration::from_secs(3600);
        let settings = Settings { interval: hour, mutation_timeout: hour, late: hour };
        let ledger = Arc::new(Local::new(Duration::ZERO));
        let census = Arc::new(self.clone());
        (Reconciler::new(ledger.clone(), census, settings, Metrics::new()), ledger)
    }
}

fn orgs(orgs: &[&str]) -> BTreeSet<OrgId> {
    orgs.iter().map(|org| (*org).into()).collect()
}

async fn until(mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_count_that_panics_or_fails_is_told_and_tried_again() {
    let census = Fated::default();
    let gate = Arc::new(Semaphore::new(0));
    census.fate("acme", Fate::Wait(gate.clone()));
    census.fate("acme", Fate::Fail);
    census.fate("acme", Fate::Panic);
    let (reconciler, _ledger) = census.reconciler();
    assert_eq!(reconciler.uncounted(), (0, Vec::new()));
    reconciler.follow(&orgs(&["acme", "globex"]));
    let of_acme = |reason: &str| (2, vec![(OrgId::from("acme"), reason.to_owned())]);
    until(|| reconciler.uncounted() == of_acme("counting has panicked")).await;
    until(|| reconciler.uncounted() == of_acme("no connection")).await;
    until(|| census.asked() == 4).await;
    gate.add_permits(1);
    until(|| reconciler.uncounted() == (2, Vec::new())).await;
    reconciler.follow(&orgs(&[]));
    assert_eq!(reconciler.uncounted(), (0, Vec::new()));
}

#[tokio::test]
async fn some_orgs_are_counted_at_once_and_one_that_a_call_waits_for_before_its_turn() {
    let (census, gate) = (Fated::default(), Arc::new(Semaphore::new(0)));
    let many: BTreeSet<OrgId> = (0..3 * AT_ONCE).map(|org| OrgId::from(&*format!("org-{org:02}"))).collect();
    for org in &many {
        census.fate(org.as_str(), Fate::Wait(gate.clone()));
    }
    let (reconciler, ledger) = census.reconciler();
    reconciler.follow(&many);
    until(|| census.asked() == AT_ONCE).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(census.asked(), AT_ONCE);
    let asked = census.asked.lock().unwrap().clone();
    let waits = many.iter().rev().find(|org| !asked.contains(org)).unwrap();
    reconciler.hurry(waits);
    until(|| census.asked() == AT_ONCE + 1).await;
    assert_eq!(census.asked.lock().unwrap().last(), Some(waits));
    gate.add_permits(many.len());
    until(|| reconciler.uncounted() == (many.len(), Vec::new())).await;
    assert!(many.iter().all(|org| ledger.keeps(org)));
}
