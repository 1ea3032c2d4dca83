//! Buckets in this process. Each holder's are kept together under one lock, so that demands in force are all or nothing.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use governor::clock::{Clock, MonotonicClock};
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

use super::{Demand, Taken, pace::Pace};
use crate::call::{OrgId, SubjectId};
use bucket::Buckets;

mod bucket;
#[cfg(test)]
mod tests;

/// Orgs, at some 800 bytes each with one rate. They are the config's.
const MAX_ORGS: u64 = 65_536;
/// Subjects of one org, as large each. They may be as many as an issuer cares to name; those that were left alone for longest
/// go first. What they spend is still within their org's rate.
const MAX_SUBJECTS: u64 = 8_192;
/// A forgotten bucket has to have been full: this much more than it takes to fill one.
const FORGET_MARGIN: Duration = Duration::from_secs(1);

/// The buckets. Clones share them.
pub struct Local<C: Clock = MonotonicClock> {
    /// Apart from the subjects', so that however many of those come, no org's buckets go for it.
    orgs: Shelves<C>,
    subjects: Subjects<C>,
    /// What subjects have of rates that are only looked at: apart, so that no bucket in force goes for it.
    looked_at: Subjects<C>,
    clock: C,
}

type Shelves<C> = Cache<Holder, Arc<Shelf<C>>>;

/// By org, so that however many one of them names, no other's go for it.
struct Subjects<C: Clock>(Arc<RwLock<HashMap<OrgId, Shelves<C>>>>);

/// Who holds buckets, and of which kind: what is only looked at is kept apart in every respect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Holder {
    org: OrgId,
    subject: Option<SubjectId>,
    in_force: bool,
}

/// What a holder has.
struct Shelf<C: Clock> {
    /// Of its buckets the longest, in nanoseconds.
    fill: AtomicU64,
    buckets: Mutex<Buckets<C>>,
}

/// Forgets a holder once all its buckets are full.
struct WhenFull;

impl<C> Local<C>
where
    C: Clock<Instant: Send + Sync> + Clone + Send + Sync + 'static,
{
    pub fn new(clock: C) -> Self {
        Self { orgs: shelves(MAX_ORGS), subjects: Subjects::new(), looked_at: Subjects::new(), clock }
    }

    /// Takes what is demanded, or nothing of it if one demand in force cannot be met.
    pub fn take(&self, demands: &[Demand]) -> Vec<Taken> {
        let shelves = self.shelves(demands);
        // One order for all: no two calls ever wait for each other.
        let mut held: Vec<_> = shelves.iter().map(|(holder, shelf)| (holder, shelf.lock())).collect();
        let mut taken = vec![Taken::Passed { left: 0, full_in: Duration::ZERO }; demands.len()];
        let (mut undo, mut refused) = (Vec::with_capacity(demands.len()), false);
        for (holder, buckets) in &mut held {
            for (demand, taken) in demands.iter().zip(&mut taken).filter(|(demand, _)| holder.is_of(demand)) {
                let bucket = buckets.of(demand, &self.clock);
                let before = bucket.state();
                *taken = bucket.take(demand.cost);
                undo.push((*holder, demand, before));
                refused |= demand.in_force && taken.is_refused();
            }
        }
        if refused {
            // Also of what is only looked at: in force it would not have been taken of either.
            self.give_back(&mut held, undo);
            self.tell(&mut held, demands, &mut taken);
        } else {
            for (holder, buckets) in held.iter_mut().filter(|(holder, _)| holder.in_force) {
                buckets.use_up_others(demands.iter().filter(|demand| holder.is_of(demand)));
            }
        }
        taken
    }

    /// The last taken first, so that each bucket ends as it was.
    fn give_back(&self, held: &mut Held<'_, C>, undo: Vec<(&Holder, &Demand, u64)>) {
        for (holder, demand, before) in undo.into_iter().rev() {
            if let Some((_, buckets)) = held.iter_mut().find(|(held, _)| *held == holder) {
                buckets.of(demand, &self.clock).put_back(before);
            }
        }
    }

    /// What is left where nothing was taken after all.
    fn tell(&self, held: &mut Held<'_, C>, demands: &[Demand], taken: &mut [Taken]) {
        for (demand, taken) in demands.iter().zip(taken) {
            if demand.in_force
                && !taken.is_refused()
                && let Some((_, buckets)) = held.iter_mut().find(|(holder, _)| holder.is_of(demand))
            {
                *taken = buckets.of(demand, &self.clock).untouched();
            }
        }
    }

    /// The holders that are asked, in the order in which they are locked.
    fn shelves(&self, demands: &[Demand]) -> Vec<(Holder, Arc<Shelf<C>>)> {
        let mut fills: Vec<(Holder, u64)> = Vec::with_capacity(4);
        for demand in demands {
            let fill = Pace::of(demand.rate).fill();
            match fills.iter_mut().find(|(holder, _)| holder.is_of(demand)) {
                Some((_, longest)) => *longest = fill.max(*longest),
                None => fills.push((Holder::of(demand), fill)),
            }
        }
        fills.sort_unstable_by(|(a, _), (b, _)| a.rank().cmp(&b.rank()));
        fills.into_iter().map(|(holder, fill)| self.shelf(holder, fill)).collect()
    }

    fn shelf(&self, holder: Holder, fill: u64) -> (Holder, Arc<Shelf<C>>) {
        let holders = match (&holder.subject, holder.in_force) {
            (None, _) => self.orgs.clone(),
            (Some(_), true) => self.subjects.of(&holder.org),
            (Some(_), false) => self.looked_at.of(&holder.org),
        };
        let make = || Arc::new(Shelf { fill: fill.into(), buckets: Mutex::new(Buckets::new()) });
        let mut shelf = holders.get_with_by_ref(&holder, make);
        if shelf.fill.fetch_max(fill, Relaxed) < fill {
            // Looked up again, it is kept for as long as the new bucket needs.
            shelf = holders.get(&holder).unwrap_or(shelf);
        }
        (holder, shelf)
    }
}

fn shelves<C>(most: u64) -> Shelves<C>
where
    C: Clock<Instant: Send + Sync> + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(most)
        // By how often they come, newcomers would never get a bucket in a full house.
        .eviction_policy(EvictionPolicy::lru())
        .expire_after(WhenFull)
        .build()
}

impl<C> Subjects<C>
where
    C: Clock<Instant: Send + Sync> + Send + Sync + 'static,
{
    fn new() -> Self {
        Self(Arc::default())
    }

    fn of(&self, org: &OrgId) -> Shelves<C> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(org).cloned();
        known.unwrap_or_else(|| {
            let mut orgs = self.0.write().unwrap_or_else(PoisonError::into_inner);
            orgs.entry(org.clone()).or_insert_with(|| shelves(MAX_SUBJECTS)).clone()
        })
    }
}

impl<C: Clock> Clone for Subjects<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Held<'s, C> = Vec<(&'s Holder, MutexGuard<'s, Buckets<C>>)>;

impl<C: Clock + Clone> Clone for Local<C> {
    fn clone(&self) -> Self {
        Self {
            orgs: self.orgs.clone(),
            subjects: self.subjects.clone(),
            looked_at: self.looked_at.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<C: Clock> fmt::Debug for Local<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}

impl Holder {
    fn of(Demand { bucket, in_force, .. }: &Demand) -> Self {
        Self { org: bucket.org.clone(), subject: bucket.subject.clone(), in_force: *in_force }
    }

    fn is_of(&self, demand: &Demand) -> bool {
        self.in_force == demand.in_force
            && self.subject == demand.bucket.subject
            && self.org == demand.bucket.org
    }

    /// A subject's before its org's.
    fn rank(&self) -> (bool, &OrgId, Option<&SubjectId>, bool) {
        (self.subject.is_none(), &self.org, self.subject.as_ref(), self.in_force)
    }
}

impl<C: Clock> Shelf<C> {
    fn lock(&self) -> MutexGuard<'_, Buckets<C>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_for(&self) -> Duration {
        Duration::from_nanos(self.fill.load(Relaxed)).saturating_add(FORGET_MARGIN)
    }
}

impl<C: Clock> Expiry<Holder, Arc<Shelf<C>>> for WhenFull {
    fn expire_after_create(&self, _: &Holder, shelf: &Arc<Shelf<C>>, _: Instant) -> Option<Duration> {
        Some(shelf.kept_for())
    }

    fn expire_after_read(
        &self,
        _: &Holder,
        shelf: &Arc<Shelf<C>>,
        _: Instant,
        _: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        Some(shelf.kept_for())
    }
}
