//! Where spans go: OTLP, as the standard `OTEL_*` variables of the OpenTelemetry specification say.
//!
//! - `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`: there is an export only if one is set, and
//!   neither `OTEL_SDK_DISABLED=true` nor `OTEL_TRACES_EXPORTER=none` forbids it.
//! - `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, `OTEL_EXPORTER_OTLP_PROTOCOL`: `http/protobuf` (default) or `grpc`.
//! - `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`.
//! - `OTEL_TRACES_SAMPLER` (default `parentbased_always_on`) and its `_ARG`, `OTEL_EXPORTER_OTLP_*` for headers,
//!   compression and timeout, `OTEL_BSP_*`: the SDK reads these from the process environment itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::{
    KeyValue,
    trace::{SpanContext, TraceState},
};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    resource::TelemetryResourceDetector,
    trace::{self, Sampler, SdkTracerProvider, SpanData},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::runtime::Handle;

use super::Env;

#[cfg(test)]
mod tests;

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// The samplers of the specification that the SDK has. For any other it would quietly take its default.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// The specification's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the process is called where the variables do not say.
const DEFAULT_SERVICE_NAME: &str = env!("CARGO_PKG_NAME");

/// Why spans cannot be exported as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{key} must be one of {expected}")]
    Value { key: &'static str, expected: String },
    #[error("{0} is not a number of milliseconds above 0")]
    Timeout(&'static str),
    #[error("the OTLP exporter does not start")]
    Exporter(#[source] ExporterBuildError),
    #[error("the platform's certificate roots, which an https OTLP endpoint needs, cannot be read")]
    Roots(#[source] std::io::Error),
    #[error("exporting spans needs a tokio runtime")]
    Runtime,
}

/// What the variables ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    endpoint: String,
    protocol: Protocol,
    timeout: Duration,
}

/// The transports of OTLP that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// Exports on the runtime, where hyper and tonic find their timers and sockets, while the SDK's own thread waits. Says
/// once that exports fail, and once that they work again.
#[derive(Debug)]
struct Exporter<E> {
    inner: Arc<E>,
    runtime: Handle,
    failing: AtomicBool,
}

impl Settings {
    /// `None`: nothing is to be exported.
    fn read(env: Env<'_>) -> Result<Option<Self>, Error> {
        check(env, SAMPLER, &SAMPLERS)?;
        let exporter = check(env, EXPORTER, &["otlp", "none"])?;
        let disabled = given(env, DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if disabled || exporter.as_deref() == Some("none") {
            return Ok(None);
        }
        let [signal, general] = ENDPOINT;
        let endpoint = given(env, signal).or_else(|| given(env, general));
        let Some(endpoint) = endpoint else { return Ok(None) };
        let protocol = protocol(env)?;
        // The general endpoint is a base URL, the one for traces is meant as it is (OTLP specification).
        let endpoint = if protocol == Protocol::Http && given(env, signal).is_none() {
            format!("{}/v1/traces", endpoint.trim_end_matches('/'))
        } else {
            endpoint
        };
        Ok(Some(Self { endpoint, protocol, timeout: timeout(env)? }))
    }

    fn exporter(&self) -> Result<SpanExporter, Error> {
        let https = self.endpoint.starts_with("https:");
        match self.protocol {
            Protocol::Grpc => {
                let builder = SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(self.endpoint.as_str())
                    .with_timeout(self.timeout);
                if https {
                    builder.with_tls_config(ClientTlsConfig::new().with_native_roots()).build()
                } else {
                    builder.build()
                }
            }
            Protocol::Http => SpanExporter::builder()
                .with_http()
                .with_http_client(HyperClient::new(connector(https)?, self.timeout, None))
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_endpoint(self.endpoint.as_str())
                .with_timeout(self.timeout)
                .build(),
        }
        .map_err(Error::Exporter)
    }
}

impl<E> Exporter<E> {
    fn note(&self, result: &OTelSdkResult) {
        match result {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("trace export works again");
            }
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(error = ?error.to_string(), "trace export fails; spans are lost until it works again");
            }
            _ => {}
        }
    }
}

impl<E: trace::SpanExporter + 'static> trace::SpanExporter for Exporter<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            span.span_context = without_state(&span.span_context);
        }
        let inner = Arc::clone(&self.inner);
        let export = self.runtime.spawn(async move { inner.export(batch).await });
        let result =
            export.await.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        self.note(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Shared only while an export runs, and the SDK sets the resource before the first.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}

/// The tracer provider. Without an export it records nothing, but span contexts exist all the same: ids for the log,
/// and trace context for upstream.
pub(super) fn provider(env: Env<'_>) -> Result<SdkTracerProvider, Error> {
    let builder = SdkTracerProvider::builder();
    let Some(settings) = Settings::read(env)? else {
        // A trace that begins here is recorded by nobody; the caller's decision about its own is passed on.
        return Ok(builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build());
    };
    let runtime = Handle::try_current().map_err(|_| Error::Runtime)?;
    let inner = Arc::new(settings.exporter()?);
    let exporter = Exporter { inner, runtime, failing: AtomicBool::new(false) };
    Ok(builder.with_resource(resource(env)).with_batch_exporter(exporter).build())
}

/// What a caller has written into `tracestate` goes on to upstream, but is kept nowhere (promise P6).
fn without_state(context: &SpanContext) -> SpanContext {
    let (trace, span) = (context.trace_id(), context.span_id());
    SpanContext::new(trace, span, context.trace_flags(), context.is_remote(), TraceState::NONE)
}

fn resource(env: Env<'_>) -> Resource {
    let attributes = given(env, RESOURCE_ATTRIBUTES).unwrap_or_default();
    let attributes = attributes
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| KeyValue::new(key.trim().to_owned(), value.trim().to_owned()));
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(DEFAULT_SERVICE_NAME)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(attributes);
    match given(env, SERVICE_NAME) {
        Some(name) => resource.with_service_name(name),
        None => resource,
    }
    .build()
}

/// The value of a variable; an empty one counts as unset (OpenTelemetry specification).
fn given(env: Env<'_>, key: &str) -> Option<String> {
    env(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn first(env: Env<'_>, keys: [&'static str; 2]) -> Option<(&'static str, String)> {
    keys.into_iter().find_map(|key| Some((key, given(env, key)?)))
}

fn check(env: Env<'_>, key: &'static str, known: &[&str]) -> Result<Option<String>, Error> {
    match given(env, key) {
        Some(value) if !known.contains(&value.as_str()) => {
            Err(Error::Value { key, expected: known.join(", ") })
        }
        value => Ok(value),
    }
}

fn protocol(env: Env<'_>) -> Result<Protocol, Error> {
    match first(env, PROTOCOL) {
        None => Ok(Protocol::Http),
        Some((key, value)) => match value.as_str() {
            "http/protobuf" => Ok(Protocol::Http),
            "grpc" => Ok(Protocol::Grpc),
            _ => Err(Error::Value { key, expected: "grpc, http/protobuf".into() }),
        },
    }
}

fn timeout(env: Env<'_>) -> Result<Duration, Error> {
    let Some((key, value)) = first(env, TIMEOUT) else { return Ok(DEFAULT_TIMEOUT) };
    match value.parse() {
        Ok(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Error::Timeout(key)),
    }
}

/// A way to whatever takes what the gateway tells, of https or not. The platform's roots are read only where they are
/// needed: a minimal container image may have none.
///
/// # Errors
/// They cannot be read.
pub fn connector(https: bool) -> Result<HttpsConnector<HttpConnector>, Error> {
    let provider = aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if https {
        builder.with_provider_and_native_roots(provider).map_err(Error::Roots)?
    } else {
        let tls = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Roots(std::io::Error::other(error)))?;
        builder.with_tls_config(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    };
    Ok(builder.https_or_http().enable_http1().build())
}
