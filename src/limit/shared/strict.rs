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
    call::{OrgId, SubjectId},
    limit::{Bucket, Demand, Taken},
    rule::{Rate, RuleId},
};

/// Buckets of one org that are not full, and again as many that are only looked at. Beyond it, a call whose bucket in force
/// is not known is refused; what is only looked at is not counted then.
const MAX_BUCKETS: usize = 10_000;
/// Of one rule; far more than an hour without the store sees. Beyond it, what comes back begins anew: empty.
const MAX_RATES: usize = 8;
/// Of a subject's own entry, above its org's, that of all orgs, and what is built in.
const OWN_LEVEL: u8 = 3;

#[derive(Debug)]
pub(super) struct Strict {
    replicas: NonZeroU32,
    /// The orgs that are not with the store now. There are as many as the config has.
    orgs: Mutex<HashMap<OrgId, Away>>,
}

/// What an org has taken since it is not with the store.
#[derive(Debug)]
struct Away {
    /// How often the store was gained before.
    gained: u64,
    /// What is decided here since then the store has not heard of.
    untold: Instant,
    /// When all buckets were empty.
    since: Instant,
    /// The last decision here.
    last: Instant,
    /// Until the slowest bucket is full, in nanoseconds.
    longest: u128,
    /// When each bucket is full, in nanoseconds after `since`.
    in_force: HashMap<Identity, u128>,
    /// Apart, so that no bucket in force is without room for it.
    looked_at: HashMap<Identity, u128>,
    /// Of each rule the rates that it had, and when each was first seen: with that one its buckets were empty.
    rates: HashMap<Kind, Vec<(Rate, u128)>>,
}

/// What tells a bucket from all others that are in force, or are not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    bucket: Bucket,
    rate: Rate,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    rule: RuleId,
    candidate: bool,
    in_force: bool,
    level: u8,
    /// Where the entry is the subject's own: all of them may have other rates.
    subject: Option<SubjectId>,
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

    /// Takes what the demands ask for, all of one org. The store was gained so often: if it was there since the org's last
    /// call, it may have given out the burst meanwhile, and the org's buckets are empty again.
    pub(super) fn take(&self, org: &OrgId, demands: &[Demand], gained: u64, now: Instant) -> Vec<Taken> {
        let mut orgs = self.orgs();
        let away = orgs.entry(org.clone()).or_insert_with(|| Away::new(gained, now));
        if away.gained != gained {
            away.begin_again(gained, now);
        }
        away.last = away.last.max(now);
        away.take(demands, self.replicas, now)
    }

    /// Since when the org has been decided about here, and when last, as far as the store has not heard of it.
    pub(super) fn absence(&self, org: &OrgId) -> Option<(Instant, Instant)> {
        self.orgs().get(org).map(|away| (away.untold, away.last))
    }

    /// The store has heard of what was decided here up to `told`. What was after that it has to hear the next time.
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
    fn new(gained: u64, since: Instant) -> Self {
        let (in_force, looked_at) = (HashMap::new(), HashMap::new());
        Self {
            gained,
            untold: since,
            since,
            last: since,
            longest: 0,
            in_force,
            looked_at,
            rates: HashMap::new(),
        }
    }

    /// What the store has not heard of it still has to, unless that is over by now.
    fn begin_again(&mut self, gained: u64, now: Instant) {
        let is_over = now.saturating_duration_since(self.last).as_nanos() >= self.longest;
        let untold = if is_over { now } else { self.untold };
        *self = Self { untold, longest: self.longest, ..Self::new(gained, now) };
    }

    fn take(&mut self, demands: &[Demand], replicas: NonZeroU32, now: Instant) -> Vec<Taken> {
        let now = now.saturating_duration_since(self.since).as_nanos();
        self.forget(now, demands.len());
        demands.iter().for_each(|demand| self.see(demand, now));
        let fill = |demand| Measures::of(demand, replicas).fill;
        self.longest = demands.iter().map(fill).max().unwrap_or_default().max(self.longest);
        let new = demands.iter().filter(|demand| demand.in_force && !self.is_known(demand)).count();
        let has_room = self.in_force.len() + new <= MAX_BUCKETS;
        let fits = |away: &Self, demand: &Demand| {
            let has_room = if demand.in_force { has_room } else { away.looked_at.len() < MAX_BUCKETS };
            if !has_room && !away.is_known(demand) {
                return !demand.in_force;
            }
            let measures = Measures::of(demand, replicas);
            away.level(demand, measures, now) + measures.take <= measures.fill
        };
        let passes = demands.iter().filter(|demand| demand.in_force).all(|demand| fits(self, demand));
        let each = demands.iter().map(|demand| {
            let measures = Measures::of(demand, replicas);
            let fits = fits(self, demand);
            // Also of what is only looked at: in force it would not have been taken of either.
            if fits && passes {
                let full = now + self.level(demand, measures, now) + measures.take;
                self.fill_until(demand, full);
                self.charge_others(demand, demands, replicas, now);
            }
            let level = self.level(demand, measures, now);
            if fits { measures.passed(level) } else { measures.refused(level) }
        });
        each.collect()
    }

    /// What passes at one rate of a rule is taken of its other rates' buckets as well, at most until they are empty: a rate
    /// that was changed and is changed back brings no burst.
    fn charge_others(&mut self, passed: &Demand, asked: &[Demand], replicas: NonZeroU32, now: u128) {
        let rates = self.rates.get(&Kind::of(passed)).into_iter().flatten();
        let others = rates.map(|(rate, _)| Demand { rate: *rate, ..passed.clone() });
        let others: Vec<_> =
            others.filter(|other| !asked.iter().any(|demand| Self::is_same(other, demand))).collect();
        for other in others {
            let measures = Measures::of(&other, replicas);
            let level = (self.level(&other, measures, now) + measures.take).min(measures.fill);
            if self.buckets(&other).len() < MAX_BUCKETS || self.is_known(&other) {
                self.fill_until(&other, now + level);
            }
        }
    }

    /// Until the bucket is full.
    fn level(&self, demand: &Demand, measures: Measures, now: u128) -> u128 {
        let taken = self.buckets(demand).get(&Identity::of(demand)).copied().unwrap_or_default();
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

    fn buckets(&self, demand: &Demand) -> &HashMap<Identity, u128> {
        if demand.in_force { &self.in_force } else { &self.looked_at }
    }

    fn is_same(one: &Demand, other: &Demand) -> bool {
        one.in_force == other.in_force && one.rate == other.rate && one.bucket == other.bucket
    }

    fn is_known(&self, demand: &Demand) -> bool {
        self.buckets(demand).contains_key(&Identity::of(demand))
    }

    fn fill_until(&mut self, demand: &Demand, full: u128) {
        if demand.in_force {
            self.in_force.insert(Identity::of(demand), full);
        } else if self.looked_at.len() < MAX_BUCKETS || self.is_known(demand) {
            self.looked_at.insert(Identity::of(demand), full);
        }
    }

    /// A full bucket is as good as none.
    fn forget(&mut self, now: u128, coming: usize) {
        for buckets in [&mut self.in_force, &mut self.looked_at] {
            if buckets.len() + coming > MAX_BUCKETS {
                buckets.retain(|_, full| *full > now);
            }
        }
    }

    /// As if it had begun later, with every bucket empty then or as empty as it is.
    fn move_to(&mut self, since: Instant) {
        let gone = since.saturating_duration_since(self.since).as_nanos();
        self.since = self.since.max(since);
        self.untold = self.since;
        let buckets = self.in_force.values_mut().chain(self.looked_at.values_mut());
        buckets.for_each(|full| *full = full.saturating_sub(gone));
        self.rates.values_mut().flatten().for_each(|(_, seen)| *seen = seen.saturating_sub(gone));
    }
}

impl Identity {
    fn of(demand: &Demand) -> Self {
        Self { bucket: demand.bucket.clone(), rate: demand.rate }
    }
}

impl Kind {
    fn of(demand: &Demand) -> Self {
        let Bucket { org: _, subject, rule, candidate, level } = &demand.bucket;
        Self {
            rule: rule.clone(),
            candidate: *candidate,
            in_force: demand.in_force,
            level: *level,
            subject: subject.clone().filter(|_| *level >= OWN_LEVEL),
        }
    }
}

impl Measures {
    fn of(demand: &Demand, replicas: NonZeroU32) -> Self {
        let (rate, cost) = (demand.rate, demand.cost.get());
        let replicas = replicas.get();
        let pace = (rate.per.as_nanos() * u128::from(replicas)).div_ceil(u128::from(rate.calls.get())).max(1);
        // One call that costs more than the part of the burst passes in time, as else none would. What the whole burst is
        // not enough for does not pass here either.
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
