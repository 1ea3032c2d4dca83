//! The counters of a listener, for metrics: atomics that anyone may read at any time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What a listener has seen since it was made.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    accept_errors: AtomicU64,
    closed: [AtomicU64; Closed::ALL.len()],
    closed_hard: AtomicU64,
    in_flight: AtomicU64,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The client closed it, or it ended after an answer as HTTP/1 may.
    Peer,
    /// An error: the network's, a client's that breaks the protocol or its limits, or a PING without answer.
    Failed,
    /// The first request did not come in time.
    Silent,
    /// Nothing was in flight for too long.
    Idle,
    /// Nothing was in flight for a while, and others needed the place.
    Crowded,
    /// It reached its age.
    Aged,
    /// The client's certificate has ended, or its CA has gone.
    Uncertified,
    /// The server drains.
    Drained,
}

/// One open connection; it counts as open until this is dropped.
#[derive(Debug)]
pub(super) struct Open(Arc<Connections>);

impl Closed {
    pub const ALL: [Self; 8] = [
        Self::Peer,
        Self::Failed,
        Self::Silent,
        Self::Idle,
        Self::Crowded,
        Self::Aged,
        Self::Uncertified,
        Self::Drained,
    ];

    /// As a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Failed => "failed",
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::Aged => "aged",
            Self::Uncertified => "uncertified",
            Self::Drained => "drained",
        }
    }
}

impl Connections {
    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections that got a place, ever.
    pub fn accepted_total(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections that were closed at once because all places were taken, ever.
    pub fn refused_total(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Errors of `accept`, ever. Many of them mean: no file descriptors.
    pub fn accept_errors_total(&self) -> u64 {
        self.accept_errors.load(Relaxed)
    }

    /// Connections that ended for this reason, ever.
    pub fn closed_total(&self, reason: Closed) -> u64 {
        self.closed[reason as usize].load(Relaxed)
    }

    /// Those of them that were cut at the end of a grace, ever.
    pub fn closed_hard_total(&self) -> u64 {
        self.closed_hard.load(Relaxed)
    }

    /// Requests whose answer has not ended yet.
    pub fn requests_in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn accepted(self: &Arc<Self>) -> Open {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(self.clone())
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn accept_failed(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    pub(super) fn cut(&self) {
        self.closed_hard.fetch_add(1, Relaxed);
    }

    pub(super) fn request_began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn request_ended(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Open {
    pub(super) fn close(self, reason: Closed) {
        self.0.closed[reason as usize].fetch_add(1, Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
