//! What is counted of TLS, and when the certificate ends, as metrics.

use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// What became of handshakes, and the end of the certificate in force.
#[derive(Debug, Default)]
pub struct Counters {
    /// Handshakes that were given up for newer ones.
    pub(super) crowded: AtomicU64,
    /// All that failed, those among them.
    pub(super) failed: AtomicU64,
    /// Seconds since 1970; 0 if it cannot be read.
    pub(super) ends: AtomicI64,
}

impl Counters {
    /// Handshakes that failed: also those given up, and connections that spoke no TLS.
    pub fn handshakes_failed(&self) -> u64 {
        self.failed.load(Relaxed)
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
        let handshakes = [
            (
                "tls_handshakes_failed",
                "Connections without a TLS handshake that succeeded",
                self.handshakes_failed(),
            ),
            (
                "tls_handshakes_crowded_out",
                "Of these, handshakes given up because too many were under way",
                self.handshakes_crowded_out(),
            ),
        ];
        for (name, help, count) in handshakes {
            ConstCounter::new(count).encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        if let Some(ends) = self.certificate_ends() {
            let (name, help) = ("tls_certificate_expiry_timestamp", "When the server's certificate ends");
            let gauge = ConstGauge::new(ends);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?)?;
        }
        Ok(())
    }
}
