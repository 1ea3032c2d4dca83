//! What is left running upstream: written down before a call is made, settled by what is seen of it, and counted anew
//! every now and then.
//!
//! A rate cannot say how much is outstanding: what was made an hour ago may still run. So each org that has a budget
//! has books ([`books`], with what holds of them), kept by a [`Ledger`]: in memory, or shared by replicas. Where nothing
//! has been counted yet since the start nothing is added. Orgs without budgets have no books: that a call of theirs which
//! adds something is under way is known all the same, so that a budget which they get meanwhile does not miss it.
//!
//! What nobody can know is not promised: work that is made past the gateway counts from the next census on; so does what
//! a process had sent that was killed, if its books were in its memory; and books in memory begin their windows of
//! creations anew.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    call::{Call, Census, OrgId, Reply, RequestId},
    error::Error,
    policy::Permitted,
    rule::{Budget, Outcome, Ruling},
    stack::{Next, Stage},
    store::Store,
    telemetry::Metrics,
};

pub mod books;
pub mod claim;
pub mod ledger;
pub mod local;
mod reconcile;
mod refusal;
pub mod shared;
#[cfg(test)]
mod tests;

pub use ledger::Ledger;
pub use local::Local;
pub use shared::Shared;

use claim::{Claim, Count, End, Sight, Verdict};
use reconcile::Reconciler;
use refusal::Judged;

/// A count is two lists. So often it is a small part of what an org may ask, and whoever waits for a place, or made
/// something past the gateway, waits no longer than a build takes to begin.
const DEFAULT_RECONCILE_INTERVAL: Duration = Duration::from_secs(15);
/// So much older than the answer to a call a list may be, where upstream reads from copies.
const LIST_LAG: Duration = Duration::from_secs(2);
/// On the way to upstream and in it, after everybody has stopped waiting.
const LATE: Duration = Duration::from_secs(5);

/// No ledger takes so long to answer: whoever waits for it longer did not run. Well within [`LATE`].
const FROZEN: Duration = Duration::from_secs(1);

/// `[budgets]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often what an org has outstanding upstream is counted there, for orgs that have a budget: from 1s to 10min.
    /// Work that was made past the gateway is known by then.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub reconcile_interval: Duration,
}

/// How the stage keeps time.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Between two counts.
    pub interval: Duration,
    /// A mutation that was sent is given up after this.
    pub mutation_timeout: Duration,
    /// After that, or after the caller's deadline, it may still take effect for so long.
    pub late: Duration,
}

/// The stage. By default nothing is counted, so that nothing that has a budget in force passes.
#[derive(Clone, Default)]
pub struct Budgets(Option<Arc<Inner>>);

struct Inner {
    ledger: Arc<dyn Ledger>,
    reconciler: Reconciler,
    settings: Settings,
    metrics: Metrics,
}

/// A claim that is written down. Dropped, whatever for, it is one of which nobody knows what became of it.
struct Held {
    ledger: Arc<dyn Ledger>,
    org: OrgId,
    request: RequestId,
    /// After an unknown end.
    open_for: Duration,
    is_settled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { reconcile_interval: DEFAULT_RECONCILE_INTERVAL }
    }
}

impl Settings {
    pub fn new(config: &Config, mutation_timeout: Duration) -> Self {
        Self { interval: config.reconcile_interval, mutation_timeout, late: LATE }
    }
}

impl Budgets {
    /// With books in this process.
    pub fn local(census: Arc<dyn Census>, settings: Settings, metrics: Metrics) -> Self {
        Self::new(Arc::new(Local::new(LIST_LAG)), census, settings, metrics)
    }

    /// With books that all replicas share; no caller may wait for longer than `longest`.
    pub fn shared(
        store: Store,
        longest: Duration,
        census: Arc<dyn Census>,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        let ledger = Shared::new(store, shared::Terms::new(&settings, longest));
        Self::new(Arc::new(ledger), census, settings, metrics)
    }

    pub fn new(
        ledger: Arc<dyn Ledger>,
        census: Arc<dyn Census>,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        let reconciler = Reconciler::new(Arc::clone(&ledger), census, settings, metrics.clone());
        Self(Some(Arc::new(Inner { ledger, reconciler, settings, metrics })))
    }

    /// These orgs have budgets, by the policy that is in force now: at start, and at each reload. Their work is counted
    /// before a call of theirs asks for it.
    pub fn follow(&self, orgs: &BTreeSet<OrgId>) {
        if let Some(inner) = &self.0 {
            inner.reconciler.follow(orgs);
        }
    }

    /// Of how many orgs the outstanding work is to be known, and of which of them it is not, or not any more, and why: what
    /// is in force then refuses or judges by the last count.
    pub fn uncounted(&self) -> (usize, Vec<(OrgId, String)>) {
        self.0.as_ref().map(|inner| inner.reconciler.uncounted()).unwrap_or_default()
    }

    async fn claimed<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        claim: Claim,
        next: S,
    ) -> Result<Reply, Error> {
        let Some(inner) = &self.0 else {
            unknown(call.get());
            return if claim.is_enforced() { Err(refusal::uncounted()) } else { next.run(call).await };
        };
        if !claim.limits.is_empty() {
            inner.reconciler.keep(&call.get().identity.org);
        }
        if call.get().context.is_dry_run() {
            inner.tell(call.get(), &claim).await?;
            return next.run(call).await;
        }
        let held = inner.claim(call.get(), &claim).await?;
        let result = next.run(call).await;
        held.settle(End::of(&result));
        result
    }
}

impl Inner {
    /// # Errors
    /// A budget in force is used up, or it is not known whether it is.
    async fn claim(&self, call: &Call, claim: &Claim) -> Result<Held, Error> {
        let org = &call.identity.org;
        // First, so that a claim is not lost that is written down as the caller leaves.
        let mut held = self.hold(call);
        let asked = Instant::now();
        if claim.limits.is_empty() && !self.ledger.keeps(org) {
            self.ledger.pass(org, claim, held.open_for).await;
            return Ok(held);
        }
        match self.ledger.claim(org, claim, held.open_for).await {
            // Whoever has slept for so long must not send any more: others count without it soon.
            Verdict::Taken(_) if asked.elapsed() >= FROZEN => {
                held.settle(End::Nothing);
                unknown(call);
                Err(refusal::uncounted())
            }
            Verdict::Taken(counts) => {
                if let Some(within) = self.ledger.send_within() {
                    call.context.set_send_by(asked + within);
                }
                let judged = self.judge(call, claim, &counts);
                call.context.add_rulings(judged.iter().map(Judged::ruling));
                Ok(held)
            }
            Verdict::Full(counts) => {
                held.is_settled = true;
                let judged = self.judge(call, claim, &counts);
                call.context.add_rulings(judged.iter().map(Judged::ruling));
                Err(refusal::full(org, &claim.project, &judged, self.settings.interval))
            }
            Verdict::Uncounted if claim.is_enforced() => {
                held.is_settled = true;
                unknown(call);
                self.reconciler.hurry(org);
                Err(refusal::uncounted())
            }
            // What is only looked at keeps nobody from anything.
            Verdict::Uncounted => {
                unknown(call);
                self.ledger.pass(org, claim, held.open_for).await;
                Ok(held)
            }
        }
    }

    /// The verdict, for a caller that only asks: it takes nothing.
    ///
    /// # Errors
    /// As of a claim.
    async fn tell(&self, call: &Call, claim: &Claim) -> Result<(), Error> {
        let org = &call.identity.org;
        let Some(counts) = self.ledger.look(org, claim).await else {
            unknown(call);
            return if claim.is_enforced() { Err(refusal::uncounted()) } else { Ok(()) };
        };
        let judged = self.judge(call, claim, &counts);
        let rulings: Vec<_> = judged.iter().map(Judged::ruling).collect();
        let is_full = rulings.iter().any(Ruling::refuses);
        call.context.add_rulings(rulings);
        if is_full {
            return Err(refusal::full(org, &claim.project, &judged, self.settings.interval));
        }
        Ok(())
    }

    fn judge<'c>(&self, call: &'c Call, claim: &Claim, counts: &'c [Count]) -> Vec<Judged<'c>> {
        for (budget, count) in budgets(call).zip(counts) {
            let takes = if count.is_within() { count.takes } else { 0 };
            let rule = budget.burden.rule.as_str();
            self.metrics.budget_judged(call.identity.org.as_str(), rule, count.used + takes, count.limit);
        }
        debug_assert_eq!(claim.limits.len(), counts.len());
        budgets(call).zip(counts).map(|(budget, count)| Judged { budget, count }).collect()
    }

    fn hold(&self, call: &Call) -> Held {
        let Settings { mutation_timeout, late, .. } = self.settings;
        // Upstream is told the caller's deadline, and whoever waits longer than the timeout has left.
        let left = call.deadline.remaining().unwrap_or_default();
        Held {
            ledger: Arc::clone(&self.ledger),
            org: call.identity.org.clone(),
            request: call.context.id(),
            open_for: left.max(mutation_timeout) + late,
            is_settled: false,
        }
    }

    /// Answers to other calls tell of ends, too.
    fn see(&self, org: &OrgId, reply: &Reply) {
        let sights: Vec<_> = reply.seen.objects.iter().filter_map(Sight::of).collect();
        if !sights.is_empty() {
            self.ledger.see(org, sights);
        }
    }
}

/// Those of the call's budgets that a claim has limits for, in the same order.
fn budgets(call: &Call) -> impl Iterator<Item = &Budget> {
    let adds = call.method.adds;
    let all = call.bound.budgets.iter();
    all.filter(move |budget| adds.is_some_and(|adds| claim::is_of(budget.burden.value, adds)))
}

/// It cannot be told whether the call is within its budgets.
fn unknown(call: &Call) {
    call.context.add_rulings(budgets(call).map(|budget| budget.burden.ruling(Outcome::Failed)));
}

impl Held {
    fn settle(mut self, end: End) {
        self.is_settled = true;
        self.ledger.settle(&self.org, self.request, end, self.open_for);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.ledger.settle(&self.org, self.request, End::Unknown, self.open_for);
        }
    }
}

impl Stage<Permitted<Call>> for Budgets {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        if let Some(claim) = Claim::of(call.get()) {
            return self.claimed(call, claim, next).await;
        }
        let kept = self.0.as_ref().filter(|inner| inner.ledger.keeps(&call.get().identity.org));
        let Some(inner) = kept else { return next.run(call).await };
        let org = call.get().identity.org.clone();
        let result = next.run(call).await;
        if let Ok(reply) = &result {
            inner.see(&org, reply);
        }
        result
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Budgets").field(&self.0.as_ref().map(|inner| &inner.ledger)).finish()
    }
}
