//! One bucket (GCRA, by `governor`), and those that one holder has.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::{Clock, Reference as _},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};

use super::super::{Demand, Taken, pace::Pace};
use crate::rule::{Rate, RuleId};

/// Far more than the rates of one policy; what a row of reloads leaves behind goes, the least lately used first.
const MAX_BUCKETS: usize = 64;

/// What one holder has of one kind, in force or not. Whoever has it alone may look, take and give back without anybody in between.
pub(super) struct Buckets<C: Clock> {
    all: Vec<Bucket<C>>,
    /// Counts uses.
    uses: u64,
    /// A bucket went that was not full, so that no new one may be.
    has_lost: bool,
}

pub(super) struct Bucket<C: Clock> {
    rule: RuleId,
    candidate: bool,
    level: u8,
    is_partial: bool,
    rate: Rate,
    pace: Pace,
    used: u64,
    /// Not before the limiter's own: what is told of the bucket is never more than what is in it.
    start: C::Instant,
    state: State,
    limiter: RateLimiter<NotKeyed, State, C, NoOpMiddleware<C::Instant>>,
}

/// When the bucket is full again, in nanoseconds after its start. governor keeps it to itself, and what cannot be read
/// cannot be put back.
#[derive(Clone, Debug, Default)]
pub(super) struct State(Arc<AtomicU64>);

impl<C: Clock + Clone> Buckets<C> {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), uses: 0, has_lost: false }
    }

    /// The bucket that a demand is for. The first one of a rule is full; one that takes the place of another, because the
    /// rate has changed, is empty: no reload is worth a burst. One that is for a share of the calls takes the place of none,
    /// as the broader one is asked as well; nor does one that is only looked at, of another entry.
    pub(super) fn of(&mut self, demand: &Demand, clock: &C) -> &mut Bucket<C> {
        self.uses += 1;
        let index = self.all.iter().position(|bucket| bucket.is_for(demand)).unwrap_or_else(|| {
            let stands_apart = demand.is_partial || !demand.in_force;
            let is_before = |bucket: &Bucket<C>| {
                if stands_apart { bucket.is_of_entry(demand) } else { bucket.is_of_rule(demand) }
            };
            let is_first = !self.all.iter().any(is_before) && !self.has_lost;
            self.make_room();
            // Most holders have one or two, and there may be many holders.
            self.all.reserve_exact(1);
            self.all.push(Bucket::new(demand, clock.clone(), is_first));
            self.all.len() - 1
        });
        let bucket = &mut self.all[index];
        bucket.used = self.uses;
        bucket
    }

    /// What has passed is taken of what the rule had before, too, as far as there is anything: a rate that comes back has
    /// let nothing fill up meanwhile. Not for a share of the calls, which says nothing of the others.
    pub(super) fn use_up_others<'d>(&self, demands: impl Iterator<Item = &'d Demand> + Clone) {
        if self.all.len() < 2 {
            return;
        }
        for demand in demands.clone().filter(|demand| !demand.is_partial) {
            let of_rule = self.all.iter().filter(|bucket| !bucket.is_partial && bucket.is_of_rule(demand));
            for bucket in of_rule.filter(|bucket| !demands.clone().any(|demand| bucket.is_for(demand))) {
                bucket.use_up(demand.cost);
            }
        }
    }

    fn make_room(&mut self) {
        if self.all.len() < MAX_BUCKETS {
            return;
        }
        let oldest = self.all.iter().enumerate().min_by_key(|(_, bucket)| bucket.used);
        if let Some((index, _)) = oldest {
            self.has_lost |= self.all.swap_remove(index).full_in() > 0;
        }
    }
}

impl<C: Clock> Bucket<C> {
    fn new(demand: &Demand, clock: C, is_full: bool) -> Self {
        let pace = Pace::of(demand.rate);
        let state = State::default();
        let limiter = RateLimiter::new(pace.quota(), state.clone(), clock);
        let start = limiter.clock().now();
        if !is_full {
            state.set(pace.fill());
        }
        Self {
            rule: demand.bucket.rule.clone(),
            candidate: demand.bucket.candidate,
            level: demand.bucket.level,
            is_partial: demand.is_partial,
            rate: demand.rate,
            pace,
            used: 0,
            start,
            state,
            limiter,
        }
    }

    fn is_of_rule(&self, demand: &Demand) -> bool {
        self.candidate == demand.bucket.candidate && self.rule == demand.bucket.rule
    }

    fn is_of_entry(&self, demand: &Demand) -> bool {
        self.level == demand.bucket.level && self.is_partial == demand.is_partial && self.is_of_rule(demand)
    }

    fn is_for(&self, demand: &Demand) -> bool {
        self.rate == demand.rate && self.is_of_entry(demand)
    }

    pub(super) fn take(&self, cost: NonZeroU32) -> Taken {
        let wait = match self.limiter.check_n(cost) {
            Ok(Ok(())) => return self.untouched(),
            Ok(Err(until)) => until.wait_time_from(self.limiter.clock().now()),
            // No wait is long enough.
            Err(_) => Duration::from_nanos(self.pace.fill()),
        };
        Taken::Refused { wait, full_in: Duration::from_nanos(self.full_in()) }
    }

    /// Takes it, or all that there is.
    fn use_up(&self, cost: NonZeroU32) {
        let elapsed = self.elapsed();
        let full = self.state().max(elapsed).saturating_add(self.pace.times(cost));
        self.state.set(full.min(elapsed.saturating_add(self.pace.fill())));
    }

    /// What there is to say of it as it stands.
    pub(super) fn untouched(&self) -> Taken {
        let full_in = self.full_in();
        Taken::Passed { left: self.pace.left(full_in), full_in: Duration::from_nanos(full_in) }
    }

    pub(super) fn state(&self) -> u64 {
        self.state.0.load(Relaxed)
    }

    pub(super) fn put_back(&self, state: u64) {
        self.state.set(state);
    }

    fn full_in(&self) -> u64 {
        self.state().saturating_sub(self.elapsed())
    }

    fn elapsed(&self) -> u64 {
        self.limiter.clock().now().duration_since(self.start).as_u64()
    }
}

impl State {
    fn set(&self, nanos: u64) {
        self.0.store(nanos, Relaxed);
    }
}

impl StateStore for State {
    type Key = NotKeyed;

    /// Only ever under the holder's lock, so nobody is in between.
    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (decided, next) = decide(Some(Nanos::new(self.0.load(Relaxed))))?;
        self.set(next.as_u64());
        Ok(decided)
    }
}
