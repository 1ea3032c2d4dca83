//! JSON Web Tokens: signed by an issuer that the config names, for one of the audiences that it names.
//!
//! By RFC 8725: which algorithms and which keys count is the config's and the key's to say, never the token's; no key
//! comes from a token, and no request goes out to where a token points. Claims are read once the signature is good, but
//! for `iss`, which chooses the issuer to check it by.
//!
//! An ECDSA signature has a second form that is as good. Nothing here takes a token's bytes for its identity: two forms
//! are two entries in the cache and one caller.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use jsonwebtoken::crypto;

use super::{
    Orgs,
    jwks::{Jwks, Key, KeySet, NoKey},
};
use crate::call::Identity;

mod algorithm;
mod claims;
mod config;
pub(in crate::identity) mod json;
mod known;
mod path;
mod refusal;
#[cfg(test)]
pub(in crate::identity) mod tests;
mod token;

use claims::Times;
use known::{Known, KnownTokens};
use token::{Header, Token};

pub use algorithm::{Algorithm, NotAsymmetric};
pub use config::Config;
pub use path::{ClaimPath, NotAPath};
pub use refusal::Refusal;
pub(super) use token::is_shaped;

/// The issuers whose tokens are accepted. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    issuers: Vec<Issuer>,
    /// Which of them has that name.
    named: HashMap<String, usize>,
    orgs: Orgs,
    known: KnownTokens,
}

/// One issuer, and its keys.
#[derive(Debug)]
struct Issuer {
    config: Config,
    jwks: Jwks,
}

impl Issuers {
    /// The entries, each with its keys, and the orgs that there are.
    pub fn new(entries: Vec<(Config, Jwks)>, orgs: Orgs) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        let named = entries.iter().enumerate();
        let named = named.map(|(index, (config, _))| (config.issuer.clone(), index)).collect();
        let issuers = entries.into_iter().map(|(config, jwks)| Issuer { config, jwks }).collect();
        Self(Some(Arc::new(Shared { issuers, named, orgs, known: KnownTokens::new() })))
    }

    /// The entries, in the order of the config.
    pub fn entries(&self) -> impl Iterator<Item = (&Config, &Jwks)> {
        let issuers = self.0.iter().flat_map(|shared| &shared.issuers);
        issuers.map(|issuer| (&issuer.config, &issuer.jwks))
    }

    /// Who that is. None if the token is none of a configured issuer's; what is said of one that is, is final. So is
    /// the refusal of one that looks like a JSON Web Token and does not say whose it is: a broken secret is a secret, and
    /// goes nowhere else. Where the peer is limited, no keys are fetched for its tokens.
    pub async fn identify(
        &self,
        token: &str,
        now: SystemTime,
        peer_is_limited: bool,
    ) -> Option<Result<Identity, Refusal>> {
        let shared = self.0.as_deref()?;
        let Some(parts) = Token::split(token) else {
            return is_shaped(token).then_some(Err(Refusal::Claims));
        };
        let hash = known::hash(token);
        if let Some(known) = shared.known.get(&hash)
            && let Some(issuer) = shared.issuers.get(known.issuer)
            && issuer.jwks.keys().is_some_and(|keys| Arc::ptr_eq(&keys, &known.keys))
        {
            let times = known.times.check(&issuer.config, now);
            return Some(times.map(|()| known.identity.clone()));
        }
        let named = match parts.issuer(|name| shared.named.contains_key(name))? {
            Ok(named) => *shared.named.get(&named)?,
            Err(refusal) => return Some(Err(refusal)),
        };
        let issuer = shared.issuers.get(named)?;
        let judged = issuer.judge(parts, &shared.orgs, now, peer_is_limited).await;
        Some(judged.map(|(keys, times, identity)| {
            shared.known.put(hash, Known { issuer: named, keys, times, identity: identity.clone() });
            identity
        }))
    }
}

impl Issuer {
    async fn judge(
        &self,
        token: Token<'_>,
        orgs: &Orgs,
        now: SystemTime,
        peer_is_limited: bool,
    ) -> Result<(Arc<KeySet>, Times, Identity), Refusal> {
        let header = token.header(&self.config)?;
        let keys = self.keys_for(&header, peer_is_limited).await?;
        let key = find(&keys, &header)?;
        let algorithm = header.algorithm.signature();
        // An error is a signature that is no base64, or of the wrong length.
        match crypto::verify(token.signature, token.message.as_bytes(), &key.public, algorithm) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Refusal::Signature),
        }
        let claims = token.claims()?;
        let times = Times::of(&claims)?;
        times.check(&self.config, now)?;
        let identity = claims::identity(&self.config, orgs, &claims)?;
        Ok((keys, times, identity))
    }

    /// The issuer's keys, of which one should fit: where none does, newer ones if there may be any. A key that is known
    /// and did not sign the token is no reason to look for newer ones: every forged token would be one.
    async fn keys_for(&self, header: &Header, peer_is_limited: bool) -> Result<Arc<KeySet>, Refusal> {
        let keys = match self.jwks.keys() {
            Some(keys) if find(&keys, header) != Err(Refusal::UnknownKey) => Some(keys),
            keys if peer_is_limited => keys,
            Some(_) | None => self.jwks.refreshed().await,
        };
        keys.ok_or(Refusal::NoKeys)
    }
}

fn find<'k>(keys: &'k KeySet, header: &Header) -> Result<&'k Key, Refusal> {
    keys.find(header.key_id.as_deref(), header.algorithm).map_err(|problem| match problem {
        NoKey::Unknown => Refusal::UnknownKey,
        NoKey::Unfit => Refusal::UnfitKey,
    })
}
