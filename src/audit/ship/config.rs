//! `[[audit.ship]]`

use std::{path::PathBuf, sync::Arc};

use http::{HeaderValue, Uri};
use object_store::{RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem, path::Path};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{
    client::Client,
    lines::Lines,
    otlp::{Grpc, Otlp, Way},
    store::Store,
};
use crate::{file::Credential, telemetry::export};

/// It names a file, and a series of metrics.
const MAX_NAME: usize = 32;
/// Where S3's own stores are, unless it is said.
const DEFAULT_REGION: &str = "us-east-1";

const NOT_A_URL: &str = "must be a URL of http or https, with a host";
const NO_ROOTS: &str = "the platform's certificate roots, which https needs, cannot be read";
const NOT_A_STORE: &str = "must be s3://BUCKET/PREFIX or file:///DIRECTORY";

/// `[[audit.ship]]`: one sink.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Config {
    /// OTLP logs.
    Otlp(OtlpConfig),
    /// A second file.
    File(FileConfig),
    /// The process's standard output.
    Stdout(StdoutConfig),
    /// A store of objects: closed segments.
    ObjectStore(StoreConfig),
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// 1 to 32 of a-z 0-9 -, used once: names the sink in metrics, and its position on disk.
    pub name: String,
    /// The URL that logs are posted to, with its path: `https://collector.example.com:4318/v1/logs`. Of gRPC without one:
    /// `https://collector.example.com:4317`.
    pub endpoint: String,
    /// Default: `http/protobuf`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Sent as `authorization: Bearer TOKEN`; over https only, or to a loopback address. Read at start.
    pub token: Option<Credential>,
}

/// OTLP's transports, called as in `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Protocol {
    #[default]
    #[serde(rename = "http/protobuf")]
    Http,
    #[serde(rename = "grpc")]
    Grpc,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// As of `otlp`.
    pub name: String,
    /// Appended to; not in `audit.directory`.
    pub path: PathBuf,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutConfig {
    /// As of `otlp`.
    pub name: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// As of `otlp`.
    pub name: String,
    /// `s3://BUCKET/PREFIX`, or `file:///DIRECTORY` of a file system that is mounted.
    pub url: String,
    /// Of a store like S3: its URL. Default: Amazon's of the region.
    pub endpoint: Option<String>,
    /// Default: `us-east-1`.
    pub region: Option<String>,
    /// Required of s3. Read at start, as the other one.
    pub access_key_id: Option<Credential>,
    /// Required of s3.
    pub secret_access_key: Option<Credential>,
}

/// A sink, as resolved.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) name: String,
    pub(super) sink: Sink,
}

/// The ways to ship.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    Lines(Lines),
    Otlp(Box<Otlp>),
    Store(Store),
}

/// Reads a secret; what is wrong is told without it.
pub type Secrets<'s> = &'s dyn Fn(&Credential) -> Result<SecretString, String>;

/// Why a sink cannot be shipped to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Of the entry.
    pub key: &'static str,
    pub problem: String,
}

impl Config {
    pub fn name(&self) -> &str {
        match self {
            Self::Otlp(OtlpConfig { name, .. })
            | Self::File(FileConfig { name, .. })
            | Self::Stdout(StdoutConfig { name })
            | Self::ObjectStore(StoreConfig { name, .. }) => name,
        }
    }

    /// The directory or file that it is shipped to, if it is one.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(file) => Some(file.path.clone()),
            Self::ObjectStore(store) => store.url.strip_prefix("file://").map(PathBuf::from),
            Self::Otlp(_) | Self::Stdout(_) => None,
        }
    }

    /// # Errors
    /// The first of its keys that cannot be shipped with.
    pub fn resolve(&self, secrets: Secrets<'_>) -> Result<Target, Invalid> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=MAX_NAME).contains(&self.name().len()) || !self.name().bytes().all(is_good) {
            return Err(invalid("name", "must be 1 to 32 of a-z 0-9 -"));
        }
        let sink = match self {
            Self::Otlp(otlp) => Sink::Otlp(Box::new(otlp.resolve(secrets)?)),
            Self::File(file) if file.path.as_os_str().is_empty() => {
                return Err(invalid("path", "must not be empty"));
            }
            Self::File(file) => Sink::Lines(Lines::file(file.path.clone())),
            Self::Stdout(_) => Sink::Lines(Lines::stdout()),
            Self::ObjectStore(store) => Sink::Store(store.resolve(secrets)?),
        };
        Ok(Target { name: self.name().to_owned(), sink })
    }
}

impl OtlpConfig {
    fn resolve(&self, secrets: Secrets<'_>) -> Result<Otlp, Invalid> {
        let endpoint = url(&self.endpoint).ok_or_else(|| invalid("endpoint", NOT_A_URL))?;
        let token = self.token.as_ref().map(secrets).transpose();
        let token = token.map_err(|problem| invalid("token", problem))?;
        if token.is_some() && !is_private(&endpoint) {
            return Err(invalid("token", "needs an endpoint of https, or on a loopback address"));
        }
        let authorization = token.map(|token| {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
            let mut value = value.map_err(|_| invalid("token", "must be one word of printable ASCII"))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let authorization = authorization.transpose()?;
        Ok(Otlp { way: self.way(endpoint)?, authorization })
    }

    fn way(&self, endpoint: Uri) -> Result<Way, Invalid> {
        match self.protocol {
            Protocol::Http => {
                let client = client(&endpoint).map_err(|error| invalid("endpoint", error))?;
                Ok(Way::Http { client, endpoint })
            }
            Protocol::Grpc if endpoint.path_and_query().is_some_and(|path| path != "/") => {
                Err(invalid("endpoint", "must have no path: gRPC has its own"))
            }
            Protocol::Grpc => {
                let grpc = Grpc::to(endpoint).map_err(|_| invalid("endpoint", NO_ROOTS))?;
                Ok(Way::Grpc(Arc::new(grpc)))
            }
        }
    }
}

impl StoreConfig {
    fn resolve(&self, secrets: Secrets<'_>) -> Result<Store, Invalid> {
        if let Some(directory) = self.url.strip_prefix("file://") {
            if !directory.starts_with('/') {
                return Err(invalid("url", NOT_A_STORE));
            }
            let store = LocalFileSystem::new().with_fsync(true);
            let prefix = Path::from_absolute_path(directory).map_err(|_| invalid("url", NOT_A_STORE))?;
            return Ok(Store { store: Arc::new(store), prefix });
        }
        self.s3(secrets)
    }

    fn s3(&self, secrets: Secrets<'_>) -> Result<Store, Invalid> {
        let (bucket, prefix) = self
            .url
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .filter(|(bucket, _)| !bucket.is_empty())
            .ok_or_else(|| invalid("url", NOT_A_STORE))?;
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| invalid("url", NOT_A_STORE))?;
        let secret = |key: &'static str, source: &Option<Credential>| {
            let source = source.as_ref().ok_or_else(|| invalid(key, "is required of s3"))?;
            secrets(source).map_err(|problem| invalid(key, problem))
        };
        let id = secret("access_key_id", &self.access_key_id)?;
        let key = secret("secret_access_key", &self.secret_access_key)?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.region.as_deref().unwrap_or(DEFAULT_REGION))
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(key.expose_secret())
            // The shipper tries again itself, for ever.
            .with_retry(RetryConfig { max_retries: 1, ..RetryConfig::default() });
        let endpoint = self.endpoint()?;
        let https = endpoint.as_ref().is_none_or(|uri| uri.scheme_str() == Some("https"));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/')).with_allow_http(!https);
        }
        let client = Client::new(https).map_err(|error| invalid("url", error))?;
        let store = builder.with_http_connector(client).build().map_err(|error| invalid("url", error))?;
        Ok(Store { store: Arc::new(store), prefix })
    }

    fn endpoint(&self) -> Result<Option<Uri>, Invalid> {
        let Some(endpoint) = &self.endpoint else { return Ok(None) };
        let uri = url(endpoint).ok_or_else(|| invalid("endpoint", NOT_A_URL))?;
        if is_private(&uri) {
            return Ok(Some(uri));
        }
        Err(invalid("endpoint", "must be of https, or on a loopback address: keys sign for it"))
    }
}

fn invalid(key: &'static str, problem: impl ToString) -> Invalid {
    Invalid { key, problem: problem.to_string() }
}

fn url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// Whether what is sent there is seen by nobody else.
fn is_private(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    uri.scheme_str() == Some("https") || is_loopback || host == "localhost"
}

fn client(endpoint: &Uri) -> Result<Client, export::Error> {
    Client::new(endpoint.scheme_str() == Some("https"))
}
