//! What upstream has said of tokens, each for its own time.

use std::time::{Duration, Instant};

use moka::{Expiry, sync::Cache};

use super::{Hash, Outcome};

/// Tokens of many teams: some 10 MB, and 80 MB where each is as long as a token may be.
const MAX_KNOWN: u64 = 10_000;

/// By the tokens' hashes. The least used go first.
pub(super) struct KnownTokens(Cache<Hash, Known>);

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
        Self(Cache::builder().max_capacity(MAX_KNOWN).expire_after(Until).build())
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Outcome> {
        let outcome = self.0.get(hash)?.outcome;
        if is_refused(&outcome) {
            self.0.invalidate(hash);
            return None;
        }
        Some(outcome)
    }

    pub(super) fn put(&self, hash: Hash, outcome: Outcome, until: Instant) {
        self.0.insert(hash, Known { outcome, until });
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
