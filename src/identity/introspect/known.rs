//! What upstream has said of tokens, each for its own time.

use std::time::{Duration, Instant};

use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

use super::{Hash, Outcome};
use crate::identity::Refused;

/// Tokens of many teams: some 10 MB, and 80 MB where each is as long as a token may be.
const MAX_KNOWN: u64 = 10_000;

/// Hashes of tokens that were good: some 10 MB.
const MAX_GOOD: u64 = 65_536;
/// A caller that pauses for longer is as new.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// By the tokens' hashes. The least used go first.
pub(super) struct KnownTokens {
    known: Cache<Hash, Known>,
    /// Those that upstream has known, also when what it said of them does not count any more.
    good: Cache<Hash, ()>,
    refused_ttl: Duration,
}

/// What upstream has said of a token, and how long it counts.
#[derive(Clone)]
struct Known {
    outcome: Outcome,
    asked: Instant,
    until: Instant,
}

/// Each entry has its own time.
struct Until;

impl KnownTokens {
    pub(super) fn new(refused_ttl: Duration) -> Self {
        Self {
            known: Cache::builder().max_capacity(MAX_KNOWN).expire_after(Until).build(),
            good: Cache::builder()
                .max_capacity(MAX_GOOD)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(GOOD_FOR)
                .build(),
            refused_ttl,
        }
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Outcome> {
        let Known { outcome, asked, .. } = self.known.get(hash)?;
        if !is_refused(&outcome) {
            return Some(outcome);
        }
        // Also where upstream says one thing of the token and does another, it is not asked at every call.
        if asked.elapsed() < self.refused_ttl {
            return Some(Err(Refused::Unauthenticated("upstream has refused the token since")));
        }
        self.known.invalidate(hash);
        None
    }

    pub(super) fn put(&self, hash: Hash, outcome: Outcome, asked: Instant, ttl: Duration) {
        match outcome {
            Ok(_) => self.good.insert(hash, ()),
            Err(_) => self.good.invalidate(&hash),
        }
        self.known.insert(hash, Known { outcome, asked, until: asked + ttl });
    }

    /// Whether it was known within the last hour, and was not refused since.
    pub(super) fn was_good(&self, hash: &Hash) -> bool {
        self.good.contains_key(hash)
    }
}

impl Expiry<Hash, Known> for Until {
    fn expire_after_create(&self, _: &Hash, known: &Known, _: Instant) -> Option<Duration> {
        Some(known.left())
    }

    fn expire_after_update(
        &self,
        _: &Hash,
        known: &Known,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(known.left())
    }
}

impl Known {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// Upstream has refused the token since.
fn is_refused(outcome: &Outcome) -> bool {
    outcome
        .as_ref()
        .ok()
        .and_then(|identity| identity.passed.as_ref())
        .is_some_and(|passed| passed.is_refused())
}
