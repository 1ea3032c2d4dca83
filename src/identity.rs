//! Who calls, from what a request shows before its message is read.
//!
//! Everything unauthenticated looks alike: one code, one text, no hint which part was wrong.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    call::{Deadline, Identity, OrgId},
    error::{Error, Reason},
};

pub mod api_key;
mod expiry;
pub mod jwks;
pub mod jwt;
#[cfg(test)]
mod tests;

pub use api_key::Config;
pub use expiry::{Expiry, NotATime};
use jwt::{Issuers, Refusal};

/// The orgs that the config has.
pub type Orgs = HashSet<OrgId>;

/// The ways to be known that the config enables. Clones share them, and see what is put in place.
#[derive(Clone, Debug)]
pub struct Identities {
    keys: Arc<ArcSwap<api_key::Keys>>,
    issuers: Issuers,
}

/// What a request shows of who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'r> {
    pub headers: &'r HeaderMap,
    /// Until when somebody waits for the answer.
    pub deadline: Deadline,
}

/// Why nobody is known by what a request shows. The texts are for logs: callers are told nothing but the code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody that the gateway knows.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// It cannot be told now.
    #[error("{0}")]
    Unavailable(&'static str),
}

impl Identities {
    pub fn new(keys: api_key::Keys) -> Self {
        Self { keys: Arc::new(ArcSwap::from_pointee(keys)), issuers: Issuers::default() }
    }

    /// Also by the tokens of these issuers.
    pub fn with_issuers(self, issuers: Issuers) -> Self {
        Self { issuers, ..self }
    }

    /// Puts other keys in the place of all that are known: the next request is held against them, on any connection.
    pub fn replace(&self, keys: api_key::Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// # Errors
    /// No `authorization` header, more than one, another scheme than Bearer (RFC 6750), or an unknown or
    /// expired token.
    pub async fn identify(&self, shown: Shown<'_>) -> Result<Identity, Refused> {
        let token = bearer(shown.headers).ok_or(Refused::Unauthenticated("no bearer token, or several"))?;
        let now = SystemTime::now();
        let identity = self.keys.load().find(token, now).cloned();
        if let Some(identity) = identity {
            return Ok(identity);
        }
        // What is said of a token of a configured issuer is final.
        if !api_key::is_marked(token)
            && let Some(judged) = self.issuers.identify(token, now).await
        {
            return Ok(judged?);
        }
        Err(Refused::Unauthenticated("unknown or expired API key"))
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoKeys => Self::Unavailable(refusal.as_str()),
            _ => Self::Unauthenticated(refusal.as_str()),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let reason = match refused {
            Refused::Unauthenticated(_) => Reason::Unauthenticated,
            Refused::Unavailable(_) => Reason::IdentityUnavailable,
        };
        Self::refuse(reason).with_source(refused)
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
