//! `call`: one call of a gateway over gRPC, JSON in and JSON out.

use std::{
    error::Error as _,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use clap::builder::PossibleValuesParser;
use http::uri::Scheme;
use prost::Message as _;
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use super::{EXIT_BASE, Failure, complain, message, print, verdict::Shown};
use crate::{
    connect::json::to_json,
    error::{Detail as _, code_name},
    front::{DRY_RUN, POLICY_WARNING, grpc::Raw},
    proto::prebuildgateway::v1::Verdict,
    rpc::{MethodSpec, methods},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_parser = PossibleValuesParser::new(methods().map(|method| method.name)))]
    method: String,
    /// The request message.
    #[arg(default_value = "{}")]
    json: String,
    /// The gateway, `https://host:port` or `http://host:port`.
    #[arg(long, env = "PREBUILD_GATEWAY_ADDRESS", default_value = "http://127.0.0.1:8080")]
    address: String,
    /// PEM file with the CA certificates to trust instead of the platform's, for https.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file with a client certificate to show, and those between it and its CA; for https.
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// PEM file with that certificate's private key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
    /// The caller's API key.
    #[arg(long, env = "PREBUILD_GATEWAY_KEY", hide_env_values = true)]
    key: Option<String>,
    /// How long to wait, like `500ms` or `10s`; the gateway's default otherwise.
    #[arg(long, value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Ask what would become of the call, and make none; the key needs the scope `explain`.
    #[arg(long)]
    dry_run: bool,
    /// Further request metadata, `name: value`; may stand several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    // clap has let through only names of the table.
    let method = methods().find(|method| method.name == args.method);
    let method = method.ok_or_else(|| Failure::new("no such method"))?;
    let request = args.request(method)?;
    let channel = args.endpoint()?.connect().await;
    let channel = channel.map_err(|error| {
        Failure::new(format!("no connection to {}{}", args.address, mistrust(&error).unwrap_or_default()))
    })?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Failure::new(error.to_string()))?;
    match client.unary(request, PathAndQuery::from_static(method.path), Raw).await {
        Ok(response) => {
            complain(warnings(response.metadata()));
            print(format_args!("{}\n", pretty(method, response.get_ref())?))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(status) => {
            complain(warnings(status.metadata()));
            complain(explain(&status));
            if let Some(verdict) = verdict(&status) {
                print(Shown(&verdict))?;
            }
            let code = u8::try_from(status.code() as i32).unwrap_or_default();
            Ok(ExitCode::from(EXIT_BASE + code))
        }
    }
}

/// `name: value`
fn header(text: &str) -> Result<(MetadataKey<Ascii>, MetadataValue<Ascii>), String> {
    let (name, value) = text.split_once(':').ok_or("is not `name: value`")?;
    let name = name.trim().to_ascii_lowercase().parse().map_err(|_| "has no metadata name")?;
    Ok((name, value.trim().parse().map_err(|_| "has no metadata value")?))
}

fn pem(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| format!("the {what} `{}` cannot be read: {error}", path.display());
    fs::read(path).map_err(|error| Failure::new(unreadable(error)))
}

/// What TLS has to say of a failed connection.
fn mistrust(error: &tonic::transport::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref()?.downcast_ref())
        {
            let tls: &rustls::Error = tls;
            return Some(format!(": {tls}"));
        }
        cause = error.source();
    }
    None
}

impl Args {
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let endpoint = Endpoint::new(self.address.clone()).map_err(|_| {
            Failure::new(format!("`{}` is not an address like http://127.0.0.1:8080", self.address))
        })?;
        if endpoint.uri().scheme() != Some(&Scheme::HTTPS) {
            // Whoever means to show a certificate must not speak plaintext unnoticed.
            return match self.ca_file.as_ref().or(self.certificate.as_ref()) {
                Some(_) => Err(Failure::new("--ca-file and --certificate need an https address")),
                None => Ok(endpoint),
            };
        }
        let tls = ClientTlsConfig::new();
        let tls = match &self.ca_file {
            None => tls.with_native_roots(),
            Some(path) => tls.ca_certificate(Certificate::from_pem(pem(path, "CA file")?)),
        };
        let tls = match (&self.certificate, &self.certificate_key) {
            (Some(certificate), Some(key)) => {
                let certificate = pem(certificate, "certificate")?;
                tls.identity(Identity::from_pem(certificate, pem(key, "certificate's key")?))
            }
            _ => tls,
        };
        endpoint.tls_config(tls).map_err(|_| Failure::new("the certificates, or the key, cannot be used"))
    }

    fn request(&self, method: &'static MethodSpec) -> Result<Request<Bytes>, Failure> {
        let wire = message::read(method, &self.json).map_err(Failure::new)?;
        let mut request = Request::new(wire);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        for (name, value) in &self.headers {
            request.metadata_mut().append(name.clone(), value.clone());
        }
        if self.dry_run {
            request.metadata_mut().insert(DRY_RUN, MetadataValue::from_static("1"));
        }
        if let Some(key) = &self.key {
            let value =
                format!("Bearer {key}").parse().map_err(|_| Failure::new("the key is no header value"))?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// The reply as JSON, indented, in the order of the proto.
fn pretty(method: &'static MethodSpec, wire: &[u8]) -> Result<String, Failure> {
    let broken = || Failure::new("the reply cannot be read");
    let output = method.output().ok_or_else(broken)?;
    let wire = method.recode(wire).map_err(|_| broken())?;
    let json = to_json((method.schema)(), output, &wire).map_err(|_| broken())?;
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::pretty(&mut text);
    serde_transcode::transcode(&mut serde_json::Deserializer::from_slice(&json), &mut writer)
        .map_err(|_| broken())?;
    String::from_utf8(text).map_err(|_| broken())
}

/// What the policy has to say of a call, whether it passed or not.
fn warnings(metadata: &MetadataMap) -> String {
    let warnings = metadata.get_all(POLICY_WARNING).iter().filter_map(|warning| warning.to_str().ok());
    warnings.map(|warning| format!("warning: {warning}\n")).collect()
}

/// Code, message and every detail that is known.
fn explain(status: &Status) -> String {
    let mut text = format!("{}: {}\n", code_name(status.code()), status.message());
    let details = status.get_error_details();
    let mut line = |label: &str, value: &str| _ = writeln!(text, "  {label:<12}{value}");
    if let Some(info) = details.error_info() {
        line("reason", &format!("{} ({})", info.reason, info.domain));
        let mut metadata: Vec<_> = info.metadata.iter().collect();
        metadata.sort();
        for (name, value) in metadata {
            line(name, value);
        }
    }
    explain_fields(&details, &mut line);
    for link in details.help().map(|help| &help.links).into_iter().flatten() {
        line("link", &format!("{} {}", link.url, link.description));
    }
    if let Some(wait) = details.retry_info().and_then(|info| info.retry_delay) {
        line("retry in", &humantime::format_duration(wait).to_string());
    }
    text
}

/// Of a dry run.
fn verdict(status: &Status) -> Option<Verdict> {
    let details = pb::Status::decode(status.details()).ok()?.details;
    let verdict = details.iter().find(|any| Verdict::is(any))?;
    Verdict::decode(&verdict.value[..]).ok()
}

fn explain_fields(details: &ErrorDetails, line: &mut impl FnMut(&str, &str)) {
    for violation in details.bad_request().map(|request| &request.field_violations).into_iter().flatten() {
        line("field", &format!("{} {}", violation.field, violation.description));
    }
    for violation in details.quota_failure().map(|failure| &failure.violations).into_iter().flatten() {
        line("quota", &format!("{}: {}", violation.subject, violation.description));
    }
}
