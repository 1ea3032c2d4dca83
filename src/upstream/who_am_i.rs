//! Answers who the caller is. Upstream would answer with the identity of the org's credential: that is the gateway's
//! own, and none of the caller's business.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::HeaderMap;
use prost::Message as _;

use super::{
    client::gate::Gate,
    forward::{Outgoing, Upstream},
};
use crate::{
    call::{Call, OrgId, Reply},
    connect::json::to_json,
    error::{Error, Origin, Reason},
    policy::Permitted,
    proto::gitpod::v1::{GetAuthenticatedIdentityResponse, Principal, Subject},
    rpc::{GET_AUTHENTICATED_IDENTITY, MethodSpec, Seen},
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// What a caller is told where upstream does not say which organization it is.
const UNKNOWN: &str = "the organization could not be looked up";

/// The stage: takes `GetAuthenticatedIdentity` off the way to upstream.
#[derive(Clone, Debug)]
pub struct WhoAmI {
    upstream: Upstream,
    organizations: Organizations,
}

/// What upstream calls each org: as configured, or as upstream has said. One entry per org at most.
#[derive(Clone, Debug, Default)]
pub struct Organizations(Arc<Mutex<HashMap<OrgId, Organization>>>);

/// An org as upstream knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Organization {
    id: String,
    /// Empty where nobody has said it.
    tier: String,
}

/// Upstream's answer names no organization.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer has no organizationId")]
struct NoOrganization;

impl WhoAmI {
    pub fn new(upstream: Upstream, organizations: Organizations) -> Self {
        Self { upstream, organizations }
    }

    async fn answer(&self, call: Call) -> Result<Reply, Error> {
        let (organization, drift) = match self.organizations.get(&call.identity.org) {
            Some(organization) => {
                call.context.set_own();
                (organization, Vec::new())
            }
            None => self.learn(&call).await?,
        };
        let identity = GetAuthenticatedIdentityResponse {
            subject: Some(Subject {
                id: call.identity.subject.to_string(),
                // An API key is a service's. People would come with a token of their own.
                principal: Principal::ServiceAccount.into(),
            }),
            organization_id: organization.id,
            organization_tier: organization.tier,
        };
        reply(call.method, &identity, drift)
    }

    /// Asks upstream with the org's own credential. Only what it says of the organization is kept: its subject is
    /// that credential's owner. Two calls at once may both ask; a failure is not remembered.
    async fn learn(&self, call: &Call) -> Result<(Organization, Vec<String>), Error> {
        let outgoing = Outgoing {
            method: call.method,
            org: &call.identity.org,
            request: call.request.clone(),
            // None of the caller's: the answer is kept for others.
            query: String::new(),
            metadata: HeaderMap::new(),
            gate: Gate::new(call.deadline, call.gone.clone()),
            patience: call.deadline.remaining().unwrap_or_default(),
        };
        let reply = self.upstream.send(outgoing).await.map_err(without_words)?;
        let organization = Organization::read(&reply)?;
        self.organizations.remember(call.identity.org.clone(), organization.clone());
        Ok((organization, reply.drift))
    }
}

/// Upstream's words are about the org's credential, and may name whose it is.
fn without_words(error: Error) -> Error {
    match error.origin {
        Origin::Upstream => Error::upstream(error.code, UNKNOWN).with_retry(error.retry),
        Origin::Caller | Origin::Gateway => error,
    }
}

impl Organizations {
    /// Those whose ids upstream need not be asked for.
    pub fn new(configured: impl IntoIterator<Item = (OrgId, String)>) -> Self {
        let known = configured.into_iter().map(|(org, id)| (org, Organization { id, tier: String::new() }));
        Self(Arc::new(Mutex::new(known.collect())))
    }

    fn get(&self, org: &OrgId) -> Option<Organization> {
        self.known().get(org).cloned()
    }

    fn remember(&self, org: OrgId, organization: Organization) {
        self.known().insert(org, organization);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<OrgId, Organization>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Organization {
    fn read(reply: &Reply) -> Result<Self, Error> {
        let invalid = || Error::refuse(Reason::UpstreamInvalidResponse);
        let said = GetAuthenticatedIdentityResponse::decode(&reply.wire[..])
            .map_err(|error| invalid().with_source(error))?;
        if said.organization_id.is_empty() {
            return Err(invalid().with_source(NoOrganization));
        }
        Ok(Self { id: said.organization_id, tier: said.organization_tier })
    }
}

impl Stage<Permitted<Call>> for WhoAmI {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        match call.get().method.path == GET_AUTHENTICATED_IDENTITY.path {
            true => self.answer(call.into_inner()).await,
            false => next.run(call).await,
        }
    }
}

/// A reply that the gateway itself makes.
fn reply(
    method: &'static MethodSpec,
    identity: &GetAuthenticatedIdentityResponse,
    drift: Vec<String>,
) -> Result<Reply, Error> {
    let internal = || Error::refuse(Reason::Internal);
    let wire = identity.encode_to_vec();
    let output = method.output().ok_or_else(internal)?;
    let json = to_json((method.schema)(), output, &wire).map_err(|error| internal().with_source(error))?;
    Ok(Reply {
        json: json.into(),
        wire: wire.into(),
        seen: Seen::default(),
        drift,
        metadata: HeaderMap::new(),
        trailers: HeaderMap::new(),
    })
}
