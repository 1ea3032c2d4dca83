//! The one script: what goes in, and what comes out. Times are whole microseconds, as Redis' clock has them.

use std::{fmt::Write as _, sync::LazyLock, time::Duration};

use redis::{Script, Value};

use crate::{
    limit::{Bucket, Demand, Taken},
    rule::Rate,
};

/// An org that nobody calls for this long, after its buckets are full, begins without a burst again.
const MARGIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Buckets that an org has at most, at some 150 bytes each, and up to 255 more for what a subject is called. Made-up subjects
/// are many.
const MAX_BUCKETS: usize = 20_000;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rates.lua")));

/// A bucket's measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measures {
    /// From one call of cost 1 to the next; rounded up, so that the rate is never exceeded.
    pub(super) pace: u64,
    /// Until an empty bucket is full.
    pub(super) fill: u64,
    /// What the call takes.
    pub(super) take: u64,
}

/// What the store said: when, by its own clock, and of each demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) at: Duration,
    pub(super) taken: Vec<Taken>,
}

pub(super) fn script() -> &'static Script {
    &SCRIPT
}

/// `absence` is since when, and until when, the caller decided without the store: each as long as it is ago.
pub(super) fn arguments(demands: &[Demand], absence: Option<(Duration, Duration)>) -> Vec<String> {
    let measured: Vec<_> = demands.iter().map(|demand| (demand, Measures::of(demand))).collect();
    let longest = measured.iter().map(|(_, measures)| measures.fill).max().unwrap_or_default();
    let ttl = micros(MARGIN).saturating_add(longest) / 1000;
    // It is never told shorter than it was.
    let (began, ended) = absence.map_or(("-1".to_owned(), "-1".to_owned()), |(began, ended)| {
        (micros(began).saturating_add(1).to_string(), micros(ended).to_string())
    });
    let mut arguments = vec![began, ended, ttl.to_string(), MAX_BUCKETS.to_string()];
    for (demand, Measures { fill, take, .. }) in measured {
        let forced = match (demand.in_force, demand.is_partial) {
            (false, _) => "0",
            (true, false) => "1",
            (true, true) => "2",
        };
        let (rule, rate) = (rule(demand), rate(demand.rate));
        let field = field(&demand.bucket, &rule, &rate);
        arguments.extend([field, fill.to_string(), take.to_string(), forced.to_owned(), rule, rate]);
    }
    arguments
}

/// None if it is no answer to these demands.
pub(super) fn answer(demands: &[Demand], value: &Value) -> Option<Answer> {
    let Value::Array(values) = value else { return None };
    let numbers = values.iter().map(|value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    });
    let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
    let (at, each) = numbers.split_first()?;
    if each.len() != demands.len() * 2 {
        return None;
    }
    let taken = demands.iter().zip(each.chunks_exact(2)).map(|(demand, said)| match *said {
        [1, level] => Some(Measures::of(demand).passed(level)),
        [0, level] => Some(Measures::of(demand).refused(level)),
        _ => None,
    });
    Some(Answer { at: Duration::from_micros(*at), taken: taken.collect::<Option<_>>()? })
}

/// A rule as the org's hash has it. What is only looked at, candidates, and entries of another level are others: they take
/// of no bucket of its.
fn rule(demand: &Demand) -> String {
    let Bucket { subject, rule, candidate, level, .. } = &demand.bucket;
    let holder = if subject.is_some() { 'u' } else { 'o' };
    let stance = if demand.in_force { 'f' } else { 's' };
    let value = if *candidate { 'c' } else { 'l' };
    format!("{holder}{stance}{value}{level}:{rule}")
}

/// All that tells one rate from another.
fn rate(rate: Rate) -> String {
    format!("{}/{}/{}", rate.calls, rate.per.as_nanos(), rate.burst)
}

/// The name of a bucket in its org's hash. No rule has a colon in its name, and what a subject has in its is last.
fn field(bucket: &Bucket, rule: &str, rate: &str) -> String {
    let mut field = format!("{rule}:{rate}");
    if let Some(subject) = &bucket.subject {
        // Writing to a string does not fail.
        let _ = write!(field, ":{subject}");
    }
    field
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Measures {
    fn of(demand: &Demand) -> Self {
        let Rate { calls, per, burst } = demand.rate;
        let pace = micros(per).div_ceil(u64::from(calls.get())).max(1);
        let times = |count: u32| pace.saturating_mul(u64::from(count));
        Self { pace, fill: times(burst.get()), take: times(demand.cost.get()) }
    }

    /// The bucket is full after `level`.
    fn passed(self, level: u64) -> Taken {
        let left = self.fill.saturating_sub(level) / self.pace;
        Taken::Passed { left: u32::try_from(left).unwrap_or(u32::MAX), full_in: Duration::from_micros(level) }
    }

    fn refused(self, level: u64) -> Taken {
        let wait = level.saturating_add(self.take).saturating_sub(self.fill);
        Taken::Refused { wait: Duration::from_micros(wait), full_in: Duration::from_micros(level) }
    }
}
