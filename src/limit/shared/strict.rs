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
    rule::{Rate, RuleId},
};

/// Buckets of one org that are not full. Beyond it, a call whose bucket is not known is refused.
const MAX_BUCKETS: usize = 10_000;
/// Of one rule; far more than an hour without the store sees. Beyond it, what comes back begins anew: empty.
const MAX_RATES: usize = 8;

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
    full: HashMap<Identity, u128>,
    /// Of each rule the rates that it had, and when each was first seen: with that one its buckets were empty.
    rates: HashMap<Kind, Vec<(Rate, u128)>>,
}

/// What tells a bucket from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    bucket: Bucket,
    rate: Rate,
    in_force: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    rule: RuleId,
    candidate: bool,
    in_force: bool,
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
        Self { since, last: since, full: HashMap::new(), rates: HashMap::new() }
    }

    fn take(&mut self, demands: &[Demand], replicas: NonZeroU32, now: Instant) -> Vec<Taken> {
        let now = now.saturating_duration_since(self.since).as_nanos();
        let fits = |away: &Self, demand: &Demand| {
            let measures = Measures::of(demand, replicas);
            away.level(demand, measures, now) + measures.take <= measures.fill && away.has_room(demand)
        };
        self.forget(now, demands.len());
        demands.iter().for_each(|demand| self.see(demand, now));
        let passes = demands.iter().filter(|demand| demand.in_force).all(|demand| fits(self, demand));
        let each = demands.iter().map(|demand| {
            let measures = Measures::of(demand, replicas);
            let fits = fits(self, demand);
            if fits && (passes || !demand.in_force) {
                let full = now + self.level(demand, measures, now) + measures.take;
                self.full.insert(Identity::of(demand), full);
            }
            let level = self.level(demand, measures, now);
            if fits { measures.passed(level) } else { measures.refused(level) }
        });
        each.collect()
    }

    /// Until the bucket is full.
    fn level(&self, demand: &Demand, measures: Measures, now: u128) -> u128 {
        let taken = self.full.get(&Identity::of(demand)).copied().unwrap_or_default();
        let rates = self.rates.get(&Kind::of(demand)).into_iter().flatten();
        let seen = rates.filter(|(rate, _)| *rate == demand.rate).map(|(_, seen)| *seen).max();
        taken.max(seen.unwrap_or(now) + measures.fill).saturating_sub(now)
    }

    /// The first rate of a rule is as old as the rest, so that nobody waits longer for it.
    fn see(&mut self, demand: &Demand, now: u128) {
        let rates = self.rates.entry(Kind::of(demand)).or_default();
        if rates.iter().all(|(rate, _)| *rate != demand.rate) {
            let seen = if rates.is_empty() { 0 } else { now };
            if rates.len() >= MAX_RATES {
                rates.remove(0);
            }
            rates.push((demand.rate, seen));
        }
    }

    fn has_room(&self, demand: &Demand) -> bool {
        self.full.len() < MAX_BUCKETS || self.full.contains_key(&Identity::of(demand))
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
        self.rates.values_mut().flatten().for_each(|(_, seen)| *seen = seen.saturating_sub(gone));
    }
}

impl Identity {
    fn of(demand: &Demand) -> Self {
        Self { bucket: demand.bucket.clone(), rate: demand.rate, in_force: demand.in_force }
    }
}

impl Kind {
    fn of(demand: &Demand) -> Self {
        let Bucket { rule, candidate, .. } = &demand.bucket;
        Self { rule: rule.clone(), candidate: *candidate, in_force: demand.in_force }
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
