//! Who calls, from what a request shows before its message is read.
//!
//! Everything unauthenticated looks alike: one code, one text, no hint which part was wrong.

use std::{collections::HashSet, fmt, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    call::{Deadline, Identity, OrgId, PeerCertificate, Scope},
    error::{Error, Reason},
    rpc::Class,
};

pub mod api_key;
pub mod certificate;
mod expiry;
pub mod introspect;
pub mod jwks;
pub mod jwt;
#[cfg(test)]
mod tests;

pub use api_key::Config;
pub use expiry::{Expiry, NotATime};
pub use introspect::UpstreamTokens;
use jwt::{Issuers, Refusal};

/// The orgs that the config has.
pub type Orgs = HashSet<OrgId>;

/// The ways to be known that the config enables. Clones share them, and see what is put in place.
#[derive(Clone, Debug)]
pub struct Identities {
    keys: Arc<ArcSwap<api_key::Keys>>,
    certificates: Arc<certificate::Certificates>,
    issuers: Issuers,
    upstream_tokens: Option<UpstreamTokens>,
}

/// What a request shows of who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'r> {
    pub headers: &'r HeaderMap,
    /// The client's certificate, as the handshake has verified it.
    pub certificate: Option<&'r PeerCertificate>,
    /// Who wants to know: whether something costly may be done for it.
    pub asker: &'r dyn Asker,
    /// Until when somebody waits for the answer.
    pub deadline: Deadline,
}

/// On whose behalf others are asked who somebody is.
pub trait Asker: fmt::Debug + Sync {
    /// Whether anybody may be asked yet.
    fn may_ask(&self) -> bool;

    /// Somebody was asked, and it is nobody, or the answer was not waited for.
    fn asked_in_vain(&self);
}

/// Why nobody is known by what a request shows. The texts are for logs: callers are told nothing but the code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody that the gateway knows.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Certificate and token are good, and of different callers.
    #[error("certificate and token are of different callers")]
    Conflict,
    /// It cannot be told now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// It could not be told in time.
    #[error("the deadline passed before the caller was known")]
    Late,
}

/// What a credential is good for unless its entry says less.
fn every_class() -> Vec<Scope> {
    Class::ALL.map(Scope::Class).to_vec()
}

impl Identities {
    pub fn new(keys: api_key::Keys) -> Self {
        Self {
            keys: Arc::new(ArcSwap::from_pointee(keys)),
            certificates: Arc::default(),
            issuers: Issuers::default(),
            upstream_tokens: None,
        }
    }

    /// Also by client certificates.
    pub fn with_certificates(self, certificates: certificate::Certificates) -> Self {
        Self { certificates: Arc::new(certificates), ..self }
    }

    /// Also by the tokens of these issuers.
    pub fn with_issuers(self, issuers: Issuers) -> Self {
        Self { issuers, ..self }
    }

    /// Also by tokens of upstream's own, if that is enabled.
    #[must_use]
    pub fn with_upstream_tokens(self, upstream_tokens: Option<UpstreamTokens>) -> Self {
        Self { upstream_tokens, ..self }
    }

    /// Puts other keys in the place of all that are known: the next request is held against them, on any connection.
    pub fn replace(&self, keys: api_key::Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// By the certificate, by the token of the `authorization` header, or by both, which then have to agree. A
    /// certificate that no entry is for says nothing.
    ///
    /// # Errors
    /// Neither is there; one that is there is not good; they are of different callers.
    pub async fn identify(&self, shown: Shown<'_>) -> Result<Identity, Refused> {
        let certified = self.by_certificate(shown)?;
        let is_token_shown = shown.headers.contains_key(AUTHORIZATION);
        match certified {
            Some(certified) if !is_token_shown => Ok(certified),
            Some(certified) => agreed(&certified, self.by_token(shown).await?),
            None => self.by_token(shown).await,
        }
    }

    fn by_certificate(&self, shown: Shown<'_>) -> Result<Option<Identity>, Refused> {
        let Some(certificate) = shown.certificate else { return Ok(None) };
        // A connection may outlive its certificate, and the trust in its CA.
        if !certificate.stands() {
            return Err(Refused::Unauthenticated("the client certificate is not good any more"));
        }
        let found = self.certificates.find(certificate);
        let found = found.map_err(|_| Refused::Unauthenticated("several entries are for the certificate"))?;
        Ok(found.cloned())
    }

    /// No `authorization` header, more than one, another scheme than Bearer (RFC 6750), or an unknown or expired token
    /// are all the same.
    async fn by_token(&self, shown: Shown<'_>) -> Result<Identity, Refused> {
        let token = bearer(shown.headers).ok_or(Refused::Unauthenticated("no bearer token, or several"))?;
        let now = SystemTime::now();
        if let Some(identity) = self.by_key(token, now)? {
            return Ok(identity);
        }
        // What is said of a token of a configured issuer is final.
        if let Some(judged) = self.issuers.identify(token, now, !shown.asker.may_ask()).await {
            if judged == Err(Refusal::UnknownKey) {
                shown.asker.asked_in_vain();
            }
            return Ok(judged?);
        }
        let unknown = Refused::Unauthenticated("no API key, and no token of a configured issuer");
        let tokens = self.upstream_tokens.as_ref().ok_or(unknown)?;
        tokens.identify(token, shown.asker, shown.deadline).await
    }

    /// What is, was or looks like a key of the gateway's ends here: it never goes anywhere else.
    fn by_key(&self, token: &str, now: SystemTime) -> Result<Option<Identity>, Refused> {
        let keys = self.keys.load();
        match keys.find(token, now) {
            Some(identity) => Ok(Some(identity.clone())),
            None if api_key::is_marked(token) || keys.hold(token) => {
                Err(Refused::Unauthenticated("unknown or expired API key"))
            }
            None => Ok(None),
        }
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

/// The caller by both: by the token, and good for no more than either is.
fn agreed(certified: &Identity, known: Identity) -> Result<Identity, Refused> {
    if (&certified.org, &certified.subject) != (&known.org, &known.subject) {
        return Err(Refused::Conflict);
    }
    Ok(Identity { scopes: known.scopes.within(&certified.scopes), ..known })
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let reason = match refused {
            Refused::Unauthenticated(_) => Reason::Unauthenticated,
            Refused::Conflict => Reason::IdentityConflict,
            Refused::Unavailable(_) => Reason::IdentityUnavailable,
            Refused::Late => Reason::DeadlineExceeded,
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
