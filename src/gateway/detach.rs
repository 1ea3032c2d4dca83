//! A mutation does not end with its caller.
//!
//! The server drops a call's future when the stream is reset. A read may end there; a mutation that has left must be
//! followed until upstream answers, or nobody would know what became of it.

use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::{
    call::{Call, Reply},
    error::{Error, Reason, Sent},
    rpc::Class,
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// The stage.
#[derive(Clone, Debug)]
pub struct Detach {
    tasks: TaskTracker,
}

impl Detach {
    /// Runs mutations in tasks that `tasks` keeps count of.
    pub fn new(tasks: TaskTracker) -> Self {
        Self { tasks }
    }
}

impl Stage<Call> for Detach {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        let is_read = call.method.class == Class::Read;
        // The place among the calls in flight goes where the work goes.
        let place = call.place.take();
        let work = async move {
            let _place = place;
            next.run(call).await
        };
        if is_read {
            return work.await;
        }
        let task = self.tasks.spawn(work.in_current_span());
        // The audit stage catches panics of what is below it; what is left is a runtime that shuts down.
        task.await.unwrap_or_else(|error| {
            Err(Error::refuse(Reason::Internal).with_sent(Sent::Maybe).with_source(error))
        })
    }
}
