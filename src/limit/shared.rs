//! Rates that all replicas keep together, in Redis or Valkey: one script takes all that a call asks for, at once and by
//! the store's own clock.
//!
//! What holds: over all replicas no more passes than the limit, and a store that lost what it knew, was away or is another
//! one gives no fresh burst. The one exception are calls that cost more than a replica's part of the burst: alone, each
//! saves up for one of them, as else none would pass, so that bursts add up to that cost on each replica. The rate holds
//! for them too. `check` warns of it. Where the store does not answer in time, each replica lets its part of
//! the limit pass ([`strict`]), and what it let pass so the store does not give out again: it is told when that was. The
//! org's buckets have not filled in that time, and are as empty as that time could have emptied them.
//!
//! The exact words are the store's: while some replicas reach it and others do not, the latter's part comes on top, until
//! they are back, or all are without it.

use std::{
    collections::HashSet,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use self::strict::Strict;
use super::{Demand, Taken};
use crate::{
    rpc::Class,
    rule::RuleId,
    store::{Fault, Store},
    telemetry::{LimitedBy, Metrics},
};

mod script;
mod strict;
#[cfg(test)]
mod tests;

/// What of an org's in the store is this room's.
const ROOM: &str = "rates";

/// The engine. It waits for the store no longer than [`Store::PATIENCE`].
#[derive(Debug)]
pub struct Shared {
    store: Store,
    strict: Strict,
    reads_pass: HashSet<RuleId>,
    metrics: Metrics,
}

/// What became of a call's demands, in their order, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub taken: Vec<Taken>,
    pub by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The store, at this time since 1970 by its clock.
    Store { at: Duration },
    /// This replica alone.
    Local,
}

impl Shared {
    /// For so many replicas, this one among them. Limits in `reads_pass` let reads pass while the store is not to be had;
    /// calls that change something they never do.
    pub fn new(
        store: Store,
        replicas: NonZeroU32,
        reads_pass: impl IntoIterator<Item = RuleId>,
        metrics: Metrics,
    ) -> Self {
        Self { store, strict: Strict::new(replicas), reads_pass: reads_pass.into_iter().collect(), metrics }
    }

    /// Takes what a call of that class asks of its org's buckets. The demands are of one org.
    pub async fn take(&self, class: Class, demands: &[Demand]) -> Decision {
        match self.ask(demands).await {
            Ok(decision) => decision,
            Err(Unanswered) => Decision { taken: self.take_alone(class, demands), by: By::Local },
        }
    }

    async fn ask(&self, demands: &[Demand]) -> Result<Decision, Unanswered> {
        let org = &demands.first().ok_or(Unanswered)?.bucket.org;
        let sent = Instant::now();
        let absence = self.strict.absence(org);
        let ago = |at| sent.saturating_duration_since(at);
        let told = absence.map(|(began, ended)| (ago(began), ago(ended)));
        let arguments = script::arguments(demands, told);
        let answer = self.store.run(script::script(), org, ROOM, &arguments, |value| {
            script::answer(demands, &value).ok_or(Fault::Garbage)
        });
        let answer = answer.await.map_err(|_| Unanswered)?;
        if let Some((_, ended)) = absence {
            self.strict.back(org, ended);
        }
        self.metrics.limited(LimitedBy::Store);
        Ok(Decision { taken: answer.taken, by: By::Store { at: answer.at } })
    }

    /// What passes without is not counted, and takes of no bucket.
    fn take_alone(&self, class: Class, demands: &[Demand]) -> Vec<Taken> {
        let Some(first) = demands.first() else { return Vec::new() };
        self.metrics.limited(LimitedBy::Replica);
        let passes = |demand: &Demand| class == Class::Read && self.reads_pass.contains(&demand.bucket.rule);
        let counted: Vec<Demand> = demands.iter().filter(|demand| !passes(demand)).cloned().collect();
        // Also with none: the store has to hear that it was not asked.
        let mut taken =
            self.strict.take(&first.bucket.org, &counted, self.store.gained(), Instant::now()).into_iter();
        let free = |demand: &Demand| Taken::Passed { left: demand.rate.burst.get(), full_in: Duration::ZERO };
        demands
            .iter()
            .filter_map(|demand| if passes(demand) { Some(free(demand)) } else { taken.next() })
            .collect()
    }
}

/// The store said nothing that could be used, or nothing was asked.
struct Unanswered;
