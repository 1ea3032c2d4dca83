//! How full a log is, against what is kept of it, and for how long there is room at the present rate.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use humantime::format_duration;

#[cfg(test)]
mod tests;

/// Of `audit.keep_bytes`: from here on it is told, so that there is time to ask for a disk, or to look at the sinks.
const HIGH_PERCENT: u64 = 80;
/// Told again only once it was below this, or a log on the edge would tell with every record.
const LOW_PERCENT: u64 = 75;
/// The present rate is that of the last minutes: long enough for bursts to even out, short enough to see a flood.
const WINDOW: Duration = Duration::from_secs(300);
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// What the log takes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of all segments.
    pub bytes: u64,
    /// `audit.keep_bytes`
    pub cap: u64,
    /// Since the oldest segment was closed or, if it is the only one, begun.
    pub oldest: Duration,
    /// Retention would remove more, but sinks have not taken it.
    pub is_held: bool,
}

/// How full the log is; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Fill(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    figures: Figures,
    /// Bytes ever written, at some moments of the window.
    samples: VecDeque<(Instant, u64)>,
    is_high: bool,
    is_held: bool,
}

/// What is to be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    pub figures: Figures,
    /// Until the cap is reached. None if the log does not grow.
    pub left: Option<Duration>,
}

impl Fill {
    /// The log looks like this now, `written` bytes after it was opened. Says in the gateway's own log what is new.
    pub(super) fn note(&self, now: Instant, written: u64, figures: Figures) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.sample(now, written);
        state.figures = figures;
        let percent = figures.percent();
        let rises = percent >= HIGH_PERCENT && !state.is_high;
        if rises || percent < LOW_PERCENT {
            state.is_high = percent >= HIGH_PERCENT;
        }
        if rises && let Some(warning) = state.warning() {
            tracing::warn!("the audit log fills up: {warning}");
        }
        if figures.is_held && !state.is_held {
            tracing::warn!(
                "audit segments are kept beyond audit.keep_bytes or audit.keep_age: not every sink has taken them"
            );
        }
        state.is_held = figures.is_held;
    }

    /// None while it is less than 80 % full.
    pub(super) fn warning(&self) -> Option<Warning> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).warning()
    }
}

impl Figures {
    fn percent(&self) -> u64 {
        self.bytes.saturating_mul(100) / self.cap.max(1)
    }
}

impl State {
    fn sample(&mut self, now: Instant, written: u64) {
        let is_due = self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE_EVERY);
        if is_due {
            self.samples.push_back((now, written));
        }
        while self.samples.len() > 2
            && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW)
        {
            self.samples.pop_front();
        }
    }

    fn warning(&self) -> Option<Warning> {
        let is_high = self.figures.percent() >= HIGH_PERCENT;
        is_high.then(|| Warning { figures: self.figures, left: self.left() })
    }

    fn left(&self) -> Option<Duration> {
        let ((begun, first), (ended, last)) = (self.samples.front()?, self.samples.back()?);
        let (grown, took) = (last.saturating_sub(*first), ended.duration_since(*begun));
        let room = self.figures.cap.saturating_sub(self.figures.bytes);
        let seconds = u128::from(room) * u128::from(took.as_secs()) / u128::from(grown).max(1);
        (grown > 0).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { bytes, cap, is_held, .. } = self.figures;
        write!(f, "{bytes} of {cap} bytes")?;
        match self.left {
            Some(left) if bytes < cap => {
                write!(f, ", full in about {} at the present rate", format_duration(left))?;
            }
            _ => {}
        }
        f.write_str(match is_held {
            true => "; not every sink has taken the oldest records, so that they are kept",
            false => "; at the cap the oldest records are removed",
        })
    }
}
