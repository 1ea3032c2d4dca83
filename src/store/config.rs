//! `[limits.redis]`: where the store is.

use std::{fmt, net::IpAddr, path::PathBuf};

use redis::{ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, parse_redis_url};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::file::{self, Access, Credential};

/// `[limits.redis]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `rediss://host:port` (TLS), `redis://host:port` to a loopback address, or `unix:///path`; the database behind it
    /// (`/2`). No user or password.
    pub url: String,
    /// The server is one of a cluster.
    #[serde(default)]
    pub cluster: bool,
    /// More servers of the cluster, where the first one may be away at start.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Who the gateway is there; the server's default user otherwise.
    #[serde(default)]
    pub username: Option<String>,
    /// Where the password is.
    #[serde(default)]
    pub password: Option<Credential>,
    /// PEM file with the CA certificates to trust instead of the platform's. Only its owner may write it. It is read at
    /// start only.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// `redis://` to other addresses than loopback: whoever is on the way can read and change what is said.
    #[serde(default)]
    pub plaintext: bool,
    /// Limits that let reads pass, uncounted, while the store is not to be had: of `rates.org.all`, `rates.org.read`,
    /// `rates.subject.all` and `rates.subject.read`.
    #[serde(default)]
    pub reads_pass: Vec<String>,
}

/// The store with every check passed. Its Debug shows no password.
#[derive(Clone)]
pub struct Server {
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) cluster: bool,
    /// PEM.
    pub(super) ca: Option<Vec<u8>>,
}

/// What is wrong with a key of the section. No value is shown: a URL may have a password in it by mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub key: String,
    pub problem: String,
}

impl Config {
    /// Limits that a read may be counted by, and so may let it pass.
    const OF_READS: [&str; 4] =
        ["rates.org.all", "rates.org.read", "rates.subject.all", "rates.subject.read"];

    /// Checks the section; `password` is what is where it says. No connection is needed.
    ///
    /// # Errors
    /// The first key that cannot be used.
    pub fn resolve(&self, password: Option<&str>) -> Result<Server, Invalid> {
        let urls = std::iter::once(("url".to_owned(), &self.url));
        let more = self.nodes.iter().enumerate().map(|(index, url)| (format!("nodes[{index}]"), url));
        let nodes = urls.chain(more).map(|(key, url)| {
            self.node(url, password).map_err(|problem| Invalid { key, problem: problem.to_owned() })
        });
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let is_tls = |url: &String| url.starts_with("rediss:");
        let with_tls = is_tls(&self.url);
        let checks = [
            (self.cluster || self.nodes.is_empty(), "nodes", "must stand beside cluster = true"),
            (
                self.nodes.iter().all(|url| is_tls(url) == with_tls),
                "nodes",
                "must all be rediss:// or all redis://, as url is",
            ),
            (self.ca_file.is_none() || with_tls, "ca_file", "must stand beside a rediss:// url"),
            (self.username.is_none() || self.password.is_some(), "username", "must stand beside a password"),
            (
                self.reads_pass.iter().all(|rule| Self::OF_READS.contains(&rule.as_str())),
                "reads_pass",
                "must be of rates.org.all, rates.org.read, rates.subject.all and rates.subject.read: \
                 others are never about reads",
            ),
        ];
        if let Some((_, key, problem)) = checks.into_iter().find(|(is_good, ..)| !is_good) {
            return Err(Invalid::new(key, problem));
        }
        Ok(Server { nodes, cluster: self.cluster, ca: self.authorities()? })
    }

    fn node(&self, text: &str, password: Option<&str>) -> Result<ConnectionInfo, &'static str> {
        const FORM: &str = "must be rediss://host:port, redis://host:port or unix:///path";
        let url = parse_redis_url(text).ok_or(FORM)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user or a password in it: there are username and password for them");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must have nothing behind the path");
        }
        let is_local = match url.scheme() {
            "unix" if self.cluster => return Err("must be rediss:// or redis:// for a cluster"),
            "unix" | "rediss" => true,
            "redis" => url.host_str().is_some_and(is_loopback),
            _ => return Err(FORM),
        };
        if !is_local && !self.plaintext {
            return Err("must be rediss:// or to a loopback address, unless plaintext = true");
        }
        if self.cluster && !matches!(url.path(), "" | "/" | "/0") {
            return Err("must name no database: a cluster has but one");
        }
        let info = url.into_connection_info().map_err(|_| FORM)?;
        let redis = self.known_by(info.redis_settings().clone(), password);
        Ok(info.set_redis_settings(redis))
    }

    fn known_by(&self, mut redis: RedisConnectionInfo, password: Option<&str>) -> RedisConnectionInfo {
        if let Some(username) = &self.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = password {
            redis = redis.set_password(password);
        }
        redis
    }

    fn authorities(&self) -> Result<Option<Vec<u8>>, Invalid> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        let pem = file::read(path, Access::Guarded)
            .map_err(|fault| Invalid::new("ca_file", format_args!("`{}` {fault}", path.display())))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        if certificates.is_ok_and(|found| !found.is_empty()) {
            Ok(Some(pem))
        } else {
            Err(Invalid::new("ca_file", format_args!("`{}` holds no certificate", path.display())))
        }
    }
}

impl Invalid {
    fn new(key: &str, problem: impl fmt::Display) -> Self {
        Self { key: key.to_owned(), problem: problem.to_string() }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("Server")
            .field("nodes", &nodes)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}
