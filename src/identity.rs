//! Who calls, from headers alone.
//!
//! Everything unauthenticated looks alike: one code, one text, no hint which part was wrong.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};

use crate::{call::Identity, error::Error, error::Reason};

pub mod api_key;
mod expiry;
#[cfg(test)]
mod tests;

pub use api_key::Config;
pub use expiry::{Expiry, NotATime};

/// The ways to be known that the config enables. Clones share them, and see what is put in place.
#[derive(Clone, Debug)]
pub struct Identities {
    keys: Arc<ArcSwap<api_key::Keys>>,
}

/// Nobody that the gateway knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing or unknown credentials")]
pub struct Unauthenticated;

impl Identities {
    pub fn new(keys: api_key::Keys) -> Self {
        Self { keys: Arc::new(ArcSwap::from_pointee(keys)) }
    }

    /// Puts other keys in the place of all that are known: the next request is held against them, on any connection.
    pub fn replace(&self, keys: api_key::Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// # Errors
    /// No `authorization` header, more than one, another scheme than Bearer (RFC 6750), or an unknown or
    /// expired token.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Identity, Unauthenticated> {
        let token = bearer(headers).ok_or(Unauthenticated)?;
        self.keys.load().find(token, SystemTime::now()).cloned().ok_or(Unauthenticated)
    }
}

impl From<Unauthenticated> for Error {
    fn from(unauthenticated: Unauthenticated) -> Self {
        Self::refuse(Reason::Unauthenticated).with_source(unauthenticated)
    }
}

/// The token of the only `authorization` header. Two of them are refused: which one counts would be a guess.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}
