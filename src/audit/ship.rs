//! Shipping: the records go to other places, too, read from the log itself.
//!
//! Each sink has a task and a position of its own, kept beside the log: no call waits for a sink, and one that is away
//! holds up no other. The log is the buffer: beyond one bounded batch nothing waits in memory. Only what is on stable
//! storage is shipped, in its order, and each record at least once: after a crash some come again.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;

use super::Log;
use crate::telemetry::Metrics;

mod batch;
mod client;
mod config;
mod cursor;
mod lines;
mod otlp;
mod position;
mod shipper;
mod store;
#[cfg(test)]
mod tests;

pub use config::{Config, Invalid, Secrets, Target};
use shipper::Shipper;

/// How long the end of the process waits for sinks to take the last records. The rest is shipped after the next start.
const END: Duration = Duration::from_secs(2);

/// The tasks that ship the log.
#[derive(Debug)]
pub struct Shipping(TaskTracker);

/// Why a sink has not taken what it was given. It is tried again.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    #[error("{0}")]
    Read(#[from] super::read::ReadError),
    #[error("{0}")]
    Write(#[from] std::io::Error),
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("{0}")]
    Send(#[from] client::ClientError),
    #[error("it answered with HTTP status {0}")]
    Status(http::StatusCode),
    #[error("the call ended with gRPC code {0:?}")]
    Code(tonic::Code),
    #[error("it takes too long")]
    Slow,
}

impl Shipping {
    /// Begins to ship the log, to each from where it was left.
    pub fn begin(log: &Log, targets: Vec<Target>, metrics: &Metrics) -> Self {
        let tasks = TaskTracker::new();
        for target in targets {
            tasks.spawn(Shipper::new(log, target, metrics.clone()).run());
        }
        tasks.close();
        Self(tasks)
    }

    /// Waits, for a moment, until the sinks have the end of a log that is closed.
    pub async fn end(self) {
        let _over = tokio::time::timeout(END, self.0.wait()).await;
    }
}

/// Files are read and written where nobody waits for the thread: their disk may hang.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    spawn_blocking(work).await.map_err(std::io::Error::other)?
}
