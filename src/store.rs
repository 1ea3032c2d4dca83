//! What the replicas share: a Redis or Valkey server, or a cluster of them, that keeps limits for all of them.
//!
//! Nobody waits for a connection: it is made and tried in the background ([`link`]), and without a good one there is an
//! answer at once. One failure is enough to be without: what comes next does not wait for the same again. That the store
//! can be written is part of being good.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use redis::{Script, Value};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::link::Link;
use crate::{call::OrgId, telemetry::Metrics};

mod config;
mod fault;
mod keep;
mod link;
#[cfg(test)]
mod tests;

pub use config::{Config, Invalid, Server};
pub use fault::Fault;

/// Runs scripts on the server. Clones share the connection; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Store(Arc<Held>);

#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    _ends: DropGuard,
}

/// What the callers and the background share.
struct Shared {
    server: Server,
    /// The good connection.
    link: ArcSwapOption<Link>,
    /// How often there was one.
    gained: AtomicU64,
    /// The connection is not good any more.
    lost: Notify,
    trouble: Mutex<Trouble>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Trouble {
    /// Why there is no good connection.
    fault: Option<Fault>,
    /// For whom it failed last: in a cluster that says which server has to be well again.
    org: Option<OrgId>,
}

impl Store {
    /// An answer takes no longer, nor does its absence.
    pub const PATIENCE: Duration = Duration::from_millis(50);
    /// A timer may be late by a millisecond or two, and something has to be done with the answer.
    const WITHIN: Duration = Duration::from_millis(46);

    /// Begins to connect, in the background: at once and again until this is dropped.
    pub fn open(server: Server, metrics: Metrics) -> Self {
        let shared = Arc::new(Shared::new(server, metrics));
        let ends = CancellationToken::new();
        tokio::spawn(ends.clone().run_until_cancelled_owned(keep::keep(shared.clone())));
        Self(Arc::new(Held { shared, _ends: ends.drop_guard() }))
    }

    /// Runs a script with one key, `prebuild-gateway:{org}:room`, and reads its answer, within [`Self::PATIENCE`].
    ///
    /// # Errors
    /// There is no good connection, or no good answer in time. The script may have run all the same.
    pub async fn run<T>(
        &self,
        script: &Script,
        org: &OrgId,
        room: &str,
        arguments: &[String],
        read: impl FnOnce(Value) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let shared = &self.0.shared;
        let Some(link) = shared.link.load_full() else { return Err(Fault::Down) };
        let begun = Instant::now();
        let key = key(org, room);
        let answer = tokio::time::timeout(Self::WITHIN, link.run(script, &key, arguments)).await;
        shared.metrics.limit_store_answered(begun.elapsed());
        let answer = answer.unwrap_or(Err(Fault::Timeout)).and_then(read);
        if let Err(fault) = answer {
            shared.lose(&link, fault, Some(org));
        }
        answer
    }

    /// How often there was a good connection anew.
    pub fn gained(&self) -> u64 {
        self.0.shared.gained.load(Ordering::Acquire)
    }

    /// Why there is no good connection now; none if there is one.
    pub fn trouble(&self) -> Option<Fault> {
        self.0.shared.trouble().fault
    }
}

/// All of an org's keys are in one slot of a cluster.
fn key(org: &OrgId, room: &str) -> String {
    format!("prebuild-gateway:{{{org}}}:{room}")
}

impl Shared {
    fn new(server: Server, metrics: Metrics) -> Self {
        let trouble = Mutex::new(Trouble { fault: Some(Fault::Down), org: None });
        metrics.limit_store_up(false);
        Self {
            server,
            link: ArcSwapOption::empty(),
            gained: AtomicU64::new(0),
            lost: Notify::new(),
            trouble,
            metrics,
        }
    }

    /// From now on there is no good connection, unless there is another one already.
    fn lose(&self, link: &Arc<Link>, fault: Fault, org: Option<&OrgId>) {
        self.metrics.limit_store_failed(fault.kind());
        let was = self.link.compare_and_swap(link, None);
        if was.as_ref().is_some_and(|was| Arc::ptr_eq(was, link)) {
            self.metrics.limit_store_up(false);
            let mut trouble = self.trouble();
            trouble.fault = Some(fault);
            trouble.org = org.cloned().or_else(|| trouble.org.take());
            drop(trouble);
            tracing::warn!(kind = fault.kind(), "the store of limits is not to be had: {fault}");
            self.lost.notify_one();
        }
    }

    /// There is a good connection.
    fn gain(&self, link: Arc<Link>) {
        self.trouble().fault = None;
        self.gained.fetch_add(1, Ordering::Release);
        self.link.store(Some(link));
        self.metrics.limit_store_up(true);
        tracing::info!("the store of limits is there");
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("server", &self.server).finish_non_exhaustive()
    }
}
