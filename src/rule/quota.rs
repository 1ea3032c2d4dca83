//! What may be used up: rates, calls in flight, and what is left running upstream.

use std::{collections::BTreeSet, fmt, num::NonZeroU32, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::Applied;

/// A rate with a burst: in any stretch of time `t` at most `burst + calls * t / per` calls pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "Written")]
#[schemars(with = "Written")]
pub struct Rate {
    pub calls: NonZeroU32,
    pub per: Duration,
    pub burst: NonZeroU32,
}

/// As a file has it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Calls per second, minute or hour, at least 1: one of the three.
    #[serde(default)]
    per_second: Option<NonZeroU32>,
    #[serde(default)]
    per_minute: Option<NonZeroU32>,
    #[serde(default)]
    per_hour: Option<NonZeroU32>,
    /// Calls at once, at least 1.
    burst: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have one of `per_second`, `per_minute` and `per_hour`")]
pub struct InvalidRate;

/// Who shares a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    Org,
    Subject,
}

/// Where an entry of a rule stands among others of the same rule, for each of which is counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rank {
    /// 0 is the broadest; the same whatever else is written.
    pub level: u8,
    /// It is written for a share of the calls only. What is in force and broader bounds those, too.
    pub is_partial: bool,
}

/// A rate that a call has to be within.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub rate: Applied<Rate>,
    pub rank: Rank,
    pub holder: Holder,
    /// What the call takes of it.
    pub cost: NonZeroU32,
}

/// What is left running upstream, and is counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Burden {
    /// Prebuilds that have not ended, at most.
    RunningPrebuilds(u32),
    /// Instances that warm pools may grow to, at most: the sum of `max_size`.
    WarmInstances(u32),
    /// Creations of prebuilds in any stretch of this length, at most.
    Creates { count: u32, window: Duration },
}

/// Over what it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BudgetOf {
    Org,
    Project,
}

/// What may be outstanding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub burden: Applied<Burden>,
    pub of: BudgetOf,
}

/// Ids that are let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these; none is all.
    pub allow: Option<Arc<BTreeSet<Uuid>>>,
    /// And none of these.
    pub deny: Arc<BTreeSet<Uuid>>,
}

/// How much something is needed that has to be looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    #[default]
    Not,
    /// Rules look at it that decide nothing. Nor may it that it cannot be had.
    Wanted,
    /// A rule in force judges it: without it the call is refused.
    Required,
}

/// What the policy sets a call, for the stages that count and look up. Filled by the policy's first stage: one policy
/// judges the whole call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub quotas: Vec<Quota>,
    /// Calls of the org in flight.
    pub in_flight: Vec<Applied<u32>>,
    pub budgets: Vec<Budget>,
    /// Whether rules judge the object that the call is about.
    pub needs_object: Need,
    /// Whether they judge the sizes that it has, whatever the call is.
    pub needs_sizes: Need,
    /// What of a list is shown.
    pub projects: Selection,
    pub classes: Selection,
}

impl Need {
    /// Of a rule that is in force, or one that is only looked at.
    pub const fn of(is_enforced: bool) -> Self {
        if is_enforced { Self::Required } else { Self::Wanted }
    }
}

impl Rate {
    pub const fn per_second(calls: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { calls, per: Duration::from_secs(1), burst }
    }
}

impl TryFrom<Written> for Rate {
    type Error = InvalidRate;

    fn try_from(written: Written) -> Result<Self, InvalidRate> {
        let Written { per_second, per_minute, per_hour, burst } = written;
        Self::of([per_second, per_minute, per_hour], burst)
    }
}

impl Rate {
    /// So many calls per second, minute or hour.
    ///
    /// # Errors
    /// Not one of the three, or more than one.
    pub fn of(per: [Option<NonZeroU32>; 3], burst: NonZeroU32) -> Result<Self, InvalidRate> {
        let [per_second, per_minute, per_hour] = per;
        let (calls, seconds) = match (per_second, per_minute, per_hour) {
            (Some(calls), None, None) => (calls, 1),
            (None, Some(calls), None) => (calls, 60),
            (None, None, Some(calls)) => (calls, 60 * 60),
            _ => return Err(InvalidRate),
        };
        Ok(Self { calls, per: Duration::from_secs(seconds), burst })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per.as_secs() {
            1 => "second",
            60 => "minute",
            _ => "hour",
        };
        write!(f, "{} per {per}, bursts of {}", self.calls, self.burst)
    }
}

impl Selection {
    /// What is no id at all is let through only where everything is.
    pub fn admits(&self, id: &str) -> bool {
        self.is_all()
            || Uuid::try_parse(id).is_ok_and(|id| {
                self.allow.as_ref().is_none_or(|allow| allow.contains(&id)) && !self.deny.contains(&id)
            })
    }

    pub fn is_all(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}
