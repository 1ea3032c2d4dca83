//! Callers that upstream itself knows, by tokens that they bring and that the gateway passes on.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::BoxFuture;

use super::{Deadline, OrgId, SubjectId, Token};

/// What is kept of such a caller: whatever goes upstream for it goes by its token.
#[derive(Debug)]
pub struct Passed {
    token: Token,
    principal: i32,
    organization: String,
    tier: String,
    is_refused: AtomicBool,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspected {
    pub org: OrgId,
    pub subject: SubjectId,
    /// `gitpod.v1.Principal`, as upstream has it.
    pub principal: i32,
    /// What upstream calls the organization.
    pub organization: String,
    /// Of the organization; empty where upstream does not say it.
    pub tier: String,
}

/// Why it is not known whose a token is. The texts are for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIntrospected {
    /// It is nobody's here.
    #[error("{0}")]
    Nobodys(&'static str),
    /// Nobody has said it; another time somebody may.
    #[error("{0}")]
    Unsaid(&'static str),
}

/// The seam between identity and upstream: who answers whose a token is.
pub trait Introspect: fmt::Debug + Send + Sync + 'static {
    /// By the token, and nothing else of a caller's. Dropped, it asks no more.
    fn introspect(
        &self,
        token: Token,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Introspected, NotIntrospected>>;

    /// Whether the org is still the one that is this organization.
    fn stands(&self, org: &OrgId, organization: &str) -> bool;
}

impl Passed {
    pub fn new(token: Token, principal: i32, organization: String, tier: String) -> Self {
        Self { token, principal, organization, tier, is_refused: AtomicBool::new(false) }
    }

    pub fn token(&self) -> &Token {
        &self.token
    }

    pub fn principal(&self) -> i32 {
        self.principal
    }

    /// By which the org was found.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// Upstream knows the token no more: nobody is known by it from now on.
    pub fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }
}

impl PartialEq for Passed {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

impl Eq for Passed {}
