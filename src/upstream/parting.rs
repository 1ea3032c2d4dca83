//! What parts the orgs from one another upstream: their organizations there, or within one of those their projects.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::walk::PageKey;
use crate::{
    call::{Call, OrgId},
    error::{Error, Reason, Sent},
};

#[cfg(test)]
mod tests;

/// Who holds nothing.
static NOTHING: Holding = Holding { projects: BTreeSet::new(), classes: BTreeSet::new() };

/// `tenancy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each org has a credential and so an upstream organization of its own. What upstream shows is the org's, unless
    /// it says that it is another organization's.
    #[default]
    Organization,
    /// Each org has `projects` of its own, and orgs may share an upstream organization. Only what says that it is of
    /// the organization and of one of the projects is the org's.
    Strict,
}

/// The mode with what it needs.
#[derive(Clone, Debug)]
pub enum Parting {
    ByOrganization,
    ByProject {
        holdings: Arc<HashMap<OrgId, Holding>>,
        /// Seals the tokens of lists that are narrowed to the projects.
        key: PageKey,
    },
}

/// What the config gives an org.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// In order, so that every replica walks a list alike.
    pub projects: BTreeSet<Uuid>,
    /// Classes that a creation may name.
    pub classes: BTreeSet<Uuid>,
}

impl Parting {
    /// Whether orgs may share an upstream organization.
    pub const fn is_strict(&self) -> bool {
        matches!(self, Self::ByProject { .. })
    }

    /// Of an org that is parted from others by its projects; nobody else has any.
    pub(super) fn holding(&self, org: &OrgId) -> Option<&Holding> {
        match self {
            Self::ByOrganization => None,
            Self::ByProject { holdings, .. } => Some(holdings.get(org).unwrap_or(&NOTHING)),
        }
    }

    /// Whether what is to be made would be the org's.
    ///
    /// # Errors
    /// `NOT_FOUND`: a project or class is named that is not the org's, whoever else's it may be.
    pub(super) fn admit(&self, call: &Call) -> Result<(), Error> {
        let Some(holding) = self.holding(&call.identity.org) else { return Ok(()) };
        let is_of = |id: &Option<String>, held: &BTreeSet<Uuid>| {
            id.as_deref().is_none_or(|id| Uuid::try_parse(id).is_ok_and(|id| held.contains(&id)))
        };
        let is_ours =
            is_of(&call.facts.project, &holding.projects) && is_of(&call.facts.class, &holding.classes);
        if is_ours { Ok(()) } else { Err(Error::refuse(Reason::NotFound).with_sent(Sent::No)) }
    }
}

impl Holding {
    pub(super) fn has(&self, project: &str) -> bool {
        Uuid::try_parse(project).is_ok_and(|project| self.projects.contains(&project))
    }
}
