//! Refused requests: a bucket per peer, so that an address that makes nothing but refusals makes few of them.
//!
//! Who is known and asks well spends nothing, from whatever address; and who is known has a bucket apart from strangers'.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::{Clock, MonotonicClock, Reference as _},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::{policy::EvictionPolicy, sync::Cache};

use super::pace::Pace;
use crate::{
    call::{OrgId, Peer},
    rule::Rate,
};

/// Buckets, at some 300 bytes each; those that were left alone for longest go first. Who has more addresses than that
/// gets past this, as past any such limit.
const MAX_BUCKETS: u64 = 65_536;
/// A forgotten bucket has to have been full: this much more than it takes to fill one.
const FORGET_MARGIN: Duration = Duration::from_secs(1);

/// The buckets. Clones share them.
pub struct Refusals<C: Clock = MonotonicClock> {
    buckets: Cache<Key, Arc<Bucket<C>>>,
    rate: Rate,
    clock: C,
}

/// Who shares a bucket: strangers of one address, and callers of one org there.
type Key = (IpAddr, Option<OrgId>);

struct Bucket<C: Clock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    /// It was found empty, and is until then.
    empty_until: Mutex<Option<C::Instant>>,
}

/// The bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of this peer were refused")]
pub struct Spent;

impl<C: Clock + Clone + Send + Sync + 'static> Refusals<C>
where
    C::Instant: Send + Sync,
{
    pub fn new(rate: Rate, clock: C) -> Self {
        let fill = Duration::from_nanos(Pace::of(rate).fill());
        let buckets = Cache::builder()
            .max_capacity(MAX_BUCKETS)
            // By how often they come, newcomers would never get a bucket in a full house.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(fill + FORGET_MARGIN)
            .build();
        Self { buckets, rate, clock }
    }

    /// A request of this peer is refused: a stranger's, or one for this org.
    ///
    /// # Errors
    /// It was one too many.
    pub fn spend(&self, peer: SocketAddr, org: Option<&OrgId>) -> Result<(), Spent> {
        let key = (Peer(peer).network(), org.cloned());
        let bucket = self.buckets.get_with(key, || Arc::new(Bucket::new(self.rate, &self.clock)));
        bucket.limiter.check().map_err(|until| {
            *bucket.empty_until.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(until.earliest_possible());
            Spent
        })
    }

    /// Whether the last refusal of a stranger there was one too many, and nothing has come into the bucket since.
    pub fn is_spent(&self, peer: SocketAddr) -> bool {
        self.buckets.get(&(Peer(peer).network(), None)).is_some_and(|bucket| {
            let until = *bucket.empty_until.lock().unwrap_or_else(PoisonError::into_inner);
            until.is_some_and(|until| until.duration_since(self.clock.now()) > 0.into())
        })
    }
}

impl<C: Clock + Clone> Bucket<C> {
    fn new(rate: Rate, clock: &C) -> Self {
        Self {
            limiter: RateLimiter::direct_with_clock(Pace::of(rate).quota(), clock.clone()),
            empty_until: Mutex::default(),
        }
    }
}

impl<C: Clock + Clone> Clone for Refusals<C> {
    fn clone(&self) -> Self {
        Self { buckets: self.buckets.clone(), rate: self.rate, clock: self.clock.clone() }
    }
}

impl<C: Clock> fmt::Debug for Refusals<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refusals").field(&self.rate).finish()
    }
}
