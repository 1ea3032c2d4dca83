//! Asks upstream what it calls the orgs: at start, in the background for as long as it is open, and where a call needs
//! it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{
    ask::Unsaid,
    credentials::By,
    forward::Upstream,
    organizations::{Organization, Organizations},
};
use crate::{
    call::{AttemptKind, Call, Deadline, MismatchKind, OrgId, Reply},
    error::{Error, Origin, Reason, Retry, Sent},
    rpc::GET_AUTHENTICATED_IDENTITY,
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// What a caller is told where upstream does not say which organization it is.
const UNKNOWN: &str = "the organization could not be looked up";
/// Orgs that are asked for at a time: a round of a hundred is over soon, and upstream takes more than that.
const ABREAST: usize = 16;
/// Of one question in the background: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds, at the most: an upstream that is back is noticed in minutes, and on the first call anyway.
const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The stage: lets a call go on when it is known what upstream calls its org.
#[derive(Clone, Debug)]
pub struct Learn {
    upstream: Upstream,
    organizations: Organizations,
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

    /// Asks once for every one of `orgs` that is not settled yet; all of it ends within `patience`.
    pub async fn round(&self, orgs: &[OrgId], patience: Duration) {
        let deadline = Deadline::at(Instant::now() + patience);
        let open = orgs.iter().filter(|org| !self.organizations.is_settled(org));
        let asking = stream::iter(open).for_each_concurrent(ABREAST, |org| async move {
            match self.ask(org, deadline, CancellationToken::new()).await {
                Ok(_) => {}
                // Somebody has to renew it.
                Err(error) if error.reason == Some(Reason::UpstreamCredential) => {
                    tracing::error!(%org, "upstream refuses the org's credential");
                }
                Err(error) => tracing::warn!(%org, error = ?error.to_string(), "{UNKNOWN}"),
            }
        });
        let _late = tokio::time::timeout(patience, asking).await;
    }

    /// Sees to it that every one of `orgs` is settled, also if it is in trouble later on. Does not end.
    pub async fn keep_settled(self, orgs: Vec<OrgId>, pause: Duration) {
        loop {
            self.until_settled(&orgs, pause).await;
            tokio::time::sleep(MAX_PAUSE).await;
        }
    }

    /// Round after round until every one of `orgs` is settled: after `pause`, then after twice as long each time, up to
    /// five minutes.
    async fn until_settled(&self, orgs: &[OrgId], mut pause: Duration) {
        while orgs.iter().any(|org| !self.organizations.is_settled(org)) {
            tokio::time::sleep(pause).await;
            self.round(orgs, PATIENCE).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Asks upstream with the org's own credential. Two calls at once may both ask; a failure is not remembered.
    ///
    /// # Errors
    /// No answer, none that names an organization, or another one than the org is.
    pub(super) async fn ask(
        &self,
        org: &OrgId,
        deadline: Deadline,
        gone: CancellationToken,
    ) -> Result<(Arc<Organization>, Vec<String>), Error> {
        let held = self.upstream.credentials().get(org);
        let said = self.upstream.ask(By::Org(org), deadline, gone).await.map_err(|error| {
            self.organizations.hear_none(org, Unsaid::of(&error));
            without_words(error)
        })?;
        // What is said of a credential that was replaced meanwhile is of no account.
        if self.upstream.credentials().get(org) == held {
            self.hear(org, said.identity.into());
        }
        self.organizations.check(org)?;
        let known = self.organizations.get(org).ok_or_else(|| Error::refuse(Reason::OrganizationUnknown))?;
        Ok((known, said.drift))
    }

    pub(super) fn hear(&self, org: &OrgId, said: Organization) {
        for (org, trouble) in self.organizations.hear(org, said) {
            let kind = MismatchKind::Credential.as_str();
            self.upstream.metrics().tenancy_mismatched(org.as_str(), &GET_AUTHENTICATED_IDENTITY, kind);
            tracing::error!(%org, %trouble, "the credential is another organization's; its calls are refused");
        }
    }
}

impl Stage<Call> for Learn {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        // Who asks for just this gets the whole answer, further down.
        let is_question = call.method.path == GET_AUTHENTICATED_IDENTITY.path;
        let org = &call.identity.org;
        self.organizations.check(org)?;
        if !is_question && self.organizations.get(org).is_none() {
            let asking = self.ask(org, call.deadline, call.gone.clone());
            let asked = call.context.attempt(AttemptKind::Organization, None, asking);
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
