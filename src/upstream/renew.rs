//! An org gets another credential while the gateway runs.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{ask::Unsaid, credentials::By, learn::Learn, organizations::Trouble};
use crate::call::{Deadline, OrgId, Token};

/// A question that takes longer is asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why another credential is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    #[error("the token is not of the same organization: {0}")]
    Trouble(#[from] Trouble),
    #[error("upstream says that the token is of no organization")]
    NoOrganization,
    #[error("upstream refuses the token")]
    Unknown,
    #[error("upstream does not say whose the token is, and upstream_organization_id is not configured")]
    Withheld,
    #[error("the token is also that of org `{0}`")]
    Held(OrgId),
    #[error("upstream has not yet said whose the token is")]
    Open,
}

impl NotRenewed {
    /// Whether upstream has said nothing yet. All else it has said, and may say otherwise another time.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

impl Learn {
    /// Puts another token in force for the org, once upstream has said by that token that it is the same
    /// organization's. Where upstream lets it not ask, the config's word counts.
    ///
    /// # Errors
    /// It is not in force, and the one before stays.
    pub async fn renew(&self, org: &OrgId, token: &Token) -> Result<(), NotRenewed> {
        let (credentials, organizations) = (self.upstream().credentials(), self.organizations());
        // One that is in force and was another organization's may be the right one by now.
        let is_in_force = credentials.get(org).as_ref() == Some(token);
        if is_in_force && organizations.trouble(org).is_none() {
            return Ok(());
        }
        if let Some(other) = credentials.other_holder(org, token).filter(|_| !organizations.may_share()) {
            return Err(NotRenewed::Held(other));
        }
        let deadline = Deadline::at(Instant::now() + PATIENCE);
        let said = self.upstream().ask(By::Token(token), deadline, CancellationToken::new()).await;
        match said.map_err(|error| Unsaid::of(&error)) {
            Ok(said) => {
                organizations.would_be(org, &said.identity.organization_id)?;
                credentials.replace(org, token);
                self.hear(org, said.identity.into());
                Ok(())
            }
            // Of the same one it has said something before.
            Err(Unsaid::Withheld) if is_in_force => {
                organizations.trouble(org).map_or(Ok(()), |trouble| Err(trouble.into()))
            }
            Err(Unsaid::Withheld) if organizations.is_configured(org) => {
                credentials.replace(org, token);
                organizations.trust(org);
                Ok(())
            }
            Err(Unsaid::Withheld) => Err(NotRenewed::Withheld),
            Err(Unsaid::NoOrganization) => Err(NotRenewed::NoOrganization),
            Err(Unsaid::Unknown) => Err(NotRenewed::Unknown),
            Err(Unsaid::Open) => Err(NotRenewed::Open),
        }
    }
}
