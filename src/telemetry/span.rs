//! The spans of a call: one server span, and one client span per upstream attempt.
//!
//! Names and attributes follow the OpenTelemetry semantic conventions for RPC, version 1.44.0 (release candidate): the
//! method is one attribute with its service, and there is one status code attribute for all protocols. (Versions up to
//! 1.37 had `rpc.system`, `rpc.service` and `rpc.grpc.status_code`.)
//!
//! Span names have as many values as the method table has rows, plus one per protocol. What a caller chooses freely
//! (unknown paths, hosts, header values) is not recorded: it could be endless, or a secret.

use std::{fmt, net::SocketAddr};

use http::HeaderMap;
use opentelemetry::trace::{Status, TraceContextExt};
use tonic::Code;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{is_server_fault, propagation};
use crate::{
    error::{Reason, code_name},
    rpc::MethodSpec,
};

#[cfg(test)]
mod tests;

/// Attributes that are known only after the span has begun.
const METHOD: &str = "rpc.method";
const STATUS_CODE: &str = "rpc.response.status_code";
const HTTP_STATUS_CODE: &str = "http.response.status_code";
const ERROR_TYPE: &str = "error.type";
const REASON: &str = "prebuild_gateway.reason";

/// `rpc.method` of what the method table does not know.
const OTHER: &str = "_OTHER";

/// What is known of a request before its path is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<I> {
    pub system: System,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// This end of the connection.
    pub local: Option<SocketAddr>,
    pub request_id: I,
}

/// The RPC system that a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// gRPC and gRPC-Web.
    Grpc,
    Connect,
}

impl System {
    /// `rpc.system.name`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Connect => "connectrpc",
        }
    }

    /// `rpc.response.status_code`: in the system's own spelling. Connect has no name for success.
    fn status_code(self, code: Code) -> Option<String> {
        match self {
            Self::Grpc => Some(code_name(code).to_owned()),
            Self::Connect if code == Code::Ok => None,
            Self::Connect if code == Code::Cancelled => Some("canceled".into()),
            Self::Connect => Some(code_name(code).to_ascii_lowercase()),
        }
    }
}

/// The span of one call, as a child of the caller's span if the headers name one, else as the root of a new trace.
/// [`name_span`] names it, [`finish_server`] ends what it tells; it is exported when the last clone of it is gone.
pub fn server_span<I: fmt::Display>(headers: &HeaderMap, inbound: &Inbound<I>) -> Span {
    let system = inbound.system.as_str();
    let span = info_span!(
        parent: None,
        "rpc",
        otel.name = system,
        otel.kind = "server",
        rpc.system.name = system,
        network.protocol.name = "http",
        server.address = inbound.local.map(|local| display(local.ip())),
        server.port = inbound.local.map(|local| i64::from(local.port())),
        client.address = inbound.peer.map(|peer| display(peer.ip())),
        client.port = inbound.peer.map(|peer| i64::from(peer.port())),
        prebuild_gateway.request_id = %inbound.request_id,
    );
    // It fails where nothing records spans; there is no trace to be part of then.
    let _ = span.set_parent(propagation::extract(headers));
    span
}

/// Names a server span after its method. `None`: the path names none; the span keeps the protocol's name.
pub fn name_span(span: &Span, method: Option<&'static MethodSpec>) {
    if let Some(method) = method {
        // Through the context: a span that has begun takes no new name from `tracing`.
        span.context().span().update_name(full_name(method));
    }
    // Once per span: the SDK appends, it does not replace.
    span.set_attribute(METHOD, method.map_or(OTHER, full_name));
}

/// Tells how a call ended. Only codes that speak of a fault of the server make the span an error.
pub fn finish_server(span: &Span, system: System, code: Code, reason: Option<Reason>) {
    let status_code = system.status_code(code);
    if let Some(reason) = reason {
        span.set_attribute(REASON, reason.as_str());
    }
    if is_server_fault(code) {
        span.set_status(Status::error(reason.map_or("", Reason::as_str)));
        if let Some(name) = status_code.clone() {
            span.set_attribute(ERROR_TYPE, name);
        }
    }
    if let Some(name) = status_code {
        span.set_attribute(STATUS_CODE, name);
    }
}

/// The span of one try to get an answer from upstream, as a child of the current span. `address` is the host that the
/// config names; `attempt` counts from 1.
pub fn client_span(method: &'static MethodSpec, address: &str, port: u16, attempt: u32) -> Span {
    let name = full_name(method);
    info_span!(
        "rpc",
        otel.name = name,
        otel.kind = "client",
        rpc.system.name = System::Connect.as_str(),
        rpc.method = name,
        network.protocol.name = "http",
        server.address = address,
        server.port = i64::from(port),
        http.request.method = "POST",
        http.request.resend_count = (attempt > 1).then(|| i64::from(attempt - 1)),
    )
}

/// Tells how an attempt ended: the HTTP status, if there was an answer, and what it was taken for.
pub fn finish_client(span: &Span, http_status: Option<u16>, code: Code) {
    if let Some(status) = http_status {
        span.set_attribute(HTTP_STATUS_CODE, i64::from(status));
    }
    // For a client, every code but OK is an error.
    if let Some(name) = System::Connect.status_code(code) {
        span.set_status(Status::error(""));
        span.set_attribute(ERROR_TYPE, name.clone());
        span.set_attribute(STATUS_CODE, name);
    }
}

/// `gitpod.v1.PrebuildService/CreatePrebuild`
fn full_name(method: &'static MethodSpec) -> &'static str {
    method.path.trim_start_matches('/')
}
