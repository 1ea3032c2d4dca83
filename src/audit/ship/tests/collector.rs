//! OTLP, as a collector gets it.

use std::collections::HashSet;

use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
};
use prost::Message as _;

use super::{Shipped, eventually, logged, server::Server};
use crate::{
    audit::ship::{
        Config,
        config::{OtlpConfig, Protocol},
    },
    file::Credential,
};

fn collector(server: &Server) -> Config {
    Config::Otlp(OtlpConfig {
        name: "collector".to_owned(),
        endpoint: format!("http://{}/v1/logs", server.address),
        protocol: Protocol::Http,
        token: Some(Credential::Env("TOKEN".to_owned())),
    })
}

/// What has come, in its order.
fn records(server: &Server) -> Vec<LogRecord> {
    let came = server.came.lock().unwrap();
    records_of(came.iter().map(|(_, body)| ExportLogsServiceRequest::decode(body.clone()).unwrap()))
}

pub(super) fn records_of(exports: impl IntoIterator<Item = ExportLogsServiceRequest>) -> Vec<LogRecord> {
    exports
        .into_iter()
        .flat_map(|export| export.resource_logs)
        .flat_map(|resource| resource.scope_logs)
        .flat_map(|scope| scope.log_records)
        .collect()
}

pub(super) fn body(record: &LogRecord) -> String {
    match record.body.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test]
async fn a_collector_gets_every_record_with_what_is_looked_for() {
    let server = Server::start().await;
    let shipped = Shipped::to(vec![collector(&server)]);
    shipped.intend(3).await;
    let audit = shipped.audit();
    let _directory = shipped.end().await;
    let found = records(&server);
    assert_eq!(found.iter().map(body).collect::<Vec<_>>(), logged(&audit));
    let intent = found.iter().find(|record| record.event_name.ends_with(".intent")).unwrap();
    let attribute = |key| text(&intent.attributes, key);
    assert_eq!(attribute("event.name"), "prebuild_gateway.audit.intent");
    assert_eq!(attribute("prebuild_gateway.org"), "acme");
    assert_eq!(attribute("rpc.service"), "gitpod.v1.PrebuildService");
    assert_eq!(attribute("rpc.method"), "CreatePrebuild");
    assert_eq!(attribute("log.record.uid").len(), 64);
    assert!(intent.time_unix_nano > 0 && intent.observed_time_unix_nano >= intent.time_unix_nano);
    let (parts, first) = server.came.lock().unwrap()[0].clone();
    assert_eq!((parts.method.as_str(), parts.uri.path()), ("POST", "/v1/logs"));
    assert_eq!(parts.headers["authorization"], "Bearer s3cret");
    assert_eq!(parts.headers["content-type"], "application/x-protobuf");
    let resource =
        ExportLogsServiceRequest::decode(first).unwrap().resource_logs[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "prebuild-gateway");
    assert_eq!(text(&resource.attributes, "service.instance.id"), "gateway-0");
}

#[tokio::test]
async fn a_collector_that_goes_and_comes_back_misses_nothing() {
    let server = Server::start().await;
    let shipped = Shipped::to(vec![collector(&server)]);
    shipped.intend(5).await;
    eventually("it ships", || records(&server).len() > 5).await;
    server.set_up(false);
    shipped.intend(5).await;
    let failures = "prebuild_gateway_audit_ship_failures_total{sink=\"collector\"}";
    eventually("it fails", || shipped.metrics.encode().contains(failures)).await;
    server.set_up(true);
    let audit = shipped.audit();
    eventually("it is back", || records(&server).len() >= logged(&audit).len()).await;
    let _directory = shipped.end().await;
    let (mut seen, found) = (HashSet::new(), records(&server));
    let once: Vec<_> = found.iter().map(body).filter(|body| seen.insert(body.clone())).collect();
    assert_eq!(once, logged(&audit));
}

/// By OTLP they are not sent again. They are in the log, and counted.
#[tokio::test]
async fn what_a_collector_rejects_is_counted_and_goes_by() {
    let server = Server::start().await;
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "too old".to_owned() };
    let answer = ExportLogsServiceResponse { partial_success: Some(partial) };
    server.answer(|manner| manner.says = answer.encode_to_vec().into());
    let shipped = Shipped::to(vec![collector(&server)]);
    shipped.intend(3).await;
    let (audit, metrics) = (shipped.audit(), shipped.metrics.clone());
    let _directory = shipped.end().await;
    let exports = server.came.lock().unwrap().len();
    let records = records(&server).len();
    assert_eq!(records, logged(&audit).len());
    for (name, count) in [("shipped", records - exports), ("ship_rejected", exports)] {
        let line = format!("prebuild_gateway_audit_{name}_records_total{{sink=\"collector\"}} {count}\n");
        assert!(metrics.encode().contains(&line), "{line}{}", metrics.encode());
    }
}
