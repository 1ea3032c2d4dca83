//! Refusals spend from a bucket of the peer's address: of identification, and of what cannot be read.
//!
//! The address is the connection's, whatever headers say. Calls are untouched, however empty the bucket is.

use std::net::SocketAddr;

use governor::clock::MonotonicClock;

use super::{HttpRequest, HttpResponse};
use crate::{
    call::{Context, Peer},
    error::{Error, Origin, Reason, Retry},
    limit::{Rate, Refusals},
    stack::{Next, Stage},
    telemetry::Metrics,
};

#[cfg(test)]
mod tests;

/// The layer.
#[derive(Clone, Debug)]
pub struct Peers {
    refusals: Refusals,
    metrics: Metrics,
}

/// Marks a request whose peer has an empty bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limited;

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
        Self { refusals: Refusals::new(refusals, MonotonicClock), metrics }
    }

    /// What the peer is told instead, if this refusal is one too many.
    fn judge(&self, peer: SocketAddr, error: Error) -> Error {
        match self.refusals.spend(peer) {
            Ok(()) => error,
            Err(spent) => {
                self.metrics.peer_limited();
                Error::refuse(Reason::PeerLimited)
                    .with_rule("limits.refusals")
                    .with_retry(Retry::After(spent.0))
                    .with_source(error)
            }
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
        let (Some(peer), Some(context)) = (peer, context) else { return next.run(request).await };
        if self.refusals.is_spent(peer) {
            request.extensions_mut().insert(Limited);
        }
        let mut unanswered = Unanswered { peers: self, peer, context, answered: false };
        let result = next.run(request).await;
        unanswered.answered = true;
        result.map_err(|error| {
            // What became a call is for the org's rate to count; what the gateway itself is at fault for, for nobody's.
            let spends = error.origin == Origin::Caller && !unanswered.context.is_call();
            if spends { self.judge(peer, error) } else { error }
        })
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered && self.context.identity().is_none() {
            // There is nobody left to be told.
            let _spent = self.peers.refusals.spend(self.peer);
        }
    }
}
