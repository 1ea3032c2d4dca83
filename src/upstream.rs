//! The way to upstream: Connect unary JSON over one pooled HTTP client.
//!
//! Only a [`Permitted`](crate::policy::Permitted) call is forwarded: an unchecked one does not compile. There is one
//! upstream, and nothing in a request can choose another: path and host come from the config and the method table
//! (promise P14).

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

mod answer;
mod ask;
mod census;
mod client;
mod credentials;
mod forward;
mod introspect;
mod learn;
mod log_url;
mod organizations;
mod owned;
mod parting;
mod renew;
mod resolve;
mod tenancy;
mod walk;
mod who_am_i;

pub use census::Inventory;
pub use client::{Base, BaseError, Client, ClientError};
pub use credentials::Credentials;
pub use forward::Upstream;
pub use introspect::Introspection;
pub use learn::Learn;
pub use log_url::{LogHosts, LogUrls, NotAHost};
pub use organizations::{Organizations, Trouble};
pub use parting::{Holding, Mode, Parting};
pub use renew::NotRenewed;
pub use resolve::Resolve;
pub use tenancy::{Tenancy, same};
pub use walk::{PageKey, Walk, WeakKey};
pub use who_am_i::WhoAmI;

/// A connection that takes longer is not going to be there in time.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Past this a mutation's outcome counts as unknown. The official SDKs give up at the same time.
const DEFAULT_MUTATION_TIMEOUT: Duration = Duration::from_secs(60);
/// Common servers and load balancers close idle connections after 60 s; a request that meets such a close is lost.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Each look is a connection, from every replica.
const DEFAULT_HEALTH_INTERVAL: Duration = Duration::from_secs(10);
/// Who replaces a token lets the old one work for longer than that.
const DEFAULT_RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// A page of 100 prebuilds has some 110 KiB.
const DEFAULT_MAX_RESPONSE: usize = 4 << 20;

/// `[upstream]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API is, with its path prefix: `https://app.gitpod.io/api`. Plain `http` is for loopback only.
    pub base_url: String,
    /// PEM file with the CA certificates to trust instead of the platform's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// `auto`: HTTP/2 where the server offers it by ALPN, else HTTP/1.1.
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default = "default_connect_timeout", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// How long a mutation that was sent may take, whether or not its caller still waits.
    #[serde(default = "default_mutation_timeout", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub mutation_timeout: Duration,
    /// Idle connections are closed after this time, before upstream would.
    #[serde(default = "default_idle_timeout", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// How often health looks whether upstream accepts a connection.
    #[serde(default = "default_health_interval", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub health_interval: Duration,
    /// How often the orgs' credential files are looked at. A change is taken once two looks in a row have seen it.
    #[serde(default = "default_reload_interval", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub reload_interval: Duration,
    /// Largest answer, in bytes.
    #[serde(default = "default_max_response")]
    pub max_response_bytes: usize,
    /// Hosts that a prebuild's `log_url` may name besides upstream's own and those below it: `logs.example.com`, or
    /// `*.example.com` for all below that one. Another URL is taken out of the answer, and counted.
    #[serde(default)]
    pub log_url_hosts: Vec<String>,
    /// Request metadata that travels upstream, by name. `-bin` names carry base64.
    #[serde(default)]
    pub request_metadata: Vec<String>,
    /// Response metadata that reaches callers, besides upstream's retry control.
    #[serde(default)]
    pub response_metadata: Vec<String>,
}

/// The HTTP version towards upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/2 where ALPN agrees on it, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, over plain TCP with prior knowledge.
    Http2,
}

fn default_connect_timeout() -> Duration {
    DEFAULT_CONNECT_TIMEOUT
}

fn default_mutation_timeout() -> Duration {
    DEFAULT_MUTATION_TIMEOUT
}

fn default_idle_timeout() -> Duration {
    DEFAULT_IDLE_TIMEOUT
}

fn default_health_interval() -> Duration {
    DEFAULT_HEALTH_INTERVAL
}

fn default_reload_interval() -> Duration {
    DEFAULT_RELOAD_INTERVAL
}

fn default_max_response() -> usize {
    DEFAULT_MAX_RESPONSE
}

impl Config {
    /// The defaults, for an upstream at `base_url`.
    pub fn at(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            ca_file: None,
            protocol: Protocol::default(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            mutation_timeout: DEFAULT_MUTATION_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            health_interval: DEFAULT_HEALTH_INTERVAL,
            reload_interval: DEFAULT_RELOAD_INTERVAL,
            max_response_bytes: DEFAULT_MAX_RESPONSE,
            log_url_hosts: Vec::new(),
            request_metadata: Vec::new(),
            response_metadata: Vec::new(),
        }
    }
}
