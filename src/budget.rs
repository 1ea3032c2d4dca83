//! What is left running upstream: reserved before a call is made, settled by what is seen of it.

use crate::{
    call::{Call, Reply},
    error::Error,
    policy::Permitted,
    stack::{Next, Stage},
};

/// The stage.
#[derive(Clone, Debug, Default)]
pub struct Budgets;

impl Stage<Permitted<Call>> for Budgets {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        next.run(call).await
    }
}
