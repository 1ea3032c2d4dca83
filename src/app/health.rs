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
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{audit, rpc::PREBUILD_SERVICE, telemetry::Metrics, upstream::Base};

/// The gateway as a whole, by the protocol's convention.
const OVERALL: &str = "";
/// Upstream, as seen from here.
const UPSTREAM: &str = "upstream";
const SERVICES: [&str; 3] = [OVERALL, PREBUILD_SERVICE, UPSTREAM];

/// A failing disk must show well within 2 s (promise P5).
const AUDIT_EVERY: Duration = Duration::from_millis(500);
/// Each look at upstream is a connection.
const UPSTREAM_EVERY: Duration = Duration::from_secs(10);
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// The statuses, kept true by two tasks that end with it.
#[derive(Debug)]
pub(super) struct Health {
    reporter: HealthReporter,
    upstream: Arc<AtomicBool>,
    watched: CancellationToken,
    _unwatch: DropGuard,
}

impl Health {
    /// Begins to watch the audit log and upstream.
    pub(super) fn watch(base: &Base, log: audit::Log, metrics: Metrics) -> Self {
        let reporter = HealthReporter::new();
        let upstream = Arc::new(AtomicBool::new(false));
        let watched = CancellationToken::new();
        tokio::spawn(watched.clone().run_until_cancelled_owned(watch_audit(reporter.clone(), log)));
        let look = watch_upstream(reporter.clone(), base.clone(), Arc::clone(&upstream), metrics);
        tokio::spawn(watched.clone().run_until_cancelled_owned(look));
        let _unwatch = watched.clone().drop_guard();
        Self { reporter, upstream, watched, _unwatch }
    }

    /// The service for the main port.
    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    pub(super) fn upstream_is_reachable(&self) -> bool {
        self.upstream.load(Ordering::Relaxed)
    }

    /// Says `NOT_SERVING` from now on.
    pub(super) async fn drain(&self) {
        self.watched.cancel();
        for service in SERVICES {
            self.reporter.set_service_status(service, ServingStatus::NotServing).await;
        }
    }

    /// Ends the streams of those who watch: they would hold up the drain to the end of its grace.
    pub(super) async fn end_watches(&self) {
        let mut reporter = self.reporter.clone();
        for service in SERVICES {
            reporter.clear_service_status(service).await;
        }
    }
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// A gateway that cannot record cannot serve mutations.
async fn watch_audit(reporter: HealthReporter, log: audit::Log) {
    let mut ticks = time::interval(AUDIT_EVERY);
    let mut told = None;
    loop {
        ticks.tick().await;
        let healthy = log.is_healthy();
        // Those who watch are told of changes only; the reporter would send them every tick.
        if told.replace(healthy) != Some(healthy) {
            reporter.set_service_status(OVERALL, status(healthy)).await;
            reporter.set_service_status(PREBUILD_SERVICE, status(healthy)).await;
        }
    }
}

/// A TCP connection says enough: whether upstream answers well is in the metrics of the calls themselves.
async fn watch_upstream(reporter: HealthReporter, base: Base, reachable: Arc<AtomicBool>, metrics: Metrics) {
    let mut ticks = time::interval(UPSTREAM_EVERY);
    let mut told = None;
    loop {
        ticks.tick().await;
        let connect = TcpStream::connect((base.address(), base.port()));
        let connected = time::timeout(UPSTREAM_TIMEOUT, connect).await.is_ok_and(|socket| socket.is_ok());
        reachable.store(connected, Ordering::Relaxed);
        metrics.upstream_reachable(connected);
        if told.replace(connected) != Some(connected) {
            reporter.set_service_status(UPSTREAM, status(connected)).await;
        }
    }
}
