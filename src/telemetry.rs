//! What the gateway tells its operators: one log line and one trace span per call, and metrics.
//!
//! Log lines go to standard error. Spans are exported over OTLP when the standard `OTEL_*` variables ask for it (see
//! [`export`]); without them the tracer is still there, so that every call has a trace id and W3C trace context is
//! passed on. Metrics are pulled in Prometheus' text format ([`Metrics::encode`]).

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task;
use tonic::Code;
use tracing::{Metadata, Subscriber, level_filters::LevelFilter, subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, FilterFn, ParseError, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
};

use crate::error::{self, Origin, Sent};

pub mod export;
mod log;
pub mod metrics;
mod propagation;
mod span;
#[cfg(test)]
pub(crate) mod tests;

pub use log::{CallLine, chain, log_call};
pub use metrics::{InFlight, JwksResult, LimitedBy, Metrics};
pub use propagation::{inject, trace_id};
pub use span::{Inbound, System, client_span, finish_client, finish_server, name_span, server_span};

/// What is worth reading on an ordinary day: one line per call and what goes wrong.
const DEFAULT_LEVEL: &str = "info";

/// Libraries that are chatty below `warn`; a directive of the operator's own overrides each.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tonic=warn,tower=warn";

/// Never logged, whatever the operator's directive says: a line about an export must not depend on exports.
const SILENT: &str = "opentelemetry=off";

/// Only spans made by the gateway itself are exported, not those of hyper, h2 or tonic (which the exporter uses, too:
/// exports that make spans that are exported would never end).
const SPAN_TARGET: &str = "prebuild_gateway";

/// A collector that is down must not hold up the end of the process: orchestrators kill after 30 s, and the drain
/// comes first.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How the gateway logs. Traces are configured by the standard `OTEL_*` variables.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The form of the lines on standard error.
    pub log: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives as `tracing_subscriber::EnvFilter`
    /// has them, like `warn,prebuild_gateway::call=info`.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// One line for human eyes, coloured on a terminal.
    Pretty,
}

/// How a call was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It passed every check of the gateway.
    Allowed,
    /// The gateway refused it.
    Refused,
}

/// Telemetry that runs; [`Telemetry::shutdown`] sends what is still queued.
#[derive(Debug)]
#[must_use = "spans that are still queued are lost unless it is shut down"]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("telemetry.level: is not a level or a list of filter directives")]
    Level(#[source] ParseError),
    #[error(transparent)]
    Export(#[from] export::Error),
    #[error("another log subscriber is installed already")]
    Installed(#[source] subscriber::SetGlobalDefaultError),
}

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Default for Config {
    fn default() -> Self {
        Self { log: LogFormat::default(), level: DEFAULT_LEVEL.into() }
    }
}

impl Config {
    /// # Errors
    /// The level is none.
    pub fn check(&self) -> Result<(), Error> {
        self.filter().map(|_| ())
    }

    fn filter(&self) -> Result<EnvFilter, Error> {
        EnvFilter::try_new(format!("{QUIET},{},{SILENT}", self.level)).map_err(Error::Level)
    }
}

impl Decision {
    /// Of a call that has passed every rule, or has not, and how it ended. What counts beyond rules, as budgets do, refuses
    /// by name, and then nothing was forwarded.
    pub fn of(permitted: bool, error: Option<&error::Error>) -> Self {
        let by_name = |error: &error::Error| {
            error.origin != Origin::Upstream && error.rule.is_some() && error.sent == Sent::No
        };
        if permitted && !error.is_some_and(by_name) { Self::Allowed } else { Self::Refused }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
        }
    }
}

impl Telemetry {
    /// Sends the spans that are still queued and stops. Takes at most 5 s; what cannot be sent by then is lost.
    pub async fn shutdown(self) {
        // The SDK waits with a blocked thread for an export that itself needs the runtime.
        let stopped =
            task::spawn_blocking(move || self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)).await;
        match stopped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = ?error.to_string(), "trace spans are lost at shutdown"),
            Err(error) => tracing::warn!(error = ?error.to_string(), "trace export did not stop"),
        }
    }
}

/// Starts telemetry for the whole process, with log lines on standard error. To be called inside of a tokio runtime
/// (exports run there), once.
///
/// # Errors
/// The level or one of the `OTEL_*` variables makes no sense, or a global subscriber is set already.
pub fn init(config: &Config, env: Env<'_>) -> Result<Telemetry, Error> {
    let (subscriber, telemetry) = build(config, env, io::stderr)?;
    subscriber::set_global_default(subscriber).map_err(Error::Installed)?;
    Ok(telemetry)
}

/// Like [`init`], but installs nothing: for tests, which have a subscriber each.
///
/// # Errors
/// The level or one of the `OTEL_*` variables makes no sense.
pub fn build<W>(
    config: &Config,
    env: Env<'_>,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Telemetry), Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let provider = export::provider(env)?;
    Ok((subscriber(config, &provider, writer)?, Telemetry { provider }))
}

fn subscriber<W>(
    config: &Config,
    provider: &SdkTracerProvider,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = config.filter()?;
    // No location, thread or busy times: they say nothing about a call, and cost. No context activation: whoever needs
    // the context asks the span for it, so that entering a span at every poll stays cheap.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SPAN_TARGET))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(own_spans());
    // The lines stand alone: spans are not repeated in them.
    let lines = lines(config.log, writer).with_filter(filter.and(filter_fn(|metadata| metadata.is_event())));
    Ok(Registry::default().with(spans).with(lines))
}

/// Whether a code speaks of a fault of the server rather than of the request (OpenTelemetry's list for gRPC servers).
const fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn own_spans() -> FilterFn {
    FilterFn::new(is_own_span as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

fn is_own_span(metadata: &Metadata<'_>) -> bool {
    let rest = metadata.target().strip_prefix(SPAN_TARGET);
    metadata.is_span() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    match format {
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        LogFormat::Pretty => layer.with_ansi(io::stderr().is_terminal()).boxed(),
    }
}
