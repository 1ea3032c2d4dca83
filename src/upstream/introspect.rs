//! Whose a caller's own token is: the organization that upstream names for it, and the one org that is it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{
    ask::{Said, Unsaid},
    credentials::By,
    learn::Learn,
};
use crate::call::{Deadline, Introspect, Introspected, NotIntrospected, OrgId, SubjectId, Token};

/// For orgs that upstream has not named yet: whoever has brought a token waits for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks upstream with the token itself.
#[derive(Clone, Debug)]
pub struct Introspection {
    learn: Learn,
    orgs: Vec<OrgId>,
}

impl Introspection {
    /// `orgs` are all of the config's.
    pub fn new(learn: Learn, orgs: Vec<OrgId>) -> Self {
        Self { learn, orgs }
    }

    async fn ask(self, token: Token, deadline: Deadline) -> Result<Introspected, NotIntrospected> {
        let said = self.learn.upstream().ask(By::Token(&token), deadline, CancellationToken::new()).await;
        let Said { identity, .. } = said.map_err(|error| Unsaid::of(&error))?;
        let nobodys = NotIntrospected::Nobodys;
        let Some(subject) = identity.subject else { return Err(nobodys("the token has no subject")) };
        let id = SubjectId::from(&*subject.id);
        if !id.is_plain() {
            return Err(nobodys("the token's subject is no plain id"));
        }
        let org = self.whose(&identity.organization_id).await;
        let org = org.ok_or(nobodys("the token's organization is not that of exactly one org"))?;
        let tier = identity.organization_tier;
        Ok(Introspected { org, subject: id, principal: subject.principal, tier })
    }

    async fn whose(&self, organization: &str) -> Option<OrgId> {
        let organizations = self.learn.organizations();
        if let Some(org) = organizations.whose(organization) {
            return Some(org);
        }
        // It may be that of one which could not be asked for before.
        if self.orgs.iter().any(|org| organizations.get(org).is_none()) {
            self.learn.round(&self.orgs, PATIENCE).await;
        }
        organizations.whose(organization)
    }
}

impl Introspect for Introspection {
    fn introspect(
        &self,
        token: Token,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Introspected, NotIntrospected>> {
        Box::pin(self.clone().ask(token, deadline))
    }
}

impl From<Unsaid> for NotIntrospected {
    fn from(unsaid: Unsaid) -> Self {
        match unsaid {
            Unsaid::Unknown => Self::Nobodys("upstream does not know the token"),
            Unsaid::NoOrganization => Self::Nobodys("the token is of no organization"),
            Unsaid::Withheld => Self::Nobodys("upstream lets the token not ask whose it is"),
            Unsaid::Open => Self::Unsaid("upstream has not said whose the token is"),
        }
    }
}
