//! Names, codes and statuses of spans.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http::HeaderMap;
use opentelemetry::trace::Status;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tonic::Code;
use tracing::subscriber::with_default;

use super::{
    super::{Config, subscriber},
    Inbound, System, client_span, finish_client, finish_server, name_span, server_span,
};
use crate::{
    error::Reason,
    rpc::{GET_PREBUILD, PREBUILD_METHODS},
};

#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Ended {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn ended(test: impl FnOnce()) -> Vec<SpanData> {
    let spans = Ended::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    with_default(subscriber(&Config::default(), &provider, io::sink).unwrap(), test);
    provider.shutdown().unwrap();
    let mut spans = spans.0.lock().unwrap();
    std::mem::take(&mut *spans)
}

fn inbound(system: System) -> Inbound<u8> {
    Inbound { system, peer: None, local: None, request_id: 1 }
}

fn server(system: System, code: Code, reason: Option<Reason>) -> SpanData {
    let mut spans = ended(|| {
        let span = server_span(&HeaderMap::new(), &inbound(system));
        name_span(&span, None);
        finish_server(&span, system, code, reason);
    });
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

#[test]
fn an_unknown_method_leaves_no_trace_of_its_name() {
    let span = server(System::Grpc, Code::Unimplemented, Some(Reason::UnknownMethod));
    assert_eq!(span.name, "grpc");
    assert_eq!(attribute(&span, "rpc.method").as_deref(), Some("_OTHER"));
    assert_eq!(server(System::Connect, Code::Ok, None).name, "connectrpc");
}

#[test]
fn every_row_names_its_spans_before_and_after_they_began() {
    for method in PREBUILD_METHODS {
        let spans = ended(|| {
            let fresh = server_span(&HeaderMap::new(), &inbound(System::Grpc));
            name_span(&fresh, Some(method));
            let begun = server_span(&HeaderMap::new(), &inbound(System::Grpc));
            begun.in_scope(|| super::super::trace_id(&begun));
            name_span(&begun, Some(method));
        });
        let name = format!("gitpod.v1.PrebuildService/{}", method.name);
        assert!(spans.len() == 2 && spans.iter().all(|span| span.name == name));
        assert!(spans.iter().all(|span| attribute(span, "rpc.method").as_deref() == Some(&name)));
        for span in &spans {
            let count = span.attributes.iter().filter(|pair| pair.key.as_str() == "rpc.method").count();
            assert_eq!(count, 1, "each attribute once");
        }
    }
}

#[test]
fn only_faults_of_the_server_are_errors_of_a_server_span() {
    let faults = [
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ];
    for code in (0..17).map(Code::from_i32) {
        let span = server(System::Grpc, code, None);
        let is_error = matches!(span.status, Status::Error { .. });
        assert_eq!(is_error, faults.contains(&code), "{code:?}");
        assert_eq!(attribute(&span, "error.type").is_some(), is_error, "{code:?}");
        assert_eq!(
            attribute(&span, "rpc.response.status_code").as_deref(),
            Some(crate::error::code_name(code))
        );
    }
}

#[test]
fn connect_codes_are_spelled_as_connect_spells_them() {
    let code = |code| attribute(&server(System::Connect, code, None), "rpc.response.status_code");
    assert_eq!(code(Code::Ok), None);
    assert_eq!(code(Code::Cancelled).as_deref(), Some("canceled"));
    assert_eq!(code(Code::NotFound).as_deref(), Some("not_found"));
}

#[test]
fn every_code_but_ok_is_an_error_of_a_client_span() {
    for code in (0..17).map(Code::from_i32) {
        let spans = ended(|| {
            let span = client_span(&GET_PREBUILD, "api.example", 443, 1);
            finish_client(&span, None, code);
        });
        assert_eq!(matches!(spans[0].status, Status::Error { .. }), code != Code::Ok, "{code:?}");
        assert_eq!(attribute(&spans[0], "http.request.resend_count"), None);
        assert_eq!(attribute(&spans[0], "http.response.status_code"), None);
    }
}
