//! Says which policy judges a call, and what it sets the call: one policy for all its stages.

use crate::{
    call::{Call, Reply},
    error::Error,
    stack::{Next, Stage},
};

/// The stage.
#[derive(Clone, Debug, Default)]
pub struct Bind;

impl Stage<Call> for Bind {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        next.run(call).await
    }
}
