//! OTLP over gRPC, to a collector in this process.

use std::sync::{Arc, Mutex};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
    logs_service_server::{LogsService, LogsServiceServer},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

use super::{Shipped, collector, eventually, logged, secret};
use crate::{
    audit::ship::{
        Config,
        config::{OtlpConfig, Protocol},
    },
    file::Credential,
};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_down: bool,
    authorization: String,
    came: Vec<ExportLogsServiceRequest>,
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        if state.is_down {
            return Err(Status::resource_exhausted("not now"));
        }
        let authorization = request.metadata().get("authorization").unwrap();
        authorization.to_str().unwrap().clone_into(&mut state.authorization);
        state.came.push(request.into_inner());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, Config, DropGuard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop, collector) =
            (listener.local_addr().unwrap(), CancellationToken::new(), Self::default());
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, collector.clone())));
        (collector, config(&format!("http://{address}")), stop.drop_guard())
    }

    fn bodies(&self) -> Vec<String> {
        let exports = self.0.lock().unwrap().came.clone();
        collector::records_of(exports).iter().map(collector::body).collect()
    }
}

async fn serve(listener: TcpListener, collector: Collector) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(LogsServiceServer::new(collector.clone()));
        tokio::spawn(
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service),
        );
    }
}

fn config(endpoint: &str) -> Config {
    Config::Otlp(OtlpConfig {
        name: "collector".to_owned(),
        endpoint: endpoint.to_owned(),
        protocol: Protocol::Grpc,
        token: Some(Credential::Env("TOKEN".to_owned())),
    })
}

#[tokio::test]
async fn a_collector_of_grpc_gets_every_record_though_it_was_away() {
    let (collector, config, _stop) = Collector::start().await;
    let shipped = Shipped::to(vec![config]);
    shipped.intend(3).await;
    eventually("it ships", || collector.bodies().len() > 3).await;
    assert_eq!(collector.0.lock().unwrap().authorization, "Bearer s3cret");
    collector.0.lock().unwrap().is_down = true;
    shipped.intend(3).await;
    let failures = "prebuild_gateway_audit_ship_failures_total{sink=\"collector\"}";
    eventually("it fails", || shipped.metrics.encode().contains(failures)).await;
    collector.0.lock().unwrap().is_down = false;
    let audit = shipped.audit();
    eventually("it is back", || collector.bodies().len() >= logged(&audit).len()).await;
    let _directory = shipped.end().await;
    assert_eq!(collector.bodies(), logged(&audit));
}

/// A config can be checked where there is no runtime, and a path would go unused.
#[test]
fn an_endpoint_of_grpc_is_one_without_a_path() {
    for endpoint in ["http://127.0.0.1:4317", "http://127.0.0.1:4317/"] {
        assert!(config(endpoint).resolve(&secret).is_ok(), "{endpoint}");
    }
    let invalid = config("http://127.0.0.1:4317/v1/logs").resolve(&secret).unwrap_err();
    assert_eq!((invalid.key, &*invalid.problem), ("endpoint", "must have no path: gRPC has its own"));
}
