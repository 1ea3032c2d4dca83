//! The books of one org: what is known to be outstanding, what may be, and what was made of late. Pure: time is an
//! argument, and every operation is one step that nothing comes between.
//!
//! What holds, whatever comes in which order:
//!
//! 1. *Nothing upstream is missing.* Before a call is sent its claim is written down, and it leaves the books only by
//!    upstream's word: the object that it made, a refusal, a census that began when it could no longer take effect.
//! 2. *What has ended stays ended.* An end is for good, so whoever saw it is right, however old what was seen. "It runs"
//!    and "it is absent" grow old: of those only a census' word counts, and the one of the call that made it.
//! 3. *A census knows what was before it began.* What is younger stays as it is; what is older and not in it is gone. It
//!    adds all that it shows, but for what is known to have ended.
//! 4. *Nothing stays for ever.* All that is in the books is younger than the next census, or confirmed by it.
//!
//! An unknown outcome counts beside the object that it may have made until it is too late for it: then any census
//! shows what came of it.
//!
//! Stamps order all this. They are the ledger's own time, and no two of an org are alike, so that "before" is never in
//! doubt.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::creations::{Creations, Window};
use super::{
    claim::{Claim, Count, End, Present, Sight, Verdict, Work, canonical},
    ledger::Tally,
};
use crate::{
    call::{Counted, Extent, RequestId, Standing, StandingPool},
    rule::{BudgetOf, Burden},
};

mod count;
mod creations;
mod known;
#[cfg(test)]
pub(in crate::budget) mod tests;

/// Ended objects that are remembered until a census has them out, each of some 80 bytes. Without its memory one may
/// count until the next census, no longer.
const MAX_ENDED: usize = 1_000;

/// A moment in the books of one org.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(from = "u64", into = "u64")]
pub struct Stamp(pub Duration);

/// Written out, they are the same for the same content.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Books {
    /// Goes on by itself, also where nothing changes: whoever writes them out writes it beside.
    #[serde(skip)]
    now: Stamp,
    /// So much older than an answer a list may be.
    #[serde(skip)]
    lag: Duration,
    /// When the newest census that is in the books began.
    counted: Option<Stamp>,
    /// Prebuilds that have not ended, for all that is known.
    #[serde(with = "known")]
    running: BTreeMap<String, Known>,
    pools: BTreeMap<String, Pool>,
    /// Calls that were let through and have not ended, or nobody knows how.
    open: BTreeMap<RequestId, Open>,
    ended: BTreeMap<String, Stamp>,
    creations: Creations,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Known {
    project: String,
    /// A census that begins later shows it.
    since: Stamp,
    /// The last census did not show it, and can have overlooked it.
    is_missed: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Pool {
    known: Known,
    max: u32,
    version: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Open {
    project: String,
    work: Work,
    taken: Stamp,
    /// Later than this it takes no effect: whoever made it is not there any more, or nobody knows what became of it.
    until: Option<Stamp>,
    /// The latter.
    is_doubt: bool,
}

impl Books {
    pub fn new(lag: Duration) -> Self {
        Self { lag, ..Self::default() }
    }

    /// Goes on from where they were written out.
    pub fn resume(&mut self, now: Stamp, lag: Duration) {
        (self.now, self.lag) = (now, lag);
    }

    pub fn now(&self) -> Stamp {
        self.now
    }

    fn tick(&mut self, now: Duration) -> Stamp {
        self.now = Stamp(now.max(self.now.0 + Duration::from_nanos(1)));
        self.now
    }

    /// Writes the claim down if there is room in all of its limits. Where whoever makes it may be gone before it is
    /// settled, it has a lease: it takes no effect later than that.
    pub fn claim(&mut self, now: Duration, claim: &Claim, lease: Option<Duration>) -> Verdict {
        let at = self.tick(now);
        self.look_up(at, claim);
        if self.counted.is_none() && claim.is_enforced() {
            return Verdict::Uncounted;
        }
        let counts = self.counts(at, claim);
        let mut limits = claim.limits.iter().zip(&counts);
        if !limits.all(|(limit, count)| !limit.is_enforced || count.is_within()) {
            return Verdict::Full(counts);
        }
        self.write_down(at, claim, lease);
        Verdict::Taken(counts)
    }

    /// Writes down a call that is sent whatever the books say, as nothing in force is about it.
    pub fn note(&mut self, now: Duration, claim: &Claim, lease: Option<Duration>) {
        let at = self.tick(now);
        if !self.open.contains_key(&claim.request) {
            self.look_up(at, claim);
            self.write_down(at, claim, lease);
        }
    }

    fn write_down(&mut self, at: Stamp, claim: &Claim, lease: Option<Duration>) {
        let Claim { request, project, work, .. } = claim.clone();
        self.remember_creation(at, claim);
        let until = lease.map(|lease| Stamp(at.0 + lease));
        self.open.insert(request, Open { project, work, taken: at, until, is_doubt: false });
    }

    /// How the claim stands to its limits; nothing is written down. None as long as nobody has counted.
    pub fn look(&mut self, now: Duration, claim: &Claim) -> Option<Vec<Count>> {
        let at = self.tick(now);
        self.counted.map(|_| self.counts(at, claim))
    }

    /// The call has ended. Of an unknown end its claim stays until a census that begins `open_for` from now.
    pub fn settle(&mut self, now: Duration, request: RequestId, end: End, open_for: Duration) {
        let at = self.tick(now);
        match end {
            End::Unknown => {
                if let Some(open) = self.open.get_mut(&request).filter(|open| !open.is_doubt) {
                    (open.until, open.is_doubt) = (Some(Stamp(at.0 + open_for)), true);
                }
            }
            End::Nothing => {
                // It counts as made work, which there is none of; as a call it counts in the rates.
                if let Some(open) = self.open.remove(&request) {
                    self.creations.forget(&open.project, open.taken);
                }
            }
            End::Shown(sight) => {
                let open = self.open.remove(&request);
                let asked = open.map(|open| open.project).unwrap_or_default();
                let project = if sight.project.is_empty() { asked } else { sight.project };
                let sight = Sight { project, ..sight };
                match sight.pool {
                    _ if sight.has_ended => self.end(at, sight.id),
                    _ if self.ended.contains_key(&sight.id) => {}
                    Some(pool) => self.set_pool(at, sight.id, sight.project, pool),
                    None => {
                        self.running.insert(sight.id, Known::new(sight.project, at));
                    }
                }
            }
        }
    }

    /// What an answer to any call showed.
    pub fn see(&mut self, now: Duration, sights: impl IntoIterator<Item = Sight>) {
        let at = self.tick(now);
        for sight in sights {
            match sight.pool {
                _ if sight.has_ended => self.end(at, sight.id),
                // A newer state of what is known; when the answer was made is not, so it stays as old as it was.
                Some(seen) => {
                    if let Some(pool) =
                        self.pools.get_mut(&sight.id).filter(|pool| pool.version < seen.version)
                    {
                        (pool.max, pool.version) = (seen.max, seen.version);
                    }
                }
                None => {}
            }
        }
    }

    /// A census is about to begin.
    pub fn begin(&mut self, now: Duration) -> Stamp {
        self.tick(now)
    }

    /// A census that was begun then is over. Of two the one that was begun later counts, whenever they end.
    pub fn apply(&mut self, now: Duration, begun: Stamp, counted: Counted) {
        let at = self.tick(now);
        if self.counted.is_some_and(|newest| newest >= begun) {
            return;
        }
        self.counted = Some(begun);
        let Counted { mut prebuilds, mut pools, extent } = counted;
        prebuilds.iter_mut().for_each(|one| one.id = canonical(&one.id));
        pools.iter_mut().for_each(|pool| pool.id = canonical(&pool.id));
        self.drop_absent(begun, extent, &prebuilds, &pools);
        for Standing { id, project } in prebuilds {
            if !self.ended.contains_key(&id) {
                let known = self.running.entry(id).or_insert_with(|| Known::new(canonical(&project), begun));
                known.is_missed = false;
            }
        }
        for StandingPool { id, project, max, version } in pools {
            if !self.ended.contains_key(&id) {
                self.count_pool(begun, id, canonical(&project), Present { max, version });
            }
        }
        self.open.retain(|_, open| open.until.is_none_or(|until| until > begun));
        let oldest = self.open.values().map(|open| open.taken).min();
        let lag = self.lag;
        self.ended.retain(|_, since| since.0 + lag > begun.0 || oldest.is_some_and(|oldest| oldest < *since));
        self.creations.prune(at);
    }

    /// Nobody counts any more. Calls that are under way are kept: their work would be missing if it is counted again.
    pub fn close(&mut self) {
        self.counted = None;
        self.running.clear();
        self.pools.clear();
        self.ended.clear();
    }

    /// Whether closed books can be thrown away: nothing is under way that a census from now on may not show.
    pub fn is_blank(&mut self, now: Duration) -> bool {
        let at = self.tick(now);
        self.open.retain(|_, open| open.until.is_none_or(|until| until > at));
        self.counted.is_none() && self.open.is_empty()
    }

    pub fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// Whether a census that begins now settles what one that began then could not.
    pub fn has_overdue(&self, then: Stamp, now: Stamp) -> bool {
        self.open.values().filter_map(|open| open.until).any(|until| then < until && until <= now)
    }

    pub fn tally(&self) -> Tally {
        let doubts = self.open.values().filter(|open| open.is_doubt).filter_map(|open| open.until);
        Tally {
            is_counted: self.is_counted(),
            running: self.running.len(),
            open: self.open.len(),
            doubts: doubts.clone().count(),
            doubted_for: doubts.min().map(|until| until.0.saturating_sub(self.now.0)),
        }
    }

    fn drop_absent(&mut self, begun: Stamp, extent: Extent, prebuilds: &[Standing], pools: &[StandingPool]) {
        let ids = prebuilds.iter().map(|standing| &*standing.id);
        let ids: HashSet<&str> = ids.chain(pools.iter().map(|pool| &*pool.id)).collect();
        let lag = self.lag;
        let stays = |id: &String, known: &mut Known| {
            if ids.contains(&**id) || known.since.0 + lag >= begun.0 {
                return true;
            }
            match extent {
                Extent::Whole => false,
                Extent::Paged => !std::mem::replace(&mut known.is_missed, true),
                Extent::Cut => true,
            }
        };
        self.running.retain(stays);
        self.pools.retain(|id, pool| stays(id, &mut pool.known));
    }

    /// The call's own look-up may be the first to show the pool, or a change past the gateway.
    fn look_up(&mut self, at: Stamp, claim: &Claim) {
        if let Work::Pool { id, present: Some(present), .. } = &claim.work
            && !self.ended.contains_key(id)
        {
            match self.pools.get_mut(id) {
                Some(pool) if pool.version < present.version => {
                    (pool.max, pool.version) = (present.max, present.version);
                }
                Some(_) => {}
                None => self.set_pool(at, id.clone(), claim.project.clone(), *present),
            }
        }
    }

    /// The word of the call that made it. Of two changes the later one counts, whichever is heard of first.
    fn set_pool(&mut self, at: Stamp, id: String, project: String, shown: Present) {
        if self.pools.get(&id).is_none_or(|pool| pool.version <= shown.version) {
            let Present { max, version } = shown;
            self.pools.insert(id, Pool { known: Known::new(project, at), max, version });
        }
    }

    fn count_pool(&mut self, begun: Stamp, id: String, project: String, shown: Present) {
        let lag = self.lag;
        match self.pools.get_mut(&id) {
            None => self.set_pool(begun, id, project, shown),
            Some(pool) => {
                pool.known.is_missed = false;
                let is_older = pool.known.since.0 + lag < begun.0;
                if pool.version < shown.version || pool.version == shown.version && is_older {
                    (pool.max, pool.version) = (shown.max, shown.version);
                }
            }
        }
    }

    /// Remembered, where something may still say that it runs: an older census, or the answer of the call that made it.
    fn end(&mut self, at: Stamp, id: String) {
        let was_known = self.running.remove(&id).is_some() | self.pools.remove(&id).is_some();
        if (was_known || !self.open.is_empty()) && self.ended.len() < MAX_ENDED {
            self.ended.entry(id).or_insert(at);
        }
    }

    fn remember_creation(&mut self, at: Stamp, claim: &Claim) {
        let windows = claim.limits.iter().filter_map(|limit| match limit.burden {
            Burden::Creates { count, window } => {
                let is_own = limit.is_enforced && limit.of == BudgetOf::Project;
                Some(Window { length: window, most: if is_own { count as usize } else { 0 } })
            }
            Burden::RunningPrebuilds(_) | Burden::WarmInstances(_) => None,
        });
        let widest = |one: Window, other: Window| Window {
            length: one.length.max(other.length),
            most: one.most.max(other.most),
        };
        if let Some(window) = windows.reduce(widest) {
            self.creations.add(at, &claim.project, window);
        }
    }
}

impl From<u64> for Stamp {
    fn from(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }
}

impl From<Stamp> for u64 {
    fn from(Stamp(time): Stamp) -> Self {
        // For some five hundred years.
        Self::try_from(time.as_nanos()).unwrap_or(Self::MAX)
    }
}

impl Known {
    fn new(project: String, since: Stamp) -> Self {
        Self { project, since, is_missed: false }
    }
}
