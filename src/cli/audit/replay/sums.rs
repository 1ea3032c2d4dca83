//! What comes of a replay, in bounded memory however long the log is.

use std::{collections::BTreeMap, time::SystemTime};

use super::{Recorded, Unjudged};
use crate::call::{OrgId, RequestId, SubjectId};

/// Callers may be many (a pipeline's branches), and nobody reads more.
const MAX_GROUPS: usize = 10_000;

/// What is told at the end.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) judged: u64,
    /// Calls that passed, and would be refused now.
    pub(super) refused: u64,
    /// Calls that were refused, and would pass now.
    pub(super) allowed: u64,
    pub(super) groups: BTreeMap<Group, Members>,
    /// Flips of groups beyond the most that are told apart.
    pub(super) beyond: u64,
    pub(super) left: Left,
}

/// Calls that are not judged, by why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Refused before rules had a word: by the gateway's reason, or by the code.
    pub(super) before: BTreeMap<&'static str, u64>,
    /// Refusals that are told by one record.
    pub(super) folded: u64,
    /// Of which there are no records, as the log could not take them.
    pub(super) missing: u64,
    pub(super) dry_runs: u64,
    /// The candidate judges the object that the call is about, and it is not on record.
    pub(super) object: u64,
    /// The config has no such org.
    pub(super) org: u64,
    /// The record has not what this version expects of it.
    pub(super) unreadable: u64,
}

/// Flips that are alike; by org, rule and caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) org: OrgId,
    /// Which refuses now, or has refused then.
    pub(super) rule: String,
    pub(super) subject: SubjectId,
    pub(super) now: Now,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) count: u64,
    pub(super) first: SystemTime,
    pub(super) last: SystemTime,
    /// One of them.
    pub(super) example: RequestId,
}

/// What would become of a call now that was decided otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Now {
    Refused,
    Allowed,
}

/// A call that would be decided otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flip<'a> {
    pub(super) call: &'a Recorded,
    pub(super) now: Now,
    /// Which refuses now, or has refused then.
    pub(super) rule: &'a str,
}

impl Sums {
    pub(super) fn flips(&self) -> u64 {
        self.refused + self.allowed
    }

    pub(super) fn add(&mut self, flip: &Flip<'_>) {
        match flip.now {
            Now::Refused => self.refused += 1,
            Now::Allowed => self.allowed += 1,
        }
        let Flip { call, now, rule } = *flip;
        let group =
            Group { org: call.org.clone(), rule: rule.to_owned(), subject: call.subject.clone(), now };
        let is_full = self.groups.len() >= MAX_GROUPS;
        match self.groups.get_mut(&group) {
            Some(members) => {
                members.count += 1;
                // Logs of several instances are joined by when calls were recorded.
                members.first = members.first.min(call.at);
                members.last = members.last.max(call.at);
            }
            None if is_full => self.beyond += 1,
            None => {
                let members = Members { count: 1, first: call.at, last: call.at, example: call.request };
                self.groups.insert(group, members);
            }
        }
    }
}

impl Left {
    pub(super) fn add(&mut self, unjudged: Unjudged) {
        match unjudged {
            Unjudged::Before(cause) => *self.before.entry(cause).or_default() += 1,
            Unjudged::DryRun => self.dry_runs += 1,
            Unjudged::Unreadable => self.unreadable += 1,
        }
    }
}

impl Now {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Allowed => "allowed",
        }
    }
}
