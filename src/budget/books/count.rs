//! How a claim stands to its limits.

use std::{collections::BTreeMap, time::Duration};

use super::{Books, Stamp};
use crate::{
    budget::claim::{Claim, Count, Limit, Work},
    rule::{BudgetOf, Burden, Selection},
};

/// As many as a person reads.
const MAX_HOLDERS: usize = 10;

/// Over what is counted: one project, or all. What does not say its project counts in each.
#[derive(Clone, Copy, Debug)]
struct Scope<'c>(Option<&'c str>);

impl Books {
    pub(super) fn counts(&self, at: Stamp, claim: &Claim) -> Vec<Count> {
        claim.limits.iter().map(|limit| self.count(at, claim, *limit)).collect()
    }

    fn count(&self, at: Stamp, claim: &Claim, limit: Limit) -> Count {
        let scope = Scope::of(limit.of, &claim.project);
        let count = match limit.burden {
            Burden::RunningPrebuilds(_) => self.running_in(scope, &claim.shown),
            Burden::WarmInstances(_) => self.warm_in(scope, claim),
            Burden::Creates { count, window } => self.created_in(scope, at, count, window),
        };
        Count { limit: limit.max(), ..count }
    }

    fn running_in(&self, scope: Scope<'_>, shown: &Selection) -> Count {
        let known = || self.running.iter().filter(|(_, known)| scope.has(&known.project));
        let holders = known().filter(|(_, known)| shown.admits(&known.project)).map(|(id, _)| id);
        let open = self.open.values();
        let open = open.filter(|open| open.work == Work::Prebuild && scope.has(&open.project));
        let unnamed = size(open.count());
        Count {
            used: size(known().count()).saturating_add(unnamed),
            takes: 1,
            holders: holders.take(MAX_HOLDERS).cloned().collect(),
            unnamed,
            ..Count::default()
        }
    }

    /// A pool counts as what it may grow to, by its present maximum or by that of a change under way.
    fn warm_in(&self, scope: Scope<'_>, claim: &Claim) -> Count {
        let known = self.pools.iter().filter(|(_, pool)| scope.has(&pool.known.project));
        let known = known.map(|(id, pool)| (&**id, (pool.max, &*pool.known.project)));
        let mut pools: BTreeMap<&str, (u32, &str)> = known.collect();
        let mut unnamed = 0_u32;
        for open in self.open.values().filter(|open| scope.has(&open.project)) {
            match &open.work {
                Work::Prebuild => {}
                Work::NewPool { max } => unnamed = unnamed.saturating_add(*max),
                Work::Pool { id, max, .. } => {
                    let (pool, _) = pools.entry(id).or_insert((0, &open.project));
                    *pool = (*pool).max(*max);
                }
            }
        }
        let takes = match &claim.work {
            Work::Prebuild => 0,
            Work::NewPool { max } => *max,
            Work::Pool { id, max, .. } => {
                max.saturating_sub(pools.get(&**id).map_or(0, |(present, _)| *present))
            }
        };
        let holders = pools.iter().filter(|(_, (max, project))| *max > 0 && claim.shown.admits(project));
        Count {
            used: pools.values().fold(unnamed, |sum, (max, _)| sum.saturating_add(*max)),
            takes,
            holders: holders.take(MAX_HOLDERS).map(|(id, _)| (*id).to_owned()).collect(),
            unnamed,
            ..Count::default()
        }
    }

    fn created_in(&self, scope: Scope<'_>, at: Stamp, count: u32, window: Duration) -> Count {
        let made = self.creations.within(at, window, |project| scope.has(project));
        // When so many are out of the window that one more fits.
        let last = made.len().checked_sub(count as usize);
        let room_in = last.map(|last| match made.get(last) {
            Some(made) => (made.0 + window).saturating_sub(at.0),
            // Of a budget of none.
            None => window,
        });
        Count { used: size(made.len()), takes: 1, room_in, ..Count::default() }
    }
}

impl<'c> Scope<'c> {
    fn of(of: BudgetOf, project: &'c str) -> Self {
        match of {
            BudgetOf::Project if !project.is_empty() => Self(Some(project)),
            BudgetOf::Project | BudgetOf::Org => Self(None),
        }
    }

    fn has(self, project: &str) -> bool {
        self.0.is_none_or(|own| project.is_empty() || project == own)
    }
}

fn size(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
