//! Refusals spend from a bucket of the peer's address: of identification, and of what cannot be read.
//!
//! The address is the connection's, whatever headers say. Calls are untouched, however empty the bucket is. Look-ups of
//! made-up tokens spend from another one, so that strangers with no token to look up keep nobody's from it.

use std::net::SocketAddr;

use governor::clock::MonotonicClock;

use super::{HttpRequest, HttpResponse};
use crate::{
    call::{Context, Peer},
    error::{Error, Origin, Reason},
    identity::Asker,
    limit::Refusals,
    rule::Rate,
    stack::{Next, Stage},
    telemetry::Metrics,
};

#[cfg(test)]
mod tests;

/// The layer.
#[derive(Clone, Debug)]
pub struct Peers {
    refusals: Refusals,
    look_ups: Refusals,
    metrics: Metrics,
}

/// What a peer may look up. It is in each request.
#[derive(Clone, Debug)]
pub(super) struct LookUps {
    spent: Refusals,
    peer: Option<SocketAddr>,
}

/// A stranger's request that is not answered yet. Dropped before that, it spends as a refusal would: who hangs up first is
/// not spared.
struct Unanswered<'s> {
    peers: &'s Peers,
    peer: SocketAddr,
    context: Context,
    answered: bool,
}

impl Peers {
    /// What each peer may be refused.
    pub fn new(refusals: Rate, metrics: Metrics) -> Self {
        let bucket = || Refusals::new(refusals, MonotonicClock);
        Self { refusals: bucket(), look_ups: bucket(), metrics }
    }

    /// What the peer is told, which is another thing if this refusal is one too many.
    fn judge(&self, peer: SocketAddr, context: &Context, error: Error) -> Error {
        let org = context.identity().map(|identity| &identity.org);
        if !spends(context, &error) || self.refusals.spend(peer, org).is_ok() {
            return error;
        }
        self.metrics.peer_limited();
        context.set_limited();
        if error.origin == Origin::Gateway {
            // It may be a caller whom nobody has had the time to know: it is told what it may do.
            return error;
        }
        Error::refuse(Reason::PeerLimited).with_rule("limits.refusals").with_source(error)
    }
}

/// Whatever ends a request before anybody is known is the peer's, or it could choose the end that is free: no time left,
/// or an issuer that is down. What became a call is for the org's rate to count.
fn spends(context: &Context, error: &Error) -> bool {
    let is_exempt = match error.reason {
        // The gateway's own fault is nobody's.
        Some(Reason::Overloaded | Reason::Internal) => true,
        // It takes two good credentials, and who has those of two callers is to be on record each time.
        Some(Reason::IdentityConflict) => true,
        _ => context.is_call(),
    };
    !is_exempt && (error.origin == Origin::Caller || context.identity().is_none())
}

impl Asker for LookUps {
    fn may_ask(&self) -> bool {
        !self.peer.is_some_and(|peer| self.spent.is_spent(peer))
    }

    fn asked_in_vain(&self) {
        if let Some(peer) = self.peer {
            // What it was asked for is over: the next one is told.
            let _spent = self.spent.spend(peer, None);
        }
    }
}

impl Stage<HttpRequest> for Peers {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        mut request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let context = request.extensions().get::<Context>().cloned();
        request.extensions_mut().insert(LookUps { spent: self.look_ups.clone(), peer });
        let (Some(peer), Some(context)) = (peer, context) else { return next.run(request).await };
        let mut unanswered = Unanswered { peers: self, peer, context, answered: false };
        let result = next.run(request).await;
        unanswered.answered = true;
        result.map_err(|error| self.judge(peer, &unanswered.context, error))
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered && self.context.identity().is_none() {
            // There is nobody left to be told.
            let _spent = self.peers.refusals.spend(self.peer, None);
        }
    }
}
