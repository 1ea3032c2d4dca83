//! Whose a token is, by upstream's own word.

use std::error::Error as _;

use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::{
    client::gate::Gate,
    credentials::By,
    forward::{Outgoing, Upstream},
};
use crate::{
    call::{Deadline, Reply},
    error::{Code, Error, Origin, Reason},
    proto::gitpod::v1::GetAuthenticatedIdentityResponse,
    rpc::GET_AUTHENTICATED_IDENTITY,
};

#[cfg(test)]
mod tests;

/// What upstream says of a token, and names in it that the schema does not know.
#[derive(Debug)]
pub(super) struct Said {
    /// With an organization.
    pub(super) identity: GetAuthenticatedIdentityResponse,
    pub(super) drift: Vec<String>,
}

/// Why it is not known whose a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaid {
    /// Upstream does not know the token.
    Unknown,
    /// It is no organization's.
    NoOrganization,
    /// Upstream lets this token not ask.
    Withheld,
    /// There was no answer that counts; another time there may be one.
    Open,
}

/// Upstream's answer names no organization.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer has no organizationId")]
struct NoOrganization;

impl Upstream {
    /// Asks upstream whose the token is.
    ///
    /// # Errors
    /// No answer, or none that names an organization.
    pub(super) async fn ask(
        &self,
        by: By<'_>,
        deadline: Deadline,
        gone: CancellationToken,
    ) -> Result<Said, Error> {
        let outgoing = Outgoing {
            method: &GET_AUTHENTICATED_IDENTITY,
            by,
            // Nothing of a call: the answer is kept for others.
            request: Bytes::new(),
            query: String::new(),
            metadata: HeaderMap::new(),
            gate: Gate::new(deadline, gone),
            patience: deadline.remaining().unwrap_or_default(),
        };
        Said::read(&self.send(outgoing).await?)
    }
}

impl Said {
    pub(super) fn read(reply: &Reply) -> Result<Self, Error> {
        let invalid = || Error::refuse(Reason::UpstreamInvalidResponse);
        let identity = GetAuthenticatedIdentityResponse::decode(&reply.wire[..])
            .map_err(|error| invalid().with_source(error))?;
        if identity.organization_id.is_empty() {
            return Err(invalid().with_source(NoOrganization));
        }
        Ok(Self { identity, drift: reply.drift.clone() })
    }
}

impl Unsaid {
    pub(super) fn of(error: &Error) -> Self {
        match (error.origin, error.reason) {
            (_, Some(Reason::UpstreamCredential | Reason::Unauthenticated)) => Self::Unknown,
            _ if error.source().is_some_and(|source| source.is::<NoOrganization>()) => Self::NoOrganization,
            (Origin::Upstream, _) => match error.code {
                // As 403, 404 and 501 are read, too.
                Code::PermissionDenied | Code::NotFound | Code::Unimplemented | Code::FailedPrecondition => {
                    Self::Withheld
                }
                _ => Self::Open,
            },
            (Origin::Caller | Origin::Gateway, _) => Self::Open,
        }
    }
}
