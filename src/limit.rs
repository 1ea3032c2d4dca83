//! Request rates (GCRA) of orgs and subjects, so that no org can spend another's share, and caps on what an org has in
//! flight.

use std::num::NonZeroU32;

use governor::clock::{Clock, MonotonicClock};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    call::{Call, Identity, Reply},
    error::Error,
    rule::{Holder, Quota, Rate},
    stack::{Next, Stage},
    store,
};

mod demand;
mod engine;
mod in_flight;
mod local;
mod pace;
mod refusals;
mod shared;
#[cfg(test)]
mod tests;
mod verdict;

pub use demand::{Bucket, Demand, Taken};
pub use engine::Engine;
pub use in_flight::InFlight;
pub use local::Local;
pub use refusals::{Refusals, Spent};
pub use shared::{By, Decision, Shared};

/// Calls in flight over all orgs; each may hold a request of 64 KiB and a reply of some 100 KiB.
const DEFAULT_IN_FLIGHT: usize = 1024;

/// Somebody who tries out a client makes a few mistakes a second at most; a guess in a space of 2^256 is worth nothing at
/// any rate. What this spares is the log, and look-ups.
const DEFAULT_REFUSALS: u32 = 5;
/// A pipeline with an old key fails as a whole, and should see why.
const DEFAULT_REFUSALS_BURST: u32 = 50;

/// `[limits]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests of one address (IPv4, or a /64 of IPv6) that are refused because nobody knows the caller, or because they
    /// cannot be read: beyond this they are refused shortly, and not recorded one by one. No others count.
    pub refusals: Rate,
    /// Calls in flight over all orgs; one more is refused with `UNAVAILABLE`, at least 1.
    pub in_flight: usize,
    /// Where rates and budgets are kept that all replicas share. Without it, each replica counts by itself.
    pub redis: Option<store::Config>,
    /// With `redis`, required: how many replicas there are, 1 to 1000.
    pub replicas: Option<NonZeroU32>,
}

/// The stage: takes of the rates what the policy says that a call costs.
#[derive(Debug)]
pub struct Limits<C: Clock = MonotonicClock> {
    engine: Engine<C>,
}

impl Default for Config {
    fn default() -> Self {
        let count = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let rate = |calls, burst| Rate::per_second(count(calls), count(burst));
        Self {
            refusals: rate(DEFAULT_REFUSALS, DEFAULT_REFUSALS_BURST),
            in_flight: DEFAULT_IN_FLIGHT,
            redis: None,
            replicas: None,
        }
    }
}

impl<C> Limits<C>
where
    C: Clock<Instant: Send + Sync> + Clone + Send + Sync + 'static,
{
    pub fn new(engine: Engine<C>) -> Self {
        Self { engine }
    }

    /// Takes what the call costs, and keeps on the context what is left and what was over.
    ///
    /// # Errors
    /// A rate in force is used up.
    pub async fn take(&self, call: &Call) -> Result<(), Error> {
        let quotas = &call.bound.quotas;
        if quotas.is_empty() {
            return Ok(());
        }
        let demands: Vec<_> = quotas.iter().map(|quota| demand(quota, &call.identity)).collect();
        let taken = self.engine.take(call.method.class, &demands).await;
        verdict::keep(&call.context, quotas, &taken);
        verdict::refusal(&call.identity, quotas, &taken).map_or(Ok(()), Err)
    }
}

impl<C: Clock + Clone> Clone for Limits<C> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone() }
    }
}

impl<C> Stage<Call> for Limits<C>
where
    C: Clock<Instant: Send + Sync> + Clone + Send + Sync + 'static,
{
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        self.take(&call).await?;
        next.run(call).await
    }
}

fn demand(quota: &Quota, identity: &Identity) -> Demand {
    let subject = match quota.holder {
        Holder::Org => None,
        Holder::Subject => Some(identity.subject.clone()),
    };
    Demand {
        bucket: Bucket {
            org: identity.org.clone(),
            subject,
            rule: quota.rate.rule.clone(),
            candidate: quota.rate.candidate,
            level: quota.rank.level,
        },
        rate: quota.rate.value,
        cost: quota.cost,
        in_force: quota.rate.is_enforced(),
        is_partial: quota.rank.is_partial,
    }
}
