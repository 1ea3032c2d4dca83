//! Tokens whose signatures were good: checking them again would be the same work for the same answer.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::claims::Times;
use crate::{call::Identity, identity::jwks::KeySet};

/// Some 5 MB. The least used go first, so that a flood of good tokens costs signatures, not memory.
const MAX: u64 = 10_000;

/// Longer than most calls of one client are apart.
const TIME: Duration = Duration::from_secs(5 * 60);

/// By the tokens' hashes: the tokens themselves are not kept.
#[derive(Clone, Debug)]
pub(super) struct KnownTokens(Cache<[u8; 32], Arc<Known>>);

/// What a good token means, for as long as its times are good and its issuer's keys are the same.
#[derive(Debug)]
pub(super) struct Known {
    /// Of which issuer.
    pub(super) issuer: usize,
    /// The keys that it was checked with.
    pub(super) keys: Arc<KeySet>,
    pub(super) times: Times,
    pub(super) identity: Identity,
}

pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl KnownTokens {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX).time_to_live(TIME).build())
    }

    pub(super) fn get(&self, hash: &[u8; 32]) -> Option<Arc<Known>> {
        self.0.get(hash)
    }

    pub(super) fn put(&self, hash: [u8; 32], known: Known) {
        self.0.insert(hash, Arc::new(known));
    }
}
