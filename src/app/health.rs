//! `grpc.health.v1`: what the gateway, its audit log and upstream are fit for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpStream, time};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::pb::{health_check_response::ServingStatus, health_server::HealthServer};

use crate::{audit, rpc::PREBUILD_SERVICE, telemetry::Metrics, upstream::Base};

mod board;

pub(super) use board::Board;

/// The gateway as a whole, by the protocol's convention.
const OVERALL: &str = "";
/// The audit log.
const AUDIT: &str = "audit";
/// Upstream, as seen from here.
const UPSTREAM: &str = "upstream";

/// A failing disk must show within 2 s (promise P5): both together are less.
const AUDIT_EVERY: Duration = Duration::from_millis(500);
const AUDIT_TIMEOUT: Duration = Duration::from_secs(1);
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// The statuses, kept true by two tasks that end with it.
#[derive(Debug)]
pub(super) struct Health {
    board: Board,
    audit: Arc<AtomicBool>,
    upstream: Arc<AtomicBool>,
    watched: CancellationToken,
    _unwatch: DropGuard,
}

impl Health {
    /// Begins to watch the audit log, and upstream `every` so often.
    pub(super) fn watch(base: &Base, every: Duration, log: audit::Log, metrics: Metrics) -> Self {
        let board = Board::new([
            // The log has just been opened.
            (OVERALL, ServingStatus::Serving),
            (PREBUILD_SERVICE, ServingStatus::Serving),
            (AUDIT, ServingStatus::Serving),
            (UPSTREAM, ServingStatus::Unknown),
        ]);
        let (audit, upstream) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let watched = CancellationToken::new();
        let look = watch_audit(board.clone(), log, Arc::clone(&audit));
        tokio::spawn(watched.clone().run_until_cancelled_owned(look));
        let look = watch_upstream(board.clone(), base.clone(), every, Arc::clone(&upstream), metrics);
        tokio::spawn(watched.clone().run_until_cancelled_owned(look));
        let _unwatch = watched.clone().drop_guard();
        Self { board, audit, upstream, watched, _unwatch }
    }

    /// The service for the main port.
    pub(super) fn service(&self) -> HealthServer<Board> {
        self.board.server()
    }

    pub(super) fn audit_is_writable(&self) -> bool {
        self.audit.load(Ordering::Relaxed)
    }

    pub(super) fn upstream_is_reachable(&self) -> bool {
        self.upstream.load(Ordering::Relaxed)
    }

    /// Says `NOT_SERVING` from now on.
    pub(super) fn drain(&self) {
        self.watched.cancel();
        self.board.show_all(ServingStatus::NotServing);
    }

    /// Ends the streams of those who watch: they would hold up the drain to the end of its grace.
    pub(super) fn end_watches(&self) {
        self.board.end_watches();
    }
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// A gateway that cannot record cannot serve mutations.
async fn watch_audit(board: Board, log: audit::Log, writable: Arc<AtomicBool>) {
    let mut ticks = time::interval(AUDIT_EVERY);
    loop {
        ticks.tick().await;
        let healthy = log.probe(AUDIT_TIMEOUT).await;
        writable.store(healthy, Ordering::Relaxed);
        for service in [AUDIT, PREBUILD_SERVICE, OVERALL] {
            board.show(service, status(healthy));
        }
    }
}

/// A TCP connection says enough: whether upstream answers well is in the metrics of the calls themselves.
async fn watch_upstream(
    board: Board,
    base: Base,
    every: Duration,
    reachable: Arc<AtomicBool>,
    metrics: Metrics,
) {
    let mut ticks = time::interval(every);
    // After a look that took long, no others at once to make up for it.
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let connect = TcpStream::connect((base.address(), base.port()));
        let connected = time::timeout(UPSTREAM_TIMEOUT, connect).await.is_ok_and(|socket| socket.is_ok());
        reachable.store(connected, Ordering::Relaxed);
        metrics.upstream_reachable(connected);
        board.show(UPSTREAM, status(connected));
    }
}
