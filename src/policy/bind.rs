//! Says which policy judges a call, and what it sets the call: one policy for all its stages.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;

use super::Edition;
use crate::{
    call::{Call, Reply},
    error::Error,
    rule::Draw,
    stack::{Next, Stage},
};

/// The policy in force. Clones share it.
#[derive(Clone)]
pub struct Policy(Arc<ArcSwap<Edition>>);

/// The stage. It leaves the `Arc<Edition>` and, as the typed limits of this call, an `Arc<Limits>` in the call.
#[derive(Clone, Debug)]
pub struct Bind(pub Policy);

impl Policy {
    pub fn new(edition: Edition) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(edition)))
    }

    /// The edition in force.
    pub fn edition(&self) -> Arc<Edition> {
        self.0.load_full()
    }

    /// Another edition judges all calls that begin from now on, and none of those under way.
    pub fn replace(&self, edition: Edition) {
        self.0.store(Arc::new(edition));
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(self.edition().version()).finish()
    }
}

impl Stage<Call> for Bind {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        let edition = self.0.edition();
        call.context.set_policy(edition.version().clone());
        let draw = Draw::new(call.context.id().as_u128());
        let (limits, bound) = edition.apply(&call.identity.org, &call.identity.subject, call.method, draw);
        call.bound = bound;
        call.left.insert(limits);
        call.left.insert(edition);
        next.run(call).await
    }
}
