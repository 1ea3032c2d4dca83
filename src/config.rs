//! The configuration: every room's own section, read from TOML, checked whole before anything starts.
//!
//! As written ([`Config`]) -> as resolved ([`Resolved`]). An error names the key (promise P15). Only this room reads
//! files and the environment.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

pub use crate::file::form::Misfit as ConfigError;
use crate::{
    audit, budget,
    call::OrgId,
    connect::metadata::AllowList,
    file::{self, Access, form},
    front,
    identity::{
        api_key::{self, Keys},
        certificate::{self, Certificates},
        introspect, jwt as identity_jwt,
    },
    limit, policy,
    server::{self, Tls},
    store, telemetry, upstream,
};

mod audited;
mod bounds;
mod certificates;
mod ids;
mod jwt;
pub mod keys;
mod org;
mod parting;
mod policy_file;
mod redis;
mod secret;
mod shipped;
#[cfg(test)]
mod tests;
mod upstream_tokens;

pub use crate::file::Credential;
pub use jwt::{Fetched, Tokens};
pub use keys::KeyFile;
pub use org::{CredentialFile, Org};
pub use parting::Pages;
pub use policy_file::{POLICY_FILE, PolicyFile};

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
    /// Where the policy is: what orgs and subjects may do, and how much of it.
    #[serde(default)]
    pub policy: policy::Source,
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
    pub policy: policy::Edition,
    /// Where the policy may be changed while the gateway runs.
    pub policy_file: Option<PolicyFile>,
    pub way: Way,
    pub request_metadata: AllowList,
    /// Where limits are kept that all replicas share.
    pub redis: Option<store::Server>,
    /// Where the audit log is shipped to.
    pub sinks: Vec<audit::ship::Target>,
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
    pub fn resolve(mut self, env: Env<'_>) -> Result<Resolved, ConfigError> {
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
        audited::check(&self)?;
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
        let (policy, policy_file) = policy_file::resolve(&self)?;
        let organizations = self.orgs.iter().filter_map(|org| {
            let id = org.upstream_organization_id.clone()?;
            Some((org.id.clone(), id))
        });
        let organizations = organizations.collect();
        let redis = redis::resolve(&self.limits, env)?;
        let sinks = shipped::resolve(&self.audit, env)?;
        audited::keep_a_day(&mut self.audit, &policy)?;
        Ok(Resolved {
            config: self,
            tls,
            callers,
            policy,
            policy_file,
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
            sinks,
        })
    }
}

/// Reads a TOML text of the form of `T`.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    form::read(text, secret)
}

/// serde shows the value, and a secret that was written here by mistake must not reach a log.
fn secret(path: &str) -> Option<&'static str> {
    match path {
        "pages.key" => Some("must be { file = \"PATH\" } or { env = \"NAME\" }, never the key itself"),
        "audit.hash_keys" | "audit.signing_key" => {
            Some("must be { file = \"PATH\" }, never the keys themselves")
        }
        "limits.redis.password" => {
            Some("must be { file = \"PATH\" } or { env = \"NAME\" }, never the password itself")
        }
        path if path.starts_with("audit.ship") => Some(
            "must be as deploy/gateway.example.toml says; keys and tokens are { file = \"PATH\" } or { env = \"NAME\" }",
        ),
        path if path.ends_with(".credential") => {
            Some("must be { file = \"PATH\" } or { env = \"NAME\" }, never the token itself")
        }
        _ => None,
    }
}
