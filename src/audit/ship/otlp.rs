//! OTLP logs: a record is one `LogRecord`.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsServiceRequest, ExportLogsServiceResponse, logs_service_client::LogsServiceClient,
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};
use prost::Message as _;
use tokio::time::timeout;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::{
    SinkError,
    batch::Batch,
    client::{Client, TIMEOUT},
};
use crate::audit::{read::View, tree::Hash};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// Events and attributes that OpenTelemetry has no name for stand below this.
const SCOPE: &str = "prebuild_gateway.audit";
/// Of what a collector says, so much is told.
const MAX_MESSAGE: usize = 200;
/// A connection that is dead is found out by then, and made anew.
const PING_EVERY: Duration = Duration::from_secs(10);

/// A collector of logs.
#[derive(Clone, Debug)]
pub(super) struct Otlp {
    pub(super) way: Way,
    /// `Bearer ...`; marked as sensitive.
    pub(super) authorization: Option<HeaderValue>,
}

/// By which of OTLP's transports.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Http { client: Client, endpoint: Uri },
    Grpc(Arc<Grpc>),
}

#[derive(Debug)]
pub(super) struct Grpc {
    endpoint: Endpoint,
    /// Made with the first batch: it needs the runtime, and a config can be checked without one.
    channel: OnceLock<Channel>,
}

impl Otlp {
    /// So many records of the batch the collector has rejected.
    ///
    /// # Errors
    /// It was not answered, or not with success. Whatever it says, the records are sent again: it is for the operator to
    /// find out why, as no record is given up.
    pub(super) async fn take(&self, batch: Arc<Batch>) -> Result<u64, SinkError> {
        let export = export(&batch, SystemTime::now());
        let answer = match &self.way {
            Way::Http { client, endpoint } => self.post(client, endpoint, &export).await?,
            Way::Grpc(grpc) => self.call(grpc, export).await?,
        };
        let Some(partial) = answer.partial_success else { return Ok(0) };
        let rejected = u64::try_from(partial.rejected_log_records).unwrap_or(0).min(batch.len() as u64);
        if rejected > 0 {
            // By the specification they must not be sent again; they are in the log all the same.
            let message: String = partial.error_message.chars().take(MAX_MESSAGE).collect();
            tracing::warn!(records = rejected, message = ?message, "the collector has rejected audit records");
        }
        Ok(rejected)
    }

    async fn post(
        &self,
        client: &Client,
        endpoint: &Uri,
        export: &ExportLogsServiceRequest,
    ) -> Result<ExportLogsServiceResponse, SinkError> {
        let mut request = Request::post(endpoint.clone()).header(CONTENT_TYPE, PROTOBUF);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let body = Full::new(Bytes::from(export.encode_to_vec()));
        let answer = client.send(request.body(body).map_err(std::io::Error::other)?).await?;
        if !answer.status().is_success() {
            return Err(SinkError::Status(answer.status()));
        }
        Ok(ExportLogsServiceResponse::decode(answer.into_body()).unwrap_or_default())
    }

    async fn call(
        &self,
        grpc: &Grpc,
        export: ExportLogsServiceRequest,
    ) -> Result<ExportLogsServiceResponse, SinkError> {
        let mut request = tonic::Request::new(export);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().as_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let mut client = LogsServiceClient::new(grpc.channel());
        let answer = timeout(TIMEOUT, client.export(request)).await.map_err(|_| SinkError::Slow)?;
        Ok(answer.map_err(|status| SinkError::Code(status.code()))?.into_inner())
    }
}

impl Grpc {
    /// # Errors
    /// The platform's certificate roots, which https needs, cannot be read.
    pub(super) fn to(endpoint: Uri) -> Result<Self, tonic::transport::Error> {
        let is_https = endpoint.scheme_str() == Some("https");
        let mut endpoint =
            Endpoint::from(endpoint).connect_timeout(TIMEOUT).http2_keep_alive_interval(PING_EVERY);
        if is_https {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        Ok(Self { endpoint, channel: OnceLock::new() })
    }

    fn channel(&self) -> Channel {
        self.channel.get_or_init(|| self.endpoint.connect_lazy()).clone()
    }
}

fn export(batch: &Batch, now: SystemTime) -> ExportLogsServiceRequest {
    let mut log = String::new();
    let mut records = Vec::with_capacity(batch.len());
    for record in batch.records() {
        let view = View::of(record).unwrap_or_default();
        if log.is_empty() {
            view.log().clone_into(&mut log);
        }
        records.push(log_record(&view, record, now));
    }
    let resource = vec![
        text("service.name", env!("CARGO_PKG_NAME")),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &log),
    ];
    let scope = InstrumentationScope { name: SCOPE.to_owned(), ..InstrumentationScope::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope),
                log_records: records,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// The record as it is, and beside it what is looked for most.
fn log_record(view: &View<'_>, record: &[u8], now: SystemTime) -> LogRecord {
    let event = format!("{SCOPE}.{}", view.stage());
    let (service, method) = view.method().rsplit_once('/').unwrap_or(("", view.method()));
    let named = [
        ("event.name", event.as_str()),
        ("user.id", view.subject()),
        ("prebuild_gateway.org", view.org()),
        ("prebuild_gateway.request_id", view.request_id()),
        ("rpc.service", service),
        ("rpc.method", method),
        ("rpc.response.status_code", view.code()),
    ];
    let mut attributes: Vec<_> = named
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| text(key, value))
        .collect();
    // What comes again has the same: by OpenTelemetry's conventions it may be dropped.
    attributes.push(text("log.record.uid", &Hash::leaf(record).to_string()));
    let sequence = i64::try_from(view.sequence()).unwrap_or(i64::MAX);
    attributes.push(attribute("prebuild_gateway.audit.sequence", Value::IntValue(sequence)));
    let severity = match view.stage() {
        "gap" | "recovered" => SeverityNumber::Warn,
        _ => SeverityNumber::Info,
    };
    LogRecord {
        time_unix_nano: u64::try_from(view.time).unwrap_or_default().saturating_mul(1_000_000),
        observed_time_unix_nano: nanoseconds(now),
        severity_number: severity.into(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(String::from_utf8_lossy(record).into_owned())),
        }),
        attributes,
        trace_id: trace_id(view.trace_id()).unwrap_or_default(),
        event_name: event,
        ..LogRecord::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// 32 hex digits.
fn trace_id(hex: &str) -> Option<Vec<u8>> {
    let number = u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32)?;
    Some(number.to_be_bytes().to_vec())
}
