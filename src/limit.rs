//! Request rates: one GCRA bucket per org (`governor`), so that no org can spend another's share.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tonic_types::pb;

use crate::{
    call::{Call, OrgId, Reply},
    error::{Error, Reason, Retry},
    rule::Rate,
    stack::{Next, Stage},
};

mod refusals;
#[cfg(test)]
mod tests;

pub use refusals::{Refusals, Spent};

/// 50 calls a second is far above what people and pipelines of one org send, and far below what hurts upstream.
const DEFAULT_RATE: u32 = 50;
/// Two seconds' worth at once: a pipeline that starts many jobs is not punished for its shape.
const DEFAULT_BURST: u32 = 100;
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
    /// The request rate of every org that has none of its own.
    pub requests: Rate,
    /// Requests of one address (IPv4, or a /64 of IPv6) that are refused because nobody knows the caller, or because they
    /// cannot be read: beyond this they are refused shortly, and not recorded one by one. No others count.
    pub refusals: Rate,
    /// Calls in flight over all orgs; one more is refused with `UNAVAILABLE`, at least 1.
    pub in_flight: usize,
}

/// The stage. The orgs are those of the config, so the map is bounded by it.
#[derive(Debug)]
pub struct Limits<C: Clock = MonotonicClock> {
    orgs: Arc<HashMap<OrgId, Bucket<C>>>,
    clock: C,
}

#[derive(Debug)]
struct Bucket<C: Clock> {
    rate: Rate,
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
}

/// Why a call does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The org has used up its rate; the next call would pass after `wait`.
    #[error("the request rate is used up")]
    Exceeded { rate: Rate, wait: Duration },
    #[error("the org has no bucket")]
    NoBucket,
}

impl Default for Config {
    fn default() -> Self {
        let count = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let rate = |calls, burst| Rate::per_second(count(calls), count(burst));
        Self {
            requests: rate(DEFAULT_RATE, DEFAULT_BURST),
            refusals: rate(DEFAULT_REFUSALS, DEFAULT_REFUSALS_BURST),
            in_flight: DEFAULT_IN_FLIGHT,
        }
    }
}

/// At the pace of the rate, to the nanosecond and never quicker.
fn quota(rate: Rate) -> Quota {
    let pace = rate.per.as_nanos().div_ceil(u128::from(rate.calls.get()));
    let pace = Duration::from_nanos(u64::try_from(pace).unwrap_or(u64::MAX).max(1));
    // A pace of no time at all is the only one that makes no quota.
    Quota::with_period(pace).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(rate.burst)
}

impl<C: Clock + Clone> Limits<C> {
    pub fn new(rates: impl IntoIterator<Item = (OrgId, Rate)>, clock: C) -> Self {
        let bucket =
            |rate: Rate| Bucket { rate, limiter: RateLimiter::direct_with_clock(quota(rate), clock.clone()) };
        let orgs = rates.into_iter().map(|(org, rate)| (org, bucket(rate))).collect();
        Self { orgs: Arc::new(orgs), clock }
    }

    /// Takes one call from the org's bucket.
    ///
    /// # Errors
    /// The bucket is empty. Identity only ever yields configured orgs, so that one without a bucket is a fault, and
    /// does not pass.
    pub fn take(&self, org: &OrgId) -> Result<(), Refused> {
        let bucket = self.orgs.get(org).ok_or(Refused::NoBucket)?;
        bucket.limiter.check().map_err(|until| Refused::Exceeded {
            rate: bucket.rate,
            wait: until.wait_time_from(self.clock.now()),
        })
    }
}

impl<C: Clock + Clone> Clone for Limits<C> {
    fn clone(&self) -> Self {
        Self { orgs: Arc::clone(&self.orgs), clock: self.clock.clone() }
    }
}

impl<C: Clock + Clone + Send + Sync + 'static> Stage<Call> for Limits<C>
where
    C::Instant: Send + Sync,
{
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        let org = &call.identity.org;
        self.take(org).map_err(|refused| refused.refusal(org))?;
        next.run(call).await
    }
}

impl Refused {
    /// `QuotaFailure` names the limit, `RetryInfo` the time to wait.
    fn refusal(self, org: &OrgId) -> Error {
        let (rate, wait) = match self {
            Self::Exceeded { rate, wait } => (rate, wait),
            Self::NoBucket => return Error::refuse(Reason::Internal).with_source(self),
        };
        Error::refuse(Reason::RateLimited)
            .with_rule("limits.requests")
            .with_detail(&pb::QuotaFailure {
                violations: vec![pb::quota_failure::Violation {
                    subject: format!("org:{org}"),
                    description: format!("{rate}"),
                    ..Default::default()
                }],
            })
            .with_retry(Retry::After(wait))
    }
}
