//! What is counted of TLS, and when the certificate ends, as metrics.

use std::{
    fmt, io,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustls::Error as RustlsError;

/// Why a handshake has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The client's certificate is not good.
    Certificate,
    /// The client shows none, and needs one.
    NoCertificate,
    /// No TLS, nothing in common, a client that does not like the server's certificate, or the network.
    Other,
}

/// What became of handshakes, and the end of the certificate in force.
#[derive(Debug, Default)]
pub struct Counters {
    /// Handshakes that were given up for newer ones.
    pub(super) crowded: AtomicU64,
    /// All that failed, those among them.
    failed: [AtomicU64; Failed::ALL.len()],
    /// Seconds since 1970; 0 if it cannot be read.
    pub(super) ends: AtomicI64,
}

impl Failed {
    pub const ALL: [Self; 3] = [Self::Certificate, Self::NoCertificate, Self::Other];

    /// As a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::NoCertificate => "no_certificate",
            Self::Other => "other",
        }
    }

    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(RustlsError::InvalidCertificate(_)) => Self::Certificate,
            Some(RustlsError::NoCertificatesPresented) => Self::NoCertificate,
            _ => Self::Other,
        }
    }
}

impl Counters {
    pub(super) fn failed(&self, reason: Failed) {
        self.failed[reason as usize].fetch_add(1, Relaxed);
    }

    /// Handshakes that failed for this reason; other ones are also those given up, and connections that spoke no TLS.
    pub fn handshakes_failed(&self, reason: Failed) -> u64 {
        self.failed[reason as usize].load(Relaxed)
    }

    /// Handshakes given up because too many were under way.
    pub fn handshakes_crowded_out(&self) -> u64 {
        self.crowded.load(Relaxed)
    }

    /// When the certificate that new connections get ends, in seconds since 1970.
    pub fn certificate_ends(&self) -> Option<i64> {
        Some(self.ends.load(Relaxed)).filter(|seconds| *seconds != 0)
    }
}

/// Read whenever the metrics are asked for.
impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Connections without a TLS handshake that succeeded, by reason";
        let mut failed = encoder.encode_descriptor("tls_handshakes_failed", help, None, kind)?;
        for reason in Failed::ALL {
            let labels = [("reason", reason.as_str())];
            ConstCounter::new(self.handshakes_failed(reason)).encode(failed.encode_family(&labels)?)?;
        }
        let help = "Of these, handshakes given up because too many were under way";
        let crowded = encoder.encode_descriptor("tls_handshakes_crowded_out", help, None, kind)?;
        ConstCounter::new(self.handshakes_crowded_out()).encode(crowded)?;
        if let Some(ends) = self.certificate_ends() {
            let (name, help) = ("tls_certificate_expiry_timestamp", "When the server's certificate ends");
            let gauge = ConstGauge::new(ends);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?)?;
        }
        Ok(())
    }
}
