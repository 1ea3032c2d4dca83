//! Answers who the caller is. Upstream would answer with the identity of the org's credential: that is the gateway's
//! own, and none of the caller's business.

use http::HeaderMap;
use prost::Message as _;

use super::{forward::Upstream, organizations::Organizations};
use crate::{
    call::{Call, Line, Reply},
    connect::json::to_json,
    error::{Error, Reason},
    policy::Permitted,
    proto::gitpod::v1::{GetAuthenticatedIdentityResponse, Principal, Subject},
    rpc::{GET_AUTHENTICATED_IDENTITY, MethodSpec, Seen},
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// The stage: takes `GetAuthenticatedIdentity` off the way to upstream.
#[derive(Clone, Debug)]
pub struct WhoAmI {
    upstream: Upstream,
    organizations: Organizations,
}

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
            None => {
                let (upstream, org) = (&self.upstream, &call.identity.org);
                self.organizations.learn(upstream, org, call.deadline, call.gone.clone()).await?
            }
        };
        let identity = GetAuthenticatedIdentityResponse {
            subject: Some(Subject {
                id: call.identity.subject.to_string(),
                // An API key is a service's. People would come with a token of their own.
                principal: Principal::ServiceAccount.into(),
            }),
            organization_id: organization.id.clone(),
            organization_tier: organization.tier.clone(),
        };
        reply(call.method, &identity, drift)
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
        line: Line::default(),
    })
}
