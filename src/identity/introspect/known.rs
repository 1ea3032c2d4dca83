//! What upstream has said of tokens, each for its own time.

use std::time::{Duration, Instant};

use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

use super::{Hash, Outcome};

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
}

/// What upstream has said of a token, and how long it counts.
#[derive(Clone)]
struct Known {
    outcome: Outcome,
    until: Instant,
}

/// Each entry has its own time.
struct Until;

impl KnownTokens {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::builder().max_capacity(MAX_KNOWN).expire_after(Until).build(),
            good: Cache::builder()
                .max_capacity(MAX_GOOD)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(GOOD_FOR)
                .build(),
        }
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Outcome> {
        let outcome = self.known.get(hash)?.outcome;
        if is_refused(&outcome) {
            self.known.invalidate(hash);
            return None;
        }
        Some(outcome)
    }

    pub(super) fn put(&self, hash: Hash, outcome: Outcome, until: Instant) {
        match outcome {
            Ok(_) => self.good.insert(hash, ()),
            Err(_) => self.good.invalidate(&hash),
        }
        self.known.insert(hash, Known { outcome, until });
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
