//! What of a log is kept: how much there is of it, and the removal of what is too much.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{AGAIN, Fault, Journal, members_of};
use crate::{
    audit::{
        fill::Figures,
        record::Record,
        recover,
        retention::{age, begun},
        segment::Segment,
    },
    telemetry::metrics::AuditStage,
};

impl Journal {
    /// What it takes on disk.
    pub(in crate::audit) fn figures(&self) -> Figures {
        let current = self.segment.as_ref().map_or(0, Segment::size);
        let since = self.since();
        Figures {
            bytes: current + self.closed.iter().map(|closed| closed.bytes).sum::<u64>(),
            cap: self.settings.retention.bytes,
            oldest: age(&self.closed, 0, since),
            is_held: self.settings.retention.doomed(&self.closed, current, since) > self.shipped(),
        }
    }

    /// Removes what retention does not keep. Only what a checkpoint speaks for, and after a record that says so.
    pub(super) fn prune(&mut self) -> Result<(), Fault> {
        // What somebody else has removed takes no room, and has no age.
        let gone = self.closed.iter().take_while(|closed| is_gone(&closed.path)).count();
        self.closed.drain(..gone);
        let Some(current) = &self.segment else { return Ok(()) };
        if Instant::now() < self.prunes_from {
            return Ok(());
        }
        let (retention, since) = (self.settings.retention, self.since());
        let doomed = retention.doomed(&self.closed, current.size(), since).min(self.shipped());
        let (Some(oldest), 1..) = (self.closed.first().map(|closed| closed.first), doomed) else {
            return Ok(());
        };
        let closed = self.closed.iter().map(|closed| (closed.first, &*closed.path));
        let rest = closed.chain([(current.first(), current.path())]).enumerate().skip(doomed);
        // The log goes on from its first record; what has none was lost before.
        let kept = rest.filter_map(|(index, (first, path))| {
            let root = recover::root_before(&self.name, path).ok()?;
            Some((index, first, root, begun(path)?))
        });
        let Some((index, size, root, until)) = kept.into_iter().next() else { return Ok(()) };
        if size > self.checkpoint.covers {
            return Ok(());
        }
        if size > self.pruned_to {
            // The newest one of them is the last to become old.
            let is_old = retention.is_old(&self.closed, index - 1, since);
            let members = [
                ("first", json!(oldest)),
                ("size", json!(size)),
                ("root", json!(STANDARD.encode(root.as_bytes()))),
                ("until", json!(humantime::format_rfc3339_micros(until).to_string())),
                ("reason", json!(if is_old { "age" } else { "bytes" })),
            ];
            let mut lines = Vec::new();
            self.chain.add(&Record::own(AuditStage::Pruned, members_of(members)).tail(), &mut lines);
            self.sign(&mut lines);
            self.write(&lines, true)?;
            self.tell();
            self.pruned_to = size;
        }
        // A log that does not go back to what was told is not gone on with.
        if self.told > size {
            self.remove(index);
        }
        Ok(())
    }

    /// So many of the closed segments. Behind one that cannot be removed all are kept: the log has no hole.
    fn remove(&mut self, count: usize) {
        let mut removed = 0;
        for closed in &self.closed[..count] {
            match fs::remove_file(&closed.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "an audit segment could not be removed");
                    self.prunes_from = Instant::now() + AGAIN;
                    break;
                }
                Ok(()) | Err(_) => removed += 1,
            }
        }
        self.closed.drain(..removed);
        self.pruned += removed as u64;
    }

    /// How long the one that is written has been.
    fn since(&self) -> Duration {
        self.segment.as_ref().map(|segment| segment.opened().elapsed()).unwrap_or_default()
    }

    /// So many of the closed segments every sink has taken.
    fn shipped(&self) -> usize {
        let Some(position) = self.settings.shipped.lowest() else { return usize::MAX };
        let current = self.segment.as_ref().map_or_else(|| self.chain.next(), Segment::first);
        let ends = self.closed.iter().skip(1).map(|closed| closed.first).chain([current]);
        ends.take_while(|end| *end <= position).count()
    }
}

/// Whether nothing is there.
pub(super) fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
