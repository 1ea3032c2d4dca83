//! Whose a caller's own token is: the organization that upstream names for it, and the one org that is it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    ask::{Said, Unsaid},
    credentials::By,
    learn::Learn,
};
use crate::call::{Deadline, Introspect, Introspected, NotIntrospected, OrgId, SubjectId, Token};

/// For orgs that upstream has not named yet: whoever has brought a token waits for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two rounds for such orgs: tokens of other organizations must not become load upstream, and an org that is
/// served by its own calls is learnt by them.
const PAUSE: Duration = Duration::from_secs(5);

/// Asks upstream with the token itself.
#[derive(Clone, Debug)]
pub struct Introspection {
    learn: Learn,
    orgs: Vec<OrgId>,
    /// When the last round for orgs without a name began. Held while one runs, which all who need it wait for.
    round: Arc<Mutex<Option<Instant>>>,
}

impl Introspection {
    /// `orgs` are all of the config's.
    pub fn new(learn: Learn, orgs: Vec<OrgId>) -> Self {
        Self { learn, orgs, round: Arc::default() }
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
        let (organization, tier) = (identity.organization_id, identity.organization_tier);
        let org = self.whose(&organization).await;
        let org = org.ok_or(nobodys("the token's organization is not that of exactly one org"))?;
        Ok(Introspected { org, subject: id, principal: subject.principal, organization, tier })
    }

    async fn whose(&self, organization: &str) -> Option<OrgId> {
        let organizations = self.learn.organizations();
        if let Some(org) = organizations.whose(organization) {
            return Some(org);
        }
        // It may be that of one which could not be asked for before.
        if !self.unnamed().is_empty() {
            self.ask_for_unnamed().await;
        }
        organizations.whose(organization)
    }

    /// The orgs of which upstream has not yet said what it calls them.
    fn unnamed(&self) -> Vec<OrgId> {
        let organizations = self.learn.organizations();
        self.orgs.iter().filter(|org| organizations.get(org).is_none()).cloned().collect()
    }

    /// Once for all, and not again for a while.
    async fn ask_for_unnamed(&self) {
        let mut last = Arc::clone(&self.round).lock_owned().await;
        let unnamed = self.unnamed();
        if unnamed.is_empty() || last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        *last = Some(Instant::now());
        let learn = self.learn.clone();
        // A task of its own: whoever began it may leave before the others that wait.
        let round = tokio::spawn(async move {
            learn.round(&unnamed, PATIENCE).await;
            drop(last);
        });
        let _ended = round.await;
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

    fn stands(&self, org: &OrgId, organization: &str) -> bool {
        self.learn.organizations().whose(organization).as_ref() == Some(org)
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
