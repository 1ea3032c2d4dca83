//! Telemetry as a whole, against an OTLP receiver in this process.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span as Exported, span::SpanKind},
};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tonic::{Code, body::Body};
use tower::Service;
use tracing::subscriber::set_default;

use super::{
    Config, Inbound, LogFormat, SHUTDOWN_TIMEOUT, System, build, client_span, finish_client, finish_server,
    inject, name_span, server_span, trace_id,
};
use crate::{error::Reason, rpc::CREATE_PREBUILD};

pub(super) const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(super) const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Log lines, kept.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// A writer for each line.
    pub(crate) fn writer(&self) -> impl Fn() -> Self + Send + Sync + use<> {
        let kept = self.clone();
        move || kept.clone()
    }
}

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An environment of these variables alone.
pub(super) fn env<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |key| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
}

#[derive(Clone)]
struct Receiver(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    /// OTLP over HTTP and over gRPC on one port.
    async fn receive(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        if request.uri().path() != "/v1/traces" {
            return TraceServiceServer::new(self).call(request).await;
        }
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.0.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
        Ok(Response::new(Body::new(Full::new(Bytes::new()))))
    }
}

async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let receiver = Receiver(sender.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| receiver.clone().receive(request));
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, received)
}

/// One call with one upstream attempt, as the gateway makes them. Returns the headers that upstream gets.
fn call(headers: &HeaderMap) -> HeaderMap {
    let peer = Some("192.0.2.7:4711".parse().unwrap());
    let local = Some("127.0.0.1:8080".parse().unwrap());
    let server = server_span(headers, &Inbound { system: System::Grpc, peer, local, request_id: "r-1" });
    assert!(trace_id(&server).is_some());
    name_span(&server, Some(&CREATE_PREBUILD));
    let mut upstream = HeaderMap::new();
    server.in_scope(|| {
        let _foreign = tracing::info_span!(target: "hyper", "foreign").entered();
        let client = client_span(&CREATE_PREBUILD, "api.example", 443, 2);
        client.in_scope(|| inject(&client, &mut upstream));
        finish_client(&client, Some(503), Code::Unavailable);
    });
    finish_server(&server, System::Grpc, Code::Unavailable, Some(Reason::UpstreamUnreachable));
    upstream
}

async fn export(protocol: &str, headers: &HeaderMap) -> (Vec<ResourceSpans>, HeaderMap) {
    let (address, mut received) = receiver().await;
    let endpoint = format!("http://{address}");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test, service.name=lesser"),
        ("OTEL_SERVICE_NAME", "edge"),
    ];
    let lines = Kept::default();
    let config = Config { level: "trace".into(), log: LogFormat::Json };
    let (subscriber, telemetry) = build(&config, &env(&variables), lines.writer()).unwrap();
    let guard = set_default(subscriber);
    let upstream = call(headers);
    telemetry.shutdown().await;
    drop(guard);
    assert!(!lines.text().contains("opentelemetry"), "{}", lines.text());
    // Shutdown has flushed: what is to come is there.
    let mut spans = Vec::new();
    while let Ok(request) = received.try_recv() {
        spans.extend(request.resource_spans);
    }
    (spans, upstream)
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn of_kind(spans: &[ResourceSpans], kind: SpanKind) -> Exported {
    let mut found = spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .filter(|span| span.kind() == kind);
    let span = found.next().unwrap().clone();
    assert!(found.next().is_none());
    span
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_attributes(span: &Exported, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(attribute(&span.attributes, key).as_deref(), Some(*value), "{key}");
    }
}

async fn spans_arrive_by(protocol: &str) {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", TRACEPARENT.parse().unwrap());
    headers.insert("tracestate", "vendor=1".parse().unwrap());
    let (spans, upstream) = export(protocol, &headers).await;

    let all: usize = spans.iter().flat_map(|spans| &spans.scope_spans).map(|scope| scope.spans.len()).sum();
    assert_eq!(all, 2, "only the gateway's own spans are exported");
    let resource = spans[0].resource.clone().unwrap().attributes;
    assert_eq!(attribute(&resource, "service.name").as_deref(), Some("edge"));
    assert_eq!(attribute(&resource, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(attribute(&resource, "deployment.environment.name").as_deref(), Some("test"));

    let server = of_kind(&spans, SpanKind::Server);
    assert_eq!(server.name, "gitpod.v1.PrebuildService/CreatePrebuild");
    assert_eq!(hex(&server.trace_id), TRACE_ID);
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    let status = server.status.clone().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "UPSTREAM_UNREACHABLE"));
    assert_attributes(
        &server,
        &[
            ("rpc.system.name", "grpc"),
            ("rpc.method", "gitpod.v1.PrebuildService/CreatePrebuild"),
            ("rpc.response.status_code", "UNAVAILABLE"),
            ("error.type", "UNAVAILABLE"),
            ("client.address", "192.0.2.7"),
            ("client.port", "4711"),
            ("server.address", "127.0.0.1"),
            ("server.port", "8080"),
            ("prebuild_gateway.request_id", "r-1"),
            ("prebuild_gateway.reason", "UPSTREAM_UNREACHABLE"),
        ],
    );

    let client = of_kind(&spans, SpanKind::Client);
    assert_eq!(client.name, server.name);
    assert_eq!(client.trace_id, server.trace_id);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_attributes(
        &client,
        &[
            ("rpc.system.name", "connectrpc"),
            ("rpc.response.status_code", "unavailable"),
            ("error.type", "unavailable"),
            ("http.request.method", "POST"),
            ("http.request.resend_count", "1"),
            ("http.response.status_code", "503"),
            ("server.address", "api.example"),
            ("server.port", "443"),
        ],
    );
    assert_eq!(upstream["traceparent"], format!("00-{TRACE_ID}-{}-01", hex(&client.span_id)).as_str());
    assert_eq!(upstream["tracestate"], "vendor=1");
}

#[tokio::test]
async fn spans_arrive_over_grpc() {
    spans_arrive_by("grpc").await;
}

#[tokio::test]
async fn spans_arrive_over_http() {
    spans_arrive_by("http/protobuf").await;
}

#[tokio::test]
async fn what_the_caller_does_not_sample_is_not_exported_but_passed_on() {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{TRACE_ID}-00f067aa0ba902b7-00").parse().unwrap());
    let (spans, upstream) = export("grpc", &headers).await;
    assert!(spans.is_empty());
    let traceparent = upstream["traceparent"].to_str().unwrap();
    assert!(traceparent.starts_with(&format!("00-{TRACE_ID}-")) && traceparent.ends_with("-00"));
}

#[tokio::test]
async fn a_collector_that_is_gone_fails_no_call_and_holds_up_no_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let (subscriber, telemetry) = build(&Config::default(), &env(&variables), io::sink).unwrap();
    let _guard = set_default(subscriber);
    let upstream = call(&HeaderMap::new());
    assert!(upstream.contains_key("traceparent"));
    timeout(SHUTDOWN_TIMEOUT + Duration::from_secs(1), telemetry.shutdown()).await.unwrap();
}

#[test]
fn a_level_that_is_none_does_not_start() {
    let config = Config { level: "loud=very".into(), ..Config::default() };
    let error = build(&config, &env(&[]), io::sink).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("telemetry.level"));
}
