//! What upstream calls each org. Without it no answer could be told to be the org's own, so it is known before anything
//! of a call goes upstream.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{ask::Unsaid, tenancy::same};
use crate::{
    call::OrgId,
    error::{Error, Reason, Sent},
    proto::gitpod::v1::GetAuthenticatedIdentityResponse,
};

#[cfg(test)]
mod tests;

/// What upstream calls each org: as configured, or as upstream has said. One entry per org at most, and what it says
/// first stands for the life of the process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Organizations(Arc<Mutex<All>>);

/// Why an org's calls are refused: its credential is another organization's than the org is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Than is configured, or than it was.
    #[error("upstream says it is `{said}`")]
    Differs { said: String },
    /// Two orgs would see the same.
    #[error("upstream says it is `{said}`, and so it says of org `{with}`")]
    Shared { said: String, with: OrgId },
}

/// An org as upstream knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Organization {
    pub(super) id: String,
    /// Empty where nobody has said it.
    pub(super) tier: String,
}

#[derive(Debug, Default)]
struct All {
    orgs: HashMap<OrgId, Org>,
    /// Whether two orgs may be one organization.
    may_share: bool,
}

#[derive(Debug, Default)]
struct Org {
    organization: Option<Arc<Organization>>,
    is_configured: bool,
    /// Whether there is nothing more to ask.
    is_settled: bool,
    trouble: Option<Trouble>,
}

impl Organizations {
    /// Those whose ids the config has.
    pub fn new(configured: impl IntoIterator<Item = (OrgId, String)>) -> Self {
        let orgs = configured.into_iter().map(|(org, id)| {
            let organization = Some(Arc::new(Organization { id, tier: String::new() }));
            (org, Org { organization, is_configured: true, ..Org::default() })
        });
        Self(Arc::new(Mutex::new(All { orgs: orgs.collect(), may_share: false })))
    }

    /// Whether two orgs may be one organization: something else has to part them then.
    #[must_use]
    pub fn sharing(self, may_share: bool) -> Self {
        self.all().may_share = may_share;
        self
    }

    /// Whose calls are refused, and why.
    pub fn troubles(&self) -> Vec<(OrgId, Trouble)> {
        self.all().troubles().into_iter().collect()
    }

    pub(super) fn get(&self, org: &OrgId) -> Option<Arc<Organization>> {
        self.all().orgs.get(org)?.organization.clone()
    }

    /// The one org that is this organization; none if there are several, or if its credential says otherwise.
    pub(super) fn whose(&self, id: &str) -> Option<OrgId> {
        let all = self.all();
        let is = |known: &&Org| known.organization.as_ref().is_some_and(|org| same(&org.id, id));
        let mut found = all.orgs.iter().filter(|(_, known)| is(known));
        let (org, known) = found.next().filter(|_| found.next().is_none())?;
        known.trouble.is_none().then(|| org.clone())
    }

    pub(super) fn may_share(&self) -> bool {
        self.all().may_share
    }

    pub(super) fn is_configured(&self, org: &OrgId) -> bool {
        self.all().orgs.get(org).is_some_and(|known| known.is_configured)
    }

    /// Whether nothing more is to be asked of the org. Of one in trouble upstream may say otherwise another time.
    pub(super) fn is_settled(&self, org: &OrgId) -> bool {
        self.all().orgs.get(org).is_some_and(|known| known.is_settled && known.trouble.is_none())
    }

    /// Another credential is in force, of which upstream says nothing: the config's word counts, where there is one, and
    /// what was said of the one before does not.
    pub(super) fn trust(&self, org: &OrgId) {
        if let Some(known) = self.all().orgs.get_mut(org).filter(|known| known.is_configured) {
            known.trouble = None;
            known.is_settled = true;
        }
    }

    /// Nothing is sent by a credential that is known to be another organization's.
    ///
    /// # Errors
    /// It is.
    pub(super) fn check(&self, org: &OrgId) -> Result<(), Error> {
        self.trouble(org).map_or(Ok(()), |trouble| Err(trouble.into()))
    }

    /// Whose its credential is instead.
    pub(super) fn trouble(&self, org: &OrgId) -> Option<Trouble> {
        self.all().orgs.get(org)?.trouble.clone()
    }

    /// What upstream says of the credential that is in force. For whom that is trouble, and was not before.
    pub(super) fn hear(&self, org: &OrgId, said: Organization) -> Vec<(OrgId, Trouble)> {
        let mut all = self.all();
        let before = all.troubles();
        let known = all.orgs.entry(org.clone()).or_default();
        known.is_settled = true;
        if known.is_open_to_others() {
            known.organization = None;
        }
        match &known.organization {
            Some(ours) if !same(&ours.id, &said.id) => {
                known.trouble = Some(Trouble::Differs { said: said.id })
            }
            Some(_) | None => {
                known.organization = Some(Arc::new(said));
                known.trouble = None;
            }
        }
        all.part();
        all.troubles().into_iter().filter(|(org, _)| !before.contains_key(org)).collect()
    }

    /// Why upstream has not said it.
    pub(super) fn hear_none(&self, org: &OrgId, unsaid: Unsaid) {
        if let Some(known) = self.all().orgs.get_mut(org) {
            // Then the config's word is all that there will be.
            known.is_settled |= known.is_configured && unsaid == Unsaid::Withheld;
        }
    }

    /// Whether a credential of this organization may be the org's.
    ///
    /// # Errors
    /// What would be wrong with it.
    pub(super) fn would_be(&self, org: &OrgId, said: &str) -> Result<(), Trouble> {
        let all = self.all();
        let known = all.orgs.get(org).filter(|known| !known.is_open_to_others());
        let ours = known.and_then(|known| known.organization.as_ref());
        if ours.is_some_and(|ours| !same(&ours.id, said)) {
            return Err(Trouble::Differs { said: said.to_owned() });
        }
        match all.other(org, said) {
            Some(with) if ours.is_none() && !all.may_share => {
                Err(Trouble::Shared { said: said.to_owned(), with })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn troubles(&self) -> BTreeMap<OrgId, Trouble> {
        let of = |(org, known): (&OrgId, &Org)| Some((org.clone(), known.trouble.clone()?));
        self.orgs.iter().filter_map(of).collect()
    }

    /// Another org that is this organization.
    fn other(&self, org: &OrgId, id: &str) -> Option<OrgId> {
        let is = |known: &Org| known.organization.as_ref().is_some_and(|other| same(&other.id, id));
        self.orgs
            .iter()
            .filter(|(other, known)| *other != org && is(known))
            .map(|(other, _)| other.clone())
            .min()
    }

    /// Orgs that turn out to be one: which of them it is, nobody can tell, but for one that is configured.
    fn part(&mut self) {
        let learnt = self.orgs.iter().filter(|(_, known)| !known.is_configured);
        let learnt =
            learnt.filter_map(|(org, known)| Some((org.clone(), known.organization.clone()?.id.clone())));
        let learnt: Vec<_> = learnt.collect();
        for (org, said) in learnt {
            let with = self.other(&org, &said).filter(|_| !self.may_share);
            let Some(known) = self.orgs.get_mut(&org) else { continue };
            match (with, &known.trouble) {
                (_, Some(Trouble::Differs { .. })) => {}
                (Some(with), _) => known.trouble = Some(Trouble::Shared { said, with }),
                (None, _) => known.trouble = None,
            }
        }
    }
}

impl Org {
    /// What was learnt was another org's just as well: a new credential may be any other organization's.
    fn is_open_to_others(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Shared { .. }))
    }
}

impl From<GetAuthenticatedIdentityResponse> for Organization {
    /// Only what it says of the organization is kept: the subject is the credential's owner.
    fn from(said: GetAuthenticatedIdentityResponse) -> Self {
        Self { id: said.organization_id, tier: said.organization_tier }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self::refuse(Reason::UpstreamTenancy).with_sent(Sent::No).with_source(trouble)
    }
}
