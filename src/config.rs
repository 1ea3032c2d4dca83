//! The configuration: every room's own section, read from TOML, checked whole before anything starts.
//!
//! As written ([`Config`]) -> as resolved ([`Resolved`]). An error names the key (promise P15). Only this room reads
//! files and the environment.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    audit, budget,
    call::OrgId,
    connect::metadata::AllowList,
    file::{self, Access},
    front,
    identity::{
        api_key::{self, Keys},
        certificate::{self, Certificates},
        introspect, jwt as identity_jwt,
    },
    limit, policy,
    rule::Rate,
    server::{self, Tls},
    store, telemetry, upstream,
};

mod bounds;
mod certificates;
mod ids;
mod jwt;
pub mod keys;
mod org;
mod parting;
mod redis;
#[cfg(test)]
mod tests;
mod upstream_tokens;

pub use crate::file::Credential;
pub use jwt::{Fetched, Tokens};
pub use keys::KeyFile;
pub use org::{CredentialFile, Org};
pub use parting::Pages;

/// Where `serve` listens unless told otherwise: loopback, as there is no certificate by default.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

/// A key must stop working within a second of its removal, and a change counts when two looks have seen the same.
const DEFAULT_RELOAD_INTERVAL: Duration = Duration::from_millis(250);

/// The configuration as it is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where callers connect, `address:port`.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are, `address:port`; not for callers.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// TLS on `listen`. Without it callers speak plaintext.
    #[serde(default)]
    pub tls: Option<server::tls::Config>,
    #[serde(default)]
    pub server: server::Config,
    #[serde(default)]
    pub shutdown: server::Shutdown,
    #[serde(default)]
    pub telemetry: telemetry::Config,
    pub identity: Identity,
    #[serde(default)]
    pub requests: front::Config,
    #[serde(default)]
    pub cors: front::cors::Config,
    #[serde(default)]
    pub reflection: front::reflect::Config,
    #[serde(default)]
    pub deadline: front::deadline::Config,
    #[serde(default)]
    pub limits: limit::Config,
    #[serde(default)]
    pub budgets: budget::Config,
    #[serde(default)]
    pub validation: policy::Config,
    pub audit: audit::Config,
    /// What parts the orgs from one another upstream.
    #[serde(default)]
    pub tenancy: upstream::Mode,
    /// Page tokens of `tenancy = "strict"`.
    #[serde(default)]
    pub pages: Option<Pages>,
    pub upstream: upstream::Config,
    /// The organisations; at least one.
    pub orgs: Vec<Org>,
}

/// `[identity]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Who may call by an API key; at least one, unless there is another way to be known.
    pub api_keys: Vec<api_key::Config>,
    /// Who may call by a client certificate; needs `tls.client_ca`.
    pub certificates: Vec<certificate::Config>,
    /// A file with more of the keys, in the same form. It is read again when it changes; others must not read it,
    /// nor its group write it.
    pub keys_file: Option<PathBuf>,
    /// How often `keys_file` is looked at. A change is taken once two looks in a row have seen it, so that a file is
    /// not taken half written.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub reload_interval: Duration,
    /// Issuers whose tokens say who calls.
    pub jwt: Vec<identity_jwt::Config>,
    /// Tokens of upstream's own that callers may bring, and that are passed on.
    pub upstream_tokens: introspect::Config,
}

/// The configuration with every check passed.
#[derive(Debug)]
pub struct Resolved {
    pub config: Config,
    pub tls: Option<Tls>,
    pub callers: Callers,
    pub rates: Vec<(OrgId, Rate)>,
    pub way: Way,
    pub request_metadata: AllowList,
    /// Where limits are kept that all replicas share.
    pub redis: Option<store::Server>,
}

/// Who may call.
#[derive(Debug)]
pub struct Callers {
    pub keys: Keys,
    pub certificates: Certificates,
    /// Where keys may be added and removed while the gateway runs.
    pub key_file: Option<KeyFile>,
    /// Whose tokens say who calls.
    pub tokens: Tokens,
}

/// The way to upstream.
#[derive(Clone, Debug)]
pub struct Way {
    pub base: upstream::Base,
    pub credentials: upstream::Credentials,
    /// Where credentials may be replaced while the gateway runs.
    pub credential_files: Vec<CredentialFile>,
    /// What upstream calls the orgs, where the config says so.
    pub organizations: Vec<(OrgId, String)>,
    pub parting: upstream::Parting,
    pub log_hosts: upstream::LogHosts,
    pub response_metadata: AllowList,
}

/// What is wrong, in one line that names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The path of the key, `upstream.base_url`; the file's name where there is no key.
    pub key: String,
    pub problem: String,
}

/// Looks up an environment variable.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}

fn default_admin() -> SocketAddr {
    DEFAULT_ADMIN
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            certificates: Vec::new(),
            keys_file: None,
            reload_interval: DEFAULT_RELOAD_INTERVAL,
            jwt: Vec::new(),
            upstream_tokens: introspect::Config::default(),
        }
    }
}

impl Config {
    /// Reads a TOML file. Whoever can write it decides who may call, and whoever can read it knows who may.
    ///
    /// # Errors
    /// The file cannot be read, is open to others, or is not a configuration.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = file::read_text(path, Access::Closed);
        Self::parse(&text.map_err(|fault| ConfigError::new(path.display(), fault))?)
    }

    /// # Errors
    /// The text is not TOML, or not of this form.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        read(text)
    }

    /// Checks everything that can be checked before start. Relative paths are relative to the working directory.
    ///
    /// # Errors
    /// The first key that cannot be served with.
    pub fn resolve(self, env: Env<'_>) -> Result<Resolved, ConfigError> {
        let invalid = |section: &str, invalid: server::Invalid| {
            ConfigError::new(format_args!("{section}.{}", invalid.key), invalid.problem)
        };
        self.server.check().map_err(|error| invalid("server", error))?;
        self.shutdown.check().map_err(|error| invalid("shutdown", error))?;
        self.tls.iter().try_for_each(|tls| tls.check().map_err(|error| invalid("tls", error)))?;
        bounds::check(&self)?;
        self.telemetry.check().map_err(|_| {
            ConfigError::new("telemetry.level", "is not a level or a list of filter directives")
        })?;
        let ids = ids::Ids::of(&self)?;
        let certificates = certificates::resolve(&self)?;
        let tls = self.tls.clone().map(Tls::load).transpose();
        let tls = tls.map_err(|error| ConfigError::new(error.key, error))?;
        let (credentials, credential_files) = org::credentials(&self.orgs, self.tenancy, env)?;
        let parting = parting::resolve(&self, env)?;
        let (keys, key_file) = keys::resolve(&self, ids)?;
        let callers = Callers { keys, certificates, key_file, tokens: jwt::resolve(&self)? };
        upstream_tokens::check(&self)?;
        let base = upstream::Base::parse(&self.upstream.base_url)
            .map_err(|error| ConfigError::new("upstream.base_url", error))?;
        let log_hosts = upstream::LogHosts::new(&base, &self.upstream.log_url_hosts)
            .map_err(|error| ConfigError::new("upstream.log_url_hosts", error))?;
        let request_metadata = AllowList::new(self.upstream.request_metadata.iter().map(String::as_str))
            .map_err(|error| ConfigError::new("upstream.request_metadata", error))?;
        let response_metadata =
            AllowList::for_responses(self.upstream.response_metadata.iter().map(String::as_str))
                .map_err(|error| ConfigError::new("upstream.response_metadata", error))?;
        let rates =
            self.orgs.iter().map(|org| (org.id.clone(), org.requests.unwrap_or(self.limits.requests)));
        let rates = rates.collect();
        let organizations = self.orgs.iter().filter_map(|org| {
            let id = org.upstream_organization_id.clone()?;
            Some((org.id.clone(), id))
        });
        let organizations = organizations.collect();
        let redis = redis::resolve(&self.limits, env)?;
        Ok(Resolved {
            config: self,
            tls,
            callers,
            rates,
            way: Way {
                base,
                credentials,
                credential_files,
                organizations,
                parting,
                log_hosts,
                response_metadata,
            },
            request_metadata,
            redis,
        })
    }
}

/// Reads a TOML text of the form of `T`.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    let toml = toml::Deserializer::parse(text).map_err(|error| misplaced(text, &error))?;
    serde_path_to_error::deserialize(toml).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        match ConfigError::at(path, error.inner().message()) {
            top if top.key.is_empty() => misplaced(text, error.inner()),
            error => error,
        }
    })
}

/// An error that no key can be named for.
fn misplaced(text: &str, error: &toml::de::Error) -> ConfigError {
    let key = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    match error.message() {
        // Other spans may cover a value, which may be a secret.
        message @ "duplicate key" => {
            ConfigError::new(line_of(text, error), format_args!("{message} `{key}`"))
        }
        message => ConfigError::new(line_of(text, error), message),
    }
}

impl ConfigError {
    pub(crate) fn new(key: impl fmt::Display, problem: impl fmt::Display) -> Self {
        // One line, whatever a library says.
        let problem = problem.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { key: key.to_string(), problem }
    }

    /// What serde says of the value at `path`. What it says of a key in it is said of that key.
    fn at(path: &str, message: &str) -> Self {
        if path.ends_with(".credential") || matches!(path, "pages.key" | "limits.redis.password") {
            // serde shows the value, and a secret that was written here by mistake must not reach a log.
            let what = match path {
                "pages.key" => "key",
                "limits.redis.password" => "password",
                _ => "token",
            };
            let problem = format_args!(
                "must be {{ file = \"PATH\" }} or {{ env = \"NAME\" }}, never the {what} itself"
            );
            return Self::new(path, problem);
        }
        let below = |name: &str| match path {
            "" => name.to_owned(),
            path if path.ends_with(&format!(".{name}")) || path == name => path.to_owned(),
            path => format!("{path}.{name}"),
        };
        if let Some((name, _)) = quoted(message, "missing field `") {
            return Self::new(below(name), "is required");
        }
        if let Some((name, expected)) = quoted(message, "unknown field `") {
            return Self::new(below(name), format_args!("is not a key{expected}"));
        }
        Self::new(path, message)
    }
}

/// `line N`, where an error has no key.
fn line_of(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}")
}

/// The name after `before`, and what follows its closing quote.
fn quoted<'m>(message: &'m str, before: &str) -> Option<(&'m str, &'m str)> {
    message.strip_prefix(before)?.split_once('`')
}
