//! When prebuilds were created of late, for budgets of so many within a window.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Stamp;

#[cfg(test)]
mod tests;

/// Of one org: as many as the largest budget may ask for. Some 20 bytes each, where they are written out.
const MAX_KEPT: usize = 10_000;

/// The moments of creations, by project. No two of an org are alike, so that each is known by its moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Creations {
    /// Oldest first.
    logs: BTreeMap<String, VecDeque<Stamp>>,
    /// The longest window that was asked for.
    window: Duration,
    /// The most that a project may create, by any budget that was in force.
    most: usize,
}

/// A budget that a creation is counted in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) length: Duration,
    /// The most, where it is in force and a project's own.
    pub(super) most: usize,
}

impl Creations {
    pub(super) fn add(&mut self, at: Stamp, project: &str, window: Window) {
        self.window = self.window.max(window.length);
        self.most = self.most.max(window.most);
        self.logs.entry(project.to_owned()).or_default().push_back(at);
        self.bound();
    }

    pub(super) fn forget(&mut self, project: &str, made: Stamp) {
        if let Some(log) = self.logs.get_mut(project) {
            log.retain(|at| *at != made);
            if log.is_empty() {
                self.logs.remove(project);
            }
        }
    }

    /// Those that no window can reach any more go.
    pub(super) fn prune(&mut self, at: Stamp) {
        let window = self.window;
        self.logs.retain(|_, log| {
            let old = log.partition_point(|made| made.0 + window <= at.0);
            log.drain(..old);
            !log.is_empty()
        });
    }

    /// Within the window before `at`, oldest first.
    pub(super) fn within(&self, at: Stamp, window: Duration, has: impl Fn(&str) -> bool) -> Vec<Stamp> {
        let logs = self.logs.iter().filter(|(project, _)| has(project)).map(|(_, log)| log);
        let made = logs.flat_map(|log| log.range(log.partition_point(|made| made.0 + window <= at.0)..));
        let mut made: Vec<_> = made.copied().collect();
        made.sort_unstable();
        made
    }

    /// Of too many the oldest go, which no budget of the org can ask for, unless one of their project in force can.
    fn bound(&mut self) {
        let kept: usize = self.logs.values().map(VecDeque::len).sum();
        let Some(over) = kept.checked_sub(MAX_KEPT).filter(|over| *over > 0) else { return };
        let mut all: Vec<_> = self.logs.values().flatten().copied().collect();
        let (_, oldest_kept, _) = all.select_nth_unstable(over);
        let oldest_kept = *oldest_kept;
        for log in self.logs.values_mut() {
            while log.len() > self.most && log.front().is_some_and(|made| *made < oldest_kept) {
                log.pop_front();
            }
        }
        self.logs.retain(|_, log| !log.is_empty());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.logs.values().map(VecDeque::len).sum()
    }
}
