//! What a call asks of the buckets, and what it gets: the words between the stage and whoever counts.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    call::{OrgId, SubjectId},
    rule::{Rate, RuleId},
};

/// What a call takes of one bucket.
///
/// Demands in force are all or nothing: one that is refused leaves all others as they were. Those that are not decide
/// nothing: each is taken by itself, where those in force are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    pub bucket: Bucket,
    /// With another rate, or on another level, it is another bucket, which starts without a burst.
    pub rate: Rate,
    /// Above the burst it never passes.
    pub cost: NonZeroU32,
    /// What is only looked at has a bucket of its own, so that it drains none that decides.
    pub in_force: bool,
    /// Only a share of the calls is held against it, and broader demands bound them, too.
    pub is_partial: bool,
}

/// Which bucket: with `in_force` and the rate of the demand this tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    pub org: OrgId,
    /// The org's own has none.
    pub subject: Option<SubjectId>,
    pub rule: RuleId,
    pub candidate: bool,
    /// Of the entry among those of its rule.
    pub level: u8,
}

/// What became of a demand; as many, and in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There was enough. Nothing of it was taken where another demand in force was refused.
    Passed {
        /// Calls of cost 1 that would pass now.
        left: u32,
        /// Until all of the burst is there again.
        full_in: Duration,
    },
    Refused {
        /// Until the same demand would pass, if nobody takes anything meanwhile.
        wait: Duration,
        full_in: Duration,
    },
}

impl Taken {
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    pub fn full_in(&self) -> Duration {
        match self {
            Self::Passed { full_in, .. } | Self::Refused { full_in, .. } => *full_in,
        }
    }
}
