//! A rate as GCRA has it: the time that one call takes to come back, in whole nanoseconds, and how many of them may be out.

use std::{num::NonZeroU32, time::Duration};

use governor::Quota;

use crate::rule::Rate;

/// A bucket's times, and a clock beside them, are added up in 64 bits of nanoseconds. This leaves room for two of them, and
/// is above the slowest rate that a policy may have: 10^6 calls at one an hour, 114 years.
const MAX_FILL: u64 = u64::MAX / 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// In nanoseconds, at least 1.
    per_call: u64,
    burst: NonZeroU32,
}

impl Pace {
    /// Rounded up, so that it is never quicker than the rate.
    pub(super) fn of(rate: Rate) -> Self {
        let per_call = rate.per.as_nanos().div_ceil(u128::from(rate.calls.get()));
        let per_call = u64::try_from(per_call).unwrap_or(MAX_FILL).clamp(1, MAX_FILL);
        let most = u32::try_from(MAX_FILL / per_call).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(rate.burst.get().min(most)).unwrap_or(NonZeroU32::MIN);
        Self { per_call, burst }
    }

    pub(super) fn quota(self) -> Quota {
        // A pace of no time at all is the only one that makes no quota.
        Quota::with_period(Duration::from_nanos(self.per_call))
            .unwrap_or(Quota::per_hour(NonZeroU32::MIN))
            .allow_burst(self.burst)
    }

    /// What so many calls take, in nanoseconds.
    pub(super) fn times(self, calls: NonZeroU32) -> u64 {
        self.per_call.saturating_mul(u64::from(calls.get()))
    }

    /// From empty to full, in nanoseconds.
    pub(super) fn fill(self) -> u64 {
        self.per_call * u64::from(self.burst.get())
    }

    /// What is in a bucket that is full in so many nanoseconds.
    pub(super) fn left(self, full_in: u64) -> u32 {
        u32::try_from(self.fill().saturating_sub(full_in) / self.per_call).unwrap_or(u32::MAX)
    }
}
