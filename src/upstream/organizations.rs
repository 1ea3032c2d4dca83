//! What upstream calls each org. Without it no answer could be told to be the org's own, so it is known before anything
//! of a call goes upstream.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::{
    client::gate::Gate,
    forward::{Outgoing, Upstream},
    tenancy::same,
};
use crate::{
    call::{Call, Deadline, OrgId, Reply},
    error::{Error, Origin, Reason, Retry, Sent},
    proto::gitpod::v1::GetAuthenticatedIdentityResponse,
    rpc::GET_AUTHENTICATED_IDENTITY,
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// What a caller is told where upstream does not say which organization it is.
const UNKNOWN: &str = "the organization could not be looked up";
/// At start each org is asked for this often; later the first call asks.
const TRIES: u32 = 3;
/// Of one try at start: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What upstream calls each org: as configured, or as upstream has said. One entry per org at most, and what it says
/// first stands for the life of the process.
#[derive(Clone, Debug, Default)]
pub struct Organizations(Arc<Mutex<HashMap<OrgId, Arc<Organization>>>>);

/// The stage: lets a call go on when it is known what upstream calls its org.
#[derive(Clone, Debug)]
pub struct Learn {
    upstream: Upstream,
    organizations: Organizations,
}

/// An org as upstream knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Organization {
    pub(super) id: String,
    /// Empty where nobody has said it.
    pub(super) tier: String,
}

/// Upstream's answer names no organization.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer has no organizationId")]
struct NoOrganization;

/// Upstream has called the org by another id before.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the org's credential is another organization's than it was")]
struct Changed;

impl Organizations {
    /// Those whose ids upstream need not be asked for.
    pub fn new(configured: impl IntoIterator<Item = (OrgId, String)>) -> Self {
        let known = configured.into_iter().map(|(org, id)| {
            let tier = String::new();
            (org, Arc::new(Organization { id, tier }))
        });
        Self(Arc::new(Mutex::new(known.collect())))
    }

    pub(super) fn get(&self, org: &OrgId) -> Option<Arc<Organization>> {
        self.known().get(org).cloned()
    }

    /// Asks upstream with the org's own credential. Only what it says of the organization is kept: its subject is
    /// that credential's owner. Two calls at once may both ask; a failure is not remembered.
    ///
    /// # Errors
    /// No answer, none that names an organization, or another one than before.
    pub(super) async fn learn(
        &self,
        upstream: &Upstream,
        org: &OrgId,
        deadline: Deadline,
        gone: CancellationToken,
    ) -> Result<(Arc<Organization>, Vec<String>), Error> {
        let outgoing = Outgoing {
            method: &GET_AUTHENTICATED_IDENTITY,
            org,
            // None of the caller's: the answer is kept for others.
            request: Bytes::new(),
            query: String::new(),
            metadata: HeaderMap::new(),
            gate: Gate::new(deadline, gone),
            patience: deadline.remaining().unwrap_or_default(),
        };
        let reply = upstream.send(outgoing).await.map_err(without_words)?;
        let said = self.remember(org.clone(), Organization::read(&reply)?)?;
        Ok((said, reply.drift))
    }

    fn remember(&self, org: OrgId, said: Organization) -> Result<Arc<Organization>, Error> {
        let mut known = self.known();
        let kept = known.entry(org).or_insert_with(|| Arc::new(said.clone()));
        match same(&kept.id, &said.id) {
            true => Ok(Arc::clone(kept)),
            false => Err(Error::refuse(Reason::UpstreamTenancy).with_source(Changed)),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<OrgId, Arc<Organization>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learn {
    pub fn new(upstream: Upstream, organizations: Organizations) -> Self {
        Self { upstream, organizations }
    }

    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub fn organizations(&self) -> &Organizations {
        &self.organizations
    }

    /// Asks for every one of `orgs` that is not known yet, so that no caller has to wait for it. Up to three times
    /// each, `pause` apart and twice as long after that; what fails is asked for again when a call needs it.
    pub async fn all(self, orgs: Vec<OrgId>, pause: Duration) {
        let mut orgs = orgs;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause * attempt).await;
            }
            let mut failed = Vec::new();
            for org in orgs {
                let deadline = Deadline::at(Instant::now() + PATIENCE);
                if self.organizations.get(&org).is_none()
                    && let Err(error) = self
                        .organizations
                        .learn(&self.upstream, &org, deadline, CancellationToken::new())
                        .await
                {
                    tracing::warn!(%org, error = ?error.to_string(), "{UNKNOWN}");
                    failed.push(org);
                }
            }
            orgs = failed;
        }
    }
}

impl Organization {
    pub(super) fn read(reply: &Reply) -> Result<Self, Error> {
        let invalid = || Error::refuse(Reason::UpstreamInvalidResponse);
        let said = GetAuthenticatedIdentityResponse::decode(&reply.wire[..])
            .map_err(|error| invalid().with_source(error))?;
        if said.organization_id.is_empty() {
            return Err(invalid().with_source(NoOrganization));
        }
        Ok(Self { id: said.organization_id, tier: said.organization_tier })
    }
}

impl Stage<Call> for Learn {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        // Who asks for just this gets the whole answer, further down.
        let is_question = call.method.path == GET_AUTHENTICATED_IDENTITY.path;
        let org = &call.identity.org;
        if !is_question && self.organizations.get(org).is_none() {
            call.context.set_asked_organization();
            let asked = self.organizations.learn(&self.upstream, org, call.deadline, call.gone.clone());
            asked.await.map_err(unforwarded)?;
        }
        next.run(call).await
    }
}

/// Upstream's words are about the org's credential, and may name whose it is.
fn without_words(error: Error) -> Error {
    match error.origin {
        Origin::Upstream => {
            Error::upstream(error.code, UNKNOWN).with_retry(error.retry).with_sent(error.sent)
        }
        Origin::Caller | Origin::Gateway => error,
    }
}

/// The call itself was not forwarded, whatever became of the question.
fn unforwarded(error: Error) -> Error {
    match error.origin {
        Origin::Upstream => {
            let retry = match error.retry {
                Retry::After(wait) => Retry::After(wait),
                Retry::Unsaid | Retry::Never | Retry::Now => Reason::OrganizationUnknown.retry(),
            };
            Error::refuse(Reason::OrganizationUnknown).with_retry(retry).with_source(error)
        }
        Origin::Caller | Origin::Gateway => error.with_sent(Sent::No),
    }
}
