//! The orgs' own credentials. Each may be replaced while the gateway runs: the next request bears the new one, and
//! requests in flight end as they began.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;

use super::answer::Bearer;
use crate::call::{Identity, OrgId, Passed, Token};

#[cfg(test)]
mod tests;

/// The token of each org; its Debug shows none. Clones share them.
#[derive(Clone, Default)]
pub struct Credentials(Arc<ArcSwap<HashMap<OrgId, Token>>>);

/// By whose word upstream is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'c> {
    /// The org's own credential.
    Org(&'c OrgId),
    /// The token that the caller itself is known by.
    Caller(&'c Passed),
    /// A token that nobody is known by yet.
    Token(&'c Token),
}

impl Credentials {
    pub fn new(credentials: impl IntoIterator<Item = (OrgId, Token)>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(credentials.into_iter().collect())))
    }

    pub fn get(&self, org: &OrgId) -> Option<Token> {
        self.0.load().get(org).cloned()
    }

    /// Another org that has this very token.
    pub(super) fn other_holder(&self, org: &OrgId, token: &Token) -> Option<OrgId> {
        let all = self.0.load();
        let others = all.iter().filter(|(other, held)| *other != org && *held == token);
        others.map(|(other, _)| other.clone()).min()
    }

    /// From now on the org's requests bear this one.
    pub(super) fn replace(&self, org: &OrgId, token: &Token) {
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(org.clone(), token.clone());
            all
        });
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.load().keys()).finish()
    }
}

impl<'c> By<'c> {
    /// As a caller is known.
    pub(super) fn of(identity: &'c Identity) -> Self {
        match &identity.passed {
            Some(passed) => Self::Caller(passed),
            None => Self::Org(&identity.org),
        }
    }

    pub(super) const fn bearer(self) -> Bearer {
        match self {
            Self::Org(_) => Bearer::Gateway,
            Self::Caller(_) | Self::Token(_) => Bearer::Caller,
        }
    }
}
