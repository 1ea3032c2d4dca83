//! What a replica lets pass by itself while the store is not to be had: its part of every limit, `limit / replicas`, and
//! never a burst first.
//!
//! A bucket counts as empty when the org's first call has to be decided here, and fills at the replica's part of the rate.
//! So all replicas together stay within the limit. A burst is the part of the limit's, at least the one call that it is
//! about, as else no call that costs more would pass at all.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    call::OrgId,
    limit::{Bucket, Demand, Taken},
};

/// Buckets of one org that are not full. Beyond it, a call whose bucket is not known is refused.
const MAX_BUCKETS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Strict {
    replicas: NonZeroU32,
    /// The orgs that are not with the store now. There are as many as the config has.
    orgs: Mutex<HashMap<OrgId, Away>>,
}

/// What an org has taken since it is not with the store.
#[derive(Debug)]
struct Away {
    since: Instant,
    /// The last decision here.
    last: Instant,
    /// When each bucket is full, in nanoseconds after `since`.
    full: HashMap<Bucket, u128>,
}

/// In nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Measures {
    pace: u128,
    fill: u128,
    take: u128,
}

impl Strict {
    pub(super) fn new(replicas: NonZeroU32) -> Self {
        Self { replicas, orgs: Mutex::default() }
    }

    /// Takes what the demands ask for, all of one org.
    pub(super) fn take(&self, org: &OrgId, demands: &[Demand], now: Instant) -> Vec<Taken> {
        let mut orgs = self.orgs();
        let away = orgs.entry(org.clone()).or_insert_with(|| Away::new(now));
        away.last = away.last.max(now);
        away.take(demands, self.replicas, now)
    }

    /// How long the org has been without the store.
    pub(super) fn away(&self, org: &OrgId, now: Instant) -> Duration {
        self.orgs().get(org).map_or(Duration::ZERO, |away| now.saturating_duration_since(away.since))
    }

    /// The store has heard how long the org was without it, up to `told`. What was decided here after that it has to hear
    /// the next time.
    pub(super) fn back(&self, org: &OrgId, told: Instant) {
        let mut orgs = self.orgs();
        let Some(away) = orgs.get_mut(org) else { return };
        if away.last <= told {
            orgs.remove(org);
        } else {
            away.move_to(told);
        }
    }

    fn orgs(&self) -> MutexGuard<'_, HashMap<OrgId, Away>> {
        self.orgs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Away {
    fn new(since: Instant) -> Self {
        Self { since, last: since, full: HashMap::new() }
    }

    fn take(&mut self, demands: &[Demand], replicas: NonZeroU32, now: Instant) -> Vec<Taken> {
        let now = now.saturating_duration_since(self.since).as_nanos();
        let fits = |away: &Self, demand: &Demand| {
            let measures = Measures::of(demand, replicas);
            away.level(demand, measures, now) + measures.take <= measures.fill && away.has_room(demand)
        };
        self.forget(now, demands.len());
        let passes = demands.iter().filter(|demand| demand.in_force).all(|demand| fits(self, demand));
        let each = demands.iter().map(|demand| {
            let measures = Measures::of(demand, replicas);
            let fits = fits(self, demand);
            if fits && (passes || !demand.in_force) {
                let full = now + self.level(demand, measures, now) + measures.take;
                self.full.insert(demand.bucket.clone(), full);
            }
            let level = self.level(demand, measures, now);
            if fits { measures.passed(level) } else { measures.refused(level) }
        });
        each.collect()
    }

    /// Until the bucket is full.
    fn level(&self, demand: &Demand, measures: Measures, now: u128) -> u128 {
        let taken = self.full.get(&demand.bucket).copied().unwrap_or_default();
        taken.max(measures.fill).saturating_sub(now)
    }

    fn has_room(&self, demand: &Demand) -> bool {
        self.full.len() < MAX_BUCKETS || self.full.contains_key(&demand.bucket)
    }

    /// A full bucket is as good as none.
    fn forget(&mut self, now: u128, coming: usize) {
        if self.full.len() + coming > MAX_BUCKETS {
            self.full.retain(|_, full| *full > now);
        }
    }

    /// As if it had begun later, with every bucket empty then or as empty as it is.
    fn move_to(&mut self, since: Instant) {
        let gone = since.saturating_duration_since(self.since).as_nanos();
        self.since = since;
        self.full.values_mut().for_each(|full| *full = full.saturating_sub(gone));
    }
}

impl Measures {
    fn of(demand: &Demand, replicas: NonZeroU32) -> Self {
        let (rate, cost) = (demand.rate, demand.cost.get());
        let replicas = replicas.get();
        let pace = (rate.per.as_nanos() * u128::from(replicas)).div_ceil(u128::from(rate.calls.get())).max(1);
        // What the whole burst is not enough for does not pass here either.
        let burst = (rate.burst.get() / replicas).max(cost.min(rate.burst.get()));
        Self { pace, fill: pace * u128::from(burst), take: pace * u128::from(cost) }
    }

    fn passed(self, level: u128) -> Taken {
        let left = u32::try_from(self.fill.saturating_sub(level) / self.pace).unwrap_or(u32::MAX);
        Taken::Passed { left, full_in: time(level) }
    }

    fn refused(self, level: u128) -> Taken {
        // At least the pace, also where the buckets are too many.
        let wait = (level + self.take).saturating_sub(self.fill).max(self.pace.min(self.take));
        Taken::Refused { wait: time(wait), full_in: time(level) }
    }
}

fn time(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
