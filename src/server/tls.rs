//! TLS between TCP and HTTP: one certificate, and the CAs of client certificates, followed on disk while connections live
//! on.
//!
//! TLS 1.2 and 1.3 by rustls, its cryptography by aws-lc-rs. No early data: it can be replayed. A handshake runs in its
//! connection's own task within `server.first_request_timeout`; how many run at once is bounded here.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use http::Extensions;
use rustls::{CertificateError, Error as RustlsError, ServerConfig, server::danger::ClientCertVerifier};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore, SemaphorePermit, watch},
    task::spawn_blocking,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Invalid, Transport};
use crate::follow::{Follow, Taken};

mod client;
mod files;
mod metrics;
#[cfg(test)]
mod tests;

pub use files::{Fault, FileError, Files};
pub use metrics::{Counters, Failed};

/// The key of the config that names the files: they are followed as one.
const TLS: &str = "tls";

/// A certificate is renewed days before its end, so that seconds do not matter; two small files every few seconds are
/// nothing to a disk.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Whoever rotates by hand wants to see it happen.
const MAX_RELOAD_INTERVAL: Duration = Duration::from_secs(3600);

/// A handshake takes two round trips: this many are a thousand new connections a second from across the world. It is
/// less than the connections that have a place by default, so that strangers who stall theirs do not take every place.
const MAX_HANDSHAKES: usize = 256;

/// The first byte of every TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// PEM file: the server's certificate, then those between it and the root that clients trust.
    pub certificate: PathBuf,
    /// PEM file: the certificate's private key, in PKCS#8, PKCS#1 or SEC1; closed to others.
    pub key: PathBuf,
    /// PEM file: the CAs whose client certificates are let in. Without it none is asked for.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether a client needs a certificate to connect. With `client_ca` only.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificates>,
    /// How often the files are looked at, above 0 and at most an hour.
    #[serde(with = "humantime_serde", default = "default_reload_interval")]
    #[schemars(with = "String")]
    pub reload_interval: Duration,
}

/// Whether a client needs a certificate to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// It may show one, which then has to be good.
    #[default]
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// The transport. Clones share it; each new connection gets the pair that is good at that moment.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    config: Config,
    /// What the files held when they were loaded first.
    first: Files,
    current: watch::Sender<Arc<InForce>>,
    /// Places.
    handshakes: Semaphore,
    crowd: Notify,
    counters: Arc<Counters>,
}

/// What new connections get.
struct InForce {
    /// Counts up, so that connections see that others are in force.
    generation: u64,
    /// New each time, so that no session of an old certificate is resumed.
    settings: Arc<ServerConfig>,
    /// Judges client certificates.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// When the certificate ends, in seconds since 1970.
    ends: Option<i64>,
}

fn default_reload_interval() -> Duration {
    RELOAD_INTERVAL
}

impl Config {
    /// With the default interval.
    pub fn of(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
            client_certificates: None,
            reload_interval: RELOAD_INTERVAL,
        }
    }

    /// # Errors
    /// A setting is out of its bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        let interval = self.reload_interval;
        if interval.is_zero() || interval > MAX_RELOAD_INTERVAL {
            return Err(Invalid { key: "reload_interval", problem: "must be above 0 and at most 1h" });
        }
        if self.client_certificates.is_some() && self.client_ca.is_none() {
            return Err(Invalid { key: "client_certificates", problem: "must not be set without client_ca" });
        }
        Ok(())
    }
}

impl Tls {
    /// Reads the files, and holds certificate and key against each other.
    ///
    /// # Errors
    /// One of the files cannot be served with; the error names its key.
    pub fn load(config: Config) -> Result<Self, FileError> {
        Self::with_places(config, MAX_HANDSHAKES)
    }

    fn with_places(config: Config, handshakes: usize) -> Result<Self, FileError> {
        let first = Files::read(&config)?;
        let in_force = first.judge(&config, 0)?;
        let counters = Arc::new(Counters::default());
        counters.ends.store(in_force.ends.unwrap_or_default(), Relaxed);
        let current = watch::Sender::new(Arc::new(in_force));
        let (handshakes, crowd) = (Semaphore::new(handshakes), Notify::new());
        Ok(Self(Arc::new(Shared { config, first, current, handshakes, crowd, counters })))
    }

    /// What the files held when they were loaded.
    pub fn first(&self) -> Result<Files, FileError> {
        Ok(self.0.first.clone())
    }

    pub fn reload_interval(&self) -> Duration {
        self.0.config.reload_interval
    }

    fn put_in_force(&self, files: &Files) -> Result<(), FileError> {
        let generation = self.0.current.borrow().generation + 1;
        let in_force = files.judge(&self.0.config, generation)?;
        self.0.counters.ends.store(in_force.ends.unwrap_or_default(), Relaxed);
        self.0.current.send_replace(Arc::new(in_force));
        Ok(())
    }

    /// The counters, for metrics.
    pub fn counters(&self) -> Arc<Counters> {
        self.0.counters.clone()
    }

    async fn handshake(&self, tcp: TcpStream) -> io::Result<(TlsStream<TcpStream>, Extensions)> {
        let _place = self.place().await?;
        tokio::select! {
            biased;
            opened = self.accept(tcp) => opened,
            () = self.0.crowd.notified() => {
                self.0.counters.crowded.fetch_add(1, Relaxed);
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// A place among the handshakes. With all taken the oldest is given up: an honest one has ended long before, and
    /// who stalls keeps nobody out.
    async fn place(&self) -> io::Result<SemaphorePermit<'_>> {
        if let Ok(place) = self.0.handshakes.try_acquire() {
            return Ok(place);
        }
        // It wakes the one that has waited longest.
        self.0.crowd.notify_one();
        self.0.handshakes.acquire().await.map_err(io::Error::other)
    }

    async fn accept(&self, tcp: TcpStream) -> io::Result<(TlsStream<TcpStream>, Extensions)> {
        // rustls would answer whoever speaks no TLS with an alert, which is noise to them.
        let mut first = [0];
        if tcp.peek(&mut first).await? == 0 || first != [HANDSHAKE] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (in_force, begun) = (self.0.current.borrow().clone(), SystemTime::now());
        let stream = TlsAcceptor::from(in_force.settings.clone()).accept(tcp).await?;
        let mut extensions = Extensions::new();
        if let Some(chain) = stream.get_ref().1.peer_certificates() {
            let certificate = client::certificate(&self.0, &in_force, chain, begun);
            let unreadable = || io::Error::other(RustlsError::from(CertificateError::BadEncoding));
            extensions.insert(certificate.ok_or_else(unreadable)?);
        }
        Ok((stream, extensions))
    }
}

impl Follow for Tls {
    type Look = Result<Files, FileError>;

    fn key(&self) -> String {
        TLS.to_owned()
    }

    fn look(&self) -> Self::Look {
        Files::read(&self.0.config)
    }

    async fn take(&self, look: Self::Look) -> Taken {
        let tls = self.clone();
        // An RSA key takes a while to check.
        let taken = spawn_blocking(move || look.and_then(|files| tls.put_in_force(&files))).await;
        match taken {
            Ok(taken) => taken.map_err(|error| format!("{}: {error}", error.key)).into(),
            Err(_) => Taken::Undecided("could not be judged".to_owned()),
        }
    }
}

impl Transport for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn open(&self, tcp: TcpStream) -> io::Result<(Self::Stream, Extensions)> {
        let peer = tcp.peer_addr();
        let opened = self.handshake(tcp).await;
        if let Err(error) = &opened {
            let reason = Failed::of(error);
            self.0.counters.failed(reason);
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            // Anybody can make one fail: the count is what operators see first.
            tracing::debug!(peer, reason = reason.as_str(), %error, "a TLS handshake has failed");
        }
        opened
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.config).finish()
    }
}
