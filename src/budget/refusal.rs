//! What the caller is told of a budget that is used up.

use std::{borrow::Cow, time::Duration};

use humantime_serde::re::humantime::format_duration;
use tonic_types::pb;

use super::claim::Count;
use crate::{
    call::OrgId,
    error::{Error, Reason, Retry},
    rule::{Budget, BudgetOf, Burden, Outcome, Ruling},
};

/// The first census after a start takes about as long as a list.
const UNCOUNTED_WAIT: Duration = Duration::from_secs(1);

/// A budget of the call, and how the call stands to it.
pub(super) struct Judged<'c> {
    pub(super) budget: &'c Budget,
    pub(super) count: &'c Count,
}

impl Judged<'_> {
    pub(super) fn ruling(&self) -> Ruling {
        let outcome = if self.count.is_within() { Outcome::Kept } else { Outcome::Broken };
        let ruling = self.budget.burden.ruling(outcome).within(self.bound());
        match self.budget.burden.value {
            Burden::WarmInstances(_) => ruling.on("max_size"),
            Burden::RunningPrebuilds(_) | Burden::Creates { .. } => ruling,
        }
    }

    fn bound(&self) -> Cow<'static, str> {
        let of = match self.budget.of {
            BudgetOf::Org => "organization",
            BudgetOf::Project => "project",
        };
        match self.budget.burden.value {
            Burden::RunningPrebuilds(max) => format!("at most {max} running prebuilds per {of}"),
            Burden::WarmInstances(max) => format!("at most {max} warm instances per {of}"),
            Burden::Creates { count, window } => {
                format!("at most {count} creations in {} per {of}", format_duration(window))
            }
        }
        .into()
    }

    /// How many of how many, and which objects hold them. All of them are the caller's org's own.
    fn description(&self) -> String {
        let Count { used, takes, limit, holders, unnamed, .. } = self.count;
        match self.budget.burden.value {
            Burden::RunningPrebuilds(_) => {
                format!("{used} of {limit} prebuilds are running{}", named(holders, *unnamed, *used))
            }
            Burden::WarmInstances(_) => {
                let named = named(holders, 0, 0);
                format!("{used} of {limit} warm instances are taken, and {takes} more are asked for{named}")
            }
            Burden::Creates { window, .. } => {
                let window = format_duration(window);
                format!("{used} of {limit} prebuilds were created within {window}")
            }
        }
    }

    fn violation(&self, org: &OrgId, project: &str) -> pb::quota_failure::Violation {
        pb::quota_failure::Violation {
            subject: match self.budget.of {
                BudgetOf::Org => format!("org:{org}"),
                BudgetOf::Project => format!("project:{project}"),
            },
            description: self.description(),
            ..Default::default()
        }
    }
}

/// `: ID, ID, and 2 more, 1 of them without an id yet`
fn named(holders: &[String], unnamed: u32, used: u32) -> String {
    let mut text = String::new();
    for (index, id) in holders.iter().enumerate() {
        text += if index == 0 { ": " } else { ", " };
        text += id;
    }
    let more = used.saturating_sub(u32::try_from(holders.len()).unwrap_or(u32::MAX));
    if more > 0 {
        let before = if holders.is_empty() { ": " } else { ", and " };
        text += &format!("{before}{more} {}", if holders.is_empty() { "of them" } else { "more" });
        if unnamed > 0 {
            text += &format!(", {unnamed} of which are being created or not accounted for yet");
        }
    }
    text
}

/// All budgets in force that the call would pass, at once. `interval`: how often it is counted what is there.
pub(super) fn full(org: &OrgId, project: &str, judged: &[Judged<'_>], interval: Duration) -> Error {
    let in_force = |judged: &&Judged<'_>| judged.budget.burden.is_enforced() && !judged.count.is_within();
    let full: Vec<_> = judged.iter().filter(in_force).collect();
    let wait = full.iter().map(|judged| judged.count.room_in.unwrap_or(interval)).max();
    let violations = full.iter().map(|judged| judged.violation(org, project)).collect();
    let error = Error::refuse(Reason::BudgetExceeded).with_detail(&pb::QuotaFailure { violations });
    // Room for more than there may be at all is never made.
    let is_hopeless = full.iter().any(|judged| judged.count.takes > judged.count.limit);
    let retry = if is_hopeless { Retry::Never } else { Retry::After(wait.unwrap_or(interval)) };
    let error = error.with_retry(retry);
    match full.first() {
        Some(first) => error.with_rule(first.budget.burden.rule.to_string()),
        None => error,
    }
}

/// Nobody knows what is there.
pub(super) fn uncounted() -> Error {
    Error::refuse(Reason::BudgetUnknown).with_retry(Retry::After(UNCOUNTED_WAIT))
}
