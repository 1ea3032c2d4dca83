//! The counters of TLS as metrics.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::counter::ConstCounter,
};

/// What became of handshakes and of new pairs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Handshakes that were given up for newer ones.
    pub(super) crowded: AtomicU64,
    /// All that failed, those among them.
    pub(super) failed: AtomicU64,
    /// Pairs that new connections got from then on.
    pub(super) taken: AtomicU64,
    /// Pairs that could not be used: the one before stayed.
    pub(super) kept: AtomicU64,
}

impl Counters {
    pub fn reloads_taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    pub fn reloads_refused(&self) -> u64 {
        self.kept.load(Relaxed)
    }

    /// Handshakes that failed: also those given up, and connections that spoke no TLS.
    pub fn handshakes_failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Handshakes given up because too many were under way.
    pub fn handshakes_crowded_out(&self) -> u64 {
        self.crowded.load(Relaxed)
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
        let help = "Changed pairs of certificate and key, by what became of them";
        let mut reloads = encoder.encode_descriptor("tls_reloads", help, None, kind)?;
        for (result, count) in [("taken", self.reloads_taken()), ("refused", self.reloads_refused())] {
            ConstCounter::new(count).encode(reloads.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
