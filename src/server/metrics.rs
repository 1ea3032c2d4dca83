//! The counters of a listener as metrics.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::{Closed, Connections};

/// Read whenever the metrics are asked for.
impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let open = ConstGauge::new(i64::try_from(self.open()).unwrap_or(i64::MAX));
        let help = "Open client connections";
        open.encode(encoder.encode_descriptor("connections_open", help, None, open.metric_type())?)?;
        let counters = [
            ("connections_accepted", "Client connections that were accepted", self.accepted_total()),
            ("connections_refused", "Client connections turned away at the limit", self.refused_total()),
            ("connections_accept_errors", "Errors of accepting a connection", self.accept_errors_total()),
            ("connections_cut", "Client connections cut at the end of a grace", self.closed_hard_total()),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let help = "Client connections that ended, by reason";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut closed = encoder.encode_descriptor("connections_closed", help, None, kind)?;
        for reason in Closed::ALL {
            let labels = [("reason", reason.as_str())];
            ConstCounter::new(self.closed_total(reason)).encode(closed.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
