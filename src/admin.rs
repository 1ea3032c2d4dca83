//! The operator's port: is the process alive, is it ready, what does it count. Nothing of it is meant for callers.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200, or 503 while a required check fails; the checks as JSON |
//! | `/metrics` | OpenMetrics text |

use std::{borrow::Cow, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use crate::server::{Config, Invalid, Server, Shutdown, Summary};

#[cfg(test)]
mod tests;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// What `prometheus-client` encodes and Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A few probes, a scraper and an operator.
const MAX_CONNECTIONS: usize = 32;
/// HTTP/2 is nobody's habit here.
const MAX_CONCURRENT_STREAMS: u32 = 8;
/// Requests have no body and few headers.
const MAX_HEADER_LIST_SIZE: u32 = 8 * 1024;
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// More than the minute between two scrapes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Answers are made at once: only a client that does not read takes longer.
const GRACE: Duration = Duration::from_secs(1);

/// What the port shows.
pub trait Status: Send + Sync + 'static {
    /// Whether the process should get traffic. Asked at every probe, so it must be quick and must not block.
    fn ready(&self) -> Readiness;

    /// The metrics as OpenMetrics text.
    fn metrics(&self) -> String;
}

/// The checks behind "ready". The process is ready when all required ones are fine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: Cow<'static, str>,
    pub ok: bool,
    /// Whether it can unready the process. Upstream's state must not: if upstream is gone all replicas see it, and
    /// with none ready callers would get resets in place of an answer.
    pub required: bool,
    /// What is the matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'static, str>>,
}

/// `/readyz` as JSON.
#[derive(Serialize)]
struct Report<'a> {
    ready: bool,
    checks: &'a [Check],
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.ok || !check.required)
    }
}

impl Check {
    /// A check that the process is not ready without.
    pub fn required(name: impl Into<Cow<'static, str>>, ok: bool) -> Self {
        Self { name: name.into(), ok, required: true, detail: None }
    }

    /// A check that is shown and no more.
    pub fn shown(name: impl Into<Cow<'static, str>>, ok: bool) -> Self {
        Self { name: name.into(), ok, required: false, detail: None }
    }

    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Serves the port until `stop` is cancelled. That is later than the main port's drain: a draining process says so
/// here to the end.
///
/// # Errors
/// The fixed settings are out of bounds, which a test rules out.
pub async fn serve(
    listener: TcpListener,
    status: Arc<dyn Status>,
    stop: CancellationToken,
) -> Result<Summary, Invalid> {
    let server = Server::new(config(), Shutdown { grace: GRACE })?;
    let service = tower::service_fn(move |request: Request<Body>| {
        let response = respond(request.method(), request.uri().path(), &*status);
        async { Ok::<_, Infallible>(response) }
    });
    Ok(server.serve(listener, service, stop).await)
}

/// Small and fixed: the port is not configured, and must not become the way around the main port's limits.
fn config() -> Config {
    Config {
        max_connections: MAX_CONNECTIONS,
        max_concurrent_streams: MAX_CONCURRENT_STREAMS,
        max_header_list_size: MAX_HEADER_LIST_SIZE,
        first_request_timeout: FIRST_REQUEST_TIMEOUT,
        header_read_timeout: IDLE_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        linger: GRACE,
        ..Config::default()
    }
}

fn respond(method: &Method, path: &str, status: &dyn Status) -> Response<Body> {
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return answer(method, StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = answer(method, StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD only\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/readyz" => readiness(method, &status.ready()),
        "/metrics" => answer(method, StatusCode::OK, OPEN_METRICS, status.metrics()),
        _ => answer(method, StatusCode::OK, TEXT, "ok\n"),
    }
}

fn readiness(method: &Method, readiness: &Readiness) -> Response<Body> {
    let ready = readiness.is_ready();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_vec(&Report { ready, checks: &readiness.checks }) {
        Ok(json) => answer(method, code, JSON, json),
        Err(_) => answer(method, StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no report\n"),
    }
}

fn answer(
    method: &Method,
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = body.into();
    let length = body.len();
    // HEAD gets the headers of GET; HTTP/2 would send a body if there were one.
    let body = if method == Method::HEAD { Body::empty() } else { Body::new(Full::new(body)) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
