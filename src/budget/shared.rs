//! Books that all replicas share, in Redis or Valkey.
//!
//! An org's books are one value there. Every step reads it, judges by it, and puts what has become of it back if nobody
//! else did meanwhile; if somebody did, it judges anew. So the same code keeps the books here as in memory, and time is
//! the store's own. What a process wants of an org at the same time is one change, so that replicas race only with each
//! other.
//!
//! A process may be killed: each claim has a lease, after which its call takes no effect, and goes with the first census
//! that begins later. Where the store does not answer in time nobody knows what is outstanding, and nothing that has a
//! budget in force passes. Where it has lost the books, or may have lost a part, calls that they do not know may be under
//! way: there is no census before the longest lease has passed. The same holds where a replica says that it sends calls of
//! the org without claims, as one does that has no budget for it: [`mark`].

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::{mpsc, oneshot};

use self::{
    desk::Desk,
    mark::Marks,
    page::Page,
    shelf::Shelf,
    step::{Note, Settlement, Step},
};
use super::{
    LIST_LAG, Settings,
    books::Stamp,
    claim::{Claim, Count, End, Sight, Verdict},
    ledger::{Begin, Ledger, Tally},
};
use crate::{
    call::{Counted, OrgId, RequestId},
    store::Store,
};

mod desk;
mod mark;
mod page;
mod shelf;
mod step;
#[cfg(test)]
mod tests;

/// Steps of one org that wait for their turn: as many as may be in flight on a large gateway.
const QUEUE: usize = 4096;

/// A claim's lease begins with it, and the wait for upstream only when the call is sent. Between them lie the disk and a
/// free connection. With it there are two seconds left of those in which a call may still take effect after all.
const SEND_WITHIN: Duration = Duration::from_secs(3);
/// So that it costs one script in that time; for so much longer nothing can be counted.
const RENEWAL: Duration = Duration::from_secs(5);

/// The ledger.
pub struct Shared {
    store: Store,
    terms: Terms,
    marks: Arc<Marks>,
    orgs: RwLock<HashMap<OrgId, mpsc::Sender<Step>>>,
}

/// What the replicas have in common; all of them should have the same.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// So much older than an answer a list of upstream's may be.
    pub lag: Duration,
    /// Between two counts.
    pub interval: Duration,
    /// No claim's is longer.
    pub lease: Duration,
    /// Once it is said that calls are sent without claims, that stands for all that are sent within this.
    pub renewal: Duration,
}

impl Terms {
    /// No caller may wait for longer than `longest`.
    pub fn new(settings: &Settings, longest: Duration) -> Self {
        let Settings { interval, mutation_timeout, late } = *settings;
        Self { lag: LIST_LAG, interval, lease: longest.max(mutation_timeout) + late, renewal: RENEWAL }
    }

    /// No call of which nobody knows takes effect later than this from now.
    fn longest(&self) -> Duration {
        self.lease + self.renewal
    }
}

impl Shared {
    pub fn new(store: Store, terms: Terms) -> Self {
        let marks = Arc::new(Marks::new(store.clone(), terms));
        Self { store, terms, marks, orgs: RwLock::default() }
    }

    fn orgs(&self) -> RwLockReadGuard<'_, HashMap<OrgId, mpsc::Sender<Step>>> {
        self.orgs.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it to whoever keeps the org's books here; false where nobody does, or too much is waiting.
    fn give(&self, org: &OrgId, step: Step) -> bool {
        self.orgs().get(org).is_some_and(|steps| steps.try_send(step).is_ok())
    }

    /// What was said of a step, within the store's patience; none if nothing was.
    async fn ask<T>(&self, org: &OrgId, step: impl FnOnce(oneshot::Sender<T>) -> Step) -> Option<T> {
        let (reply, said) = oneshot::channel();
        if !self.give(org, step(reply)) {
            return None;
        }
        tokio::time::timeout(Store::PATIENCE, said).await.ok()?.ok()
    }
}

impl Ledger for Shared {
    fn keeps(&self, org: &OrgId) -> bool {
        self.orgs().contains_key(org)
    }

    fn send_within(&self) -> Option<Duration> {
        Some(SEND_WITHIN)
    }

    fn open(&self, org: &OrgId) {
        let mut orgs = self.orgs.write().unwrap_or_else(PoisonError::into_inner);
        orgs.entry(org.clone()).or_insert_with(|| {
            let (sender, steps) = mpsc::channel(QUEUE);
            let shelf = Arc::new(Shelf::new(self.store.clone(), org.clone(), self.terms));
            tokio::spawn(Desk::new(shelf, steps, Arc::clone(&self.marks)).serve());
            sender
        });
    }

    /// The books are left to the other replicas: they grow old if nobody counts.
    fn close(&self, org: &OrgId) {
        self.orgs.write().unwrap_or_else(PoisonError::into_inner).remove(org);
    }

    fn claim<'a>(&'a self, org: &'a OrgId, claim: &'a Claim, lease: Duration) -> BoxFuture<'a, Verdict> {
        let step = move |reply| Step::Claim { claim: claim.clone(), lease, reply };
        async move { self.ask(org, step).await.unwrap_or(Verdict::Uncounted) }.boxed()
    }

    fn pass<'a>(&'a self, org: &'a OrgId, claim: &'a Claim, lease: Duration) -> BoxFuture<'a, ()> {
        async move {
            // Where the books are kept here, they are told of the call itself, as soon as the store is there.
            if !self.give(org, Step::Note(Note::new(claim.clone(), lease))) {
                self.marks.set(org).await;
            }
        }
        .boxed()
    }

    fn look<'a>(&'a self, org: &'a OrgId, claim: &'a Claim) -> BoxFuture<'a, Option<Vec<Count>>> {
        let step = |reply| Step::Look { claim: claim.clone(), reply };
        async move { self.ask(org, step).await.flatten() }.boxed()
    }

    fn settle(&self, org: &OrgId, request: RequestId, end: End, open_for: Duration) {
        self.give(org, Step::Settle(Settlement::new(request, end, open_for)));
    }

    fn see(&self, org: &OrgId, sights: Vec<Sight>) {
        // Only ends, and newer states of pools, say anything.
        let telling: Vec<_> =
            sights.into_iter().filter(|sight| sight.has_ended || sight.pool.is_some()).collect();
        if !telling.is_empty() {
            self.give(org, Step::See(telling));
        }
    }

    fn begin<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Option<Begin>> {
        async move { self.ask(org, |reply| Step::Begin { reply }).await.flatten() }.boxed()
    }

    fn apply<'a>(&'a self, org: &'a OrgId, begun: Stamp, counted: Counted) -> BoxFuture<'a, Option<Tally>> {
        async move { self.ask(org, |reply| Step::Apply { begun, counted, reply }).await.flatten() }.boxed()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("orgs", &self.orgs().len()).finish_non_exhaustive()
    }
}
