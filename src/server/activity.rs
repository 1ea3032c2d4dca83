//! What goes on on one connection: how many requests are in flight, and since when none is.
//!
//! Timers look at it when they fire; a request wakes no one but the first, so that the hot path is three atomics.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Status, body::Body};

use super::Connections;

#[derive(Debug)]
pub(super) struct Activity {
    born: Instant,
    begun: AtomicU64,
    in_flight: AtomicU64,
    /// When the last request ended, in milliseconds from `born`.
    ended: AtomicU64,
    first: Notify,
    connections: Arc<Connections>,
}

/// One request in flight, until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

/// An answer's body; the request is in flight until hyper has taken the last of it.
#[derive(Debug)]
pub(super) struct Counted {
    body: Body,
    _in_flight: InFlight,
}

impl Activity {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self {
            born: Instant::now(),
            begun: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            first: Notify::new(),
            connections,
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, SeqCst);
        self.connections.request_began();
        if self.begun.fetch_add(1, SeqCst) == 0 {
            self.first.notify_one();
        }
        InFlight(self.clone())
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    /// Whether no request has ever come.
    pub(super) fn silent(&self) -> bool {
        self.begun.load(SeqCst) == 0
    }

    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// For how long nothing has been in flight; `None` while something is.
    pub(super) fn quiet(&self) -> Option<Duration> {
        if self.in_flight() > 0 {
            return None;
        }
        let ended = Duration::from_millis(self.ended.load(SeqCst));
        Some(self.age().saturating_sub(ended))
    }

    /// Waits until nothing has been in flight for `time`.
    pub(super) async fn quiet_for(&self, time: Duration) {
        loop {
            // A request in flight ends now at the earliest, so looking again after `time` is never too late.
            let quiet = self.quiet().unwrap_or_default();
            if quiet >= time {
                return;
            }
            sleep(time - quiet).await;
        }
    }

    /// Waits until `time` after the connection was made, and on for ever if a request has come by then.
    pub(super) async fn silent_for(&self, time: Duration) {
        sleep_until(self.born + time).await;
        if !self.silent() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the first request has come, or the connection is `time` old. For one waiter only.
    pub(super) async fn begun_or_aged(&self, time: Duration) {
        if self.silent() {
            let _either_way = timeout(time.saturating_sub(self.age()), self.first.notified()).await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Activity { born, ended, in_flight, connections, .. } = &*self.0;
        let now = u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX);
        // The time first: who sees nothing in flight must see since when.
        ended.fetch_max(now, SeqCst);
        in_flight.fetch_sub(1, SeqCst);
        connections.request_ended();
    }
}

impl Counted {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
