//! `grpc.health.v1.Health` over a fixed set of names.
//!
//! Written here and not taken from `tonic-health`, which ends a watch of an unknown name with an error: by the protocol
//! that says "try again", where `SERVICE_UNKNOWN` says what is the matter.

use std::{collections::HashMap, sync::Arc};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

/// What is shown, by name; clones show the same.
#[derive(Clone, Debug)]
pub(in crate::app) struct Board(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    known: HashMap<&'static str, watch::Sender<ServingStatus>>,
    /// For those who watch any other name.
    unknown: watch::Sender<ServingStatus>,
    end: CancellationToken,
}

impl Board {
    pub(super) fn new(services: impl IntoIterator<Item = (&'static str, ServingStatus)>) -> Self {
        let known = services.into_iter().map(|(name, status)| (name, watch::Sender::new(status)));
        Self(Arc::new(Shown {
            known: known.collect(),
            unknown: watch::Sender::new(ServingStatus::ServiceUnknown),
            end: CancellationToken::new(),
        }))
    }

    /// Shows a status. Those who watch are told of changes only.
    pub(super) fn show(&self, name: &str, status: ServingStatus) {
        if let Some(shown) = self.0.known.get(name) {
            shown.send_if_modified(|old| std::mem::replace(old, status) != status);
        }
    }

    pub(super) fn show_all(&self, status: ServingStatus) {
        for name in self.0.known.keys() {
            self.show(name, status);
        }
    }

    /// Ends the streams of those who watch, now and from now on.
    pub(super) fn end_watches(&self) {
        self.0.end.cancel();
    }

    pub(super) fn server(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Board {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.0.known.get(&*request.get_ref().service) {
            Some(status) => Ok(Response::new(response(*status.borrow()))),
            None => Err(Status::not_found("unknown service")),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let shown = self.0.known.get(&*request.get_ref().service).unwrap_or(&self.0.unknown);
        let mut status = shown.subscribe();
        status.mark_changed();
        let told = stream::unfold(status, |mut status| async {
            status.changed().await.ok()?;
            let now = *status.borrow_and_update();
            Some((Ok(response(now)), status))
        });
        Ok(Response::new(told.take_until(self.0.end.clone().cancelled_owned()).boxed()))
    }
}
