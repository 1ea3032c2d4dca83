//! TLS between TCP and HTTP: one certificate, followed on disk while connections live on.
//!
//! TLS 1.2 and 1.3 by rustls, its cryptography by aws-lc-rs. No early data: it can be replayed. A handshake runs in its
//! connection's own task within `server.first_request_timeout`; how many run at once is bounded here.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::Extensions;
use rustls::ServerConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore, SemaphorePermit, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Invalid, Transport};

mod metrics;
mod pair;
mod reload;
#[cfg(test)]
mod tests;

pub use metrics::Counters;
pub use pair::{Fault, PairError};

use pair::{Files, Sight};

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
    /// How often both files are looked at, above 0 and at most an hour.
    #[serde(with = "humantime_serde", default = "default_reload_interval")]
    #[schemars(with = "String")]
    pub reload_interval: Duration,
}

/// The transport. Clones share it; each new connection gets the pair that is good at that moment.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    config: Config,
    /// What the files held when they were loaded first.
    first: Sight,
    /// A new one for each pair, so that no session of the old one is resumed.
    current: watch::Sender<Arc<ServerConfig>>,
    /// Places.
    handshakes: Semaphore,
    crowd: Notify,
    counters: Arc<Counters>,
}

fn default_reload_interval() -> Duration {
    RELOAD_INTERVAL
}

impl Config {
    /// With the default interval.
    pub fn of(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), reload_interval: RELOAD_INTERVAL }
    }

    /// # Errors
    /// A setting is out of its bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        let interval = self.reload_interval;
        if interval.is_zero() || interval > MAX_RELOAD_INTERVAL {
            return Err(Invalid { key: "reload_interval", problem: "must be above 0 and at most 1h" });
        }
        Ok(())
    }
}

impl Tls {
    /// Reads certificate and key, and holds them against each other.
    ///
    /// # Errors
    /// One of the files cannot be served with; the error names its key.
    pub fn load(config: Config) -> Result<Self, PairError> {
        Self::with_places(config, MAX_HANDSHAKES)
    }

    fn with_places(config: Config, handshakes: usize) -> Result<Self, PairError> {
        let files = Files::read(&config)?;
        let current = watch::Sender::new(Arc::new(files.pair(&config)?));
        let handshakes = Semaphore::new(handshakes);
        let (first, crowd, counters) = (files.sight(), Notify::new(), Arc::default());
        Ok(Self(Arc::new(Shared { config, first, current, handshakes, crowd, counters })))
    }

    /// The counters, for metrics.
    pub fn counters(&self) -> Arc<Counters> {
        self.0.counters.clone()
    }

    async fn handshake(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let _place = self.place().await?;
        tokio::select! {
            biased;
            stream = self.accept(tcp) => stream,
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

    async fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        // rustls would answer whoever speaks no TLS with an alert, which is noise to them.
        let mut first = [0];
        if tcp.peek(&mut first).await? == 0 || first != [HANDSHAKE] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let config = self.0.current.borrow().clone();
        TlsAcceptor::from(config).accept(tcp).await
    }
}

impl Transport for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn open(&self, tcp: TcpStream) -> io::Result<(Self::Stream, Extensions)> {
        let opened = self.handshake(tcp).await;
        if opened.is_err() {
            self.0.counters.failed.fetch_add(1, Relaxed);
        }
        Ok((opened?, Extensions::new()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.config).finish()
    }
}
