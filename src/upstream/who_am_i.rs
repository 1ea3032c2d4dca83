//! Answers who the caller is. Upstream would answer with the identity of the org's credential: that is the gateway's
//! own, and none of the caller's business. Of a caller's own token it has said it already.

use http::HeaderMap;
use prost::Message as _;

use super::learn::Learn;
use crate::{
    call::{AttemptKind, Call, Line, Passed, Reply},
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
    learn: Learn,
}

impl WhoAmI {
    pub fn new(learn: Learn) -> Self {
        Self { learn }
    }

    async fn answer(&self, call: Call) -> Result<Reply, Error> {
        let (organization, drift) = match self.learn.organizations().get(&call.identity.org) {
            Some(organization) => {
                call.context.set_own();
                (organization, Vec::new())
            }
            None => {
                let asking = self.learn.ask(&call.identity.org, call.deadline, call.gone.clone());
                call.context.attempt(AttemptKind::Call, None, asking).await?
            }
        };
        // An API key is a service's. Who comes with a token of upstream's own is whoever upstream has said.
        let passed = call.identity.passed.as_deref();
        let principal = passed.map_or(Principal::ServiceAccount.into(), Passed::principal);
        let tier = passed.map(Passed::tier).filter(|tier| !tier.is_empty()).unwrap_or(&organization.tier);
        let id = passed.map_or(&*organization.id, Passed::organization);
        let identity = GetAuthenticatedIdentityResponse {
            subject: Some(Subject { id: call.identity.subject.to_string(), principal }),
            organization_id: id.to_owned(),
            organization_tier: tier.to_owned(),
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
