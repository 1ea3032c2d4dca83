//! Floods of refusals, folded into counts. Of refusals that are alike the first stands by itself; those that follow
//! within ten seconds are counted, and told when the ten seconds are over. A flood that goes on is told every ten seconds.
//!
//! How many kinds are told apart is bounded, so that a flood costs as little of the disk and of memory as a trickle. Beyond
//! that, refusals of strangers, those whose point is that there are too many, and those of requests that became no call
//! share one count. What else a known caller was refused then stands by itself: its rate is bounded by the org's.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::Map;

use super::record::{Common, Count, Record};
use crate::{
    call::{Context, CredentialId, OrgId, Peer, Reply, Scopes, SubjectId},
    error::{Code, Error, Reason},
    rpc::Facts,
    rule::Version,
    telemetry::{Decision, metrics::AuditStage},
};

#[cfg(test)]
mod tests;

/// Long enough that a flood costs little, short enough that whoever watches the log sees it go on.
const WINDOW: Duration = Duration::from_secs(10);
/// Kinds that are told apart at a time. With two records each, and one in each further window, a minute's flood of all of
/// them stays below 1 MB.
const MAX_KINDS: usize = 128;
/// Of them, what strangers may take: however many they are, known callers have the others.
const MAX_STRANGE: usize = 96;

/// Refusals that are alike, by a hash of what they have in common: nobody outside knows its seed.
#[derive(Debug, Default)]
pub struct Fold {
    seed: RandomState,
    kinds: Mutex<Kinds>,
}

#[derive(Debug, Default)]
struct Kinds {
    known: HashMap<u64, Alike>,
    /// Of no kind that is known.
    rest: Option<Count>,
}

/// Refusals of one kind.
#[derive(Debug)]
struct Alike {
    since: SystemTime,
    /// The first, in the form of what tells of the others.
    like: Record,
    /// Those behind it.
    more: Option<Count>,
}

/// What refusals have in common that are alike: all that a record has of them which stands for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind<'c> {
    caller: Option<(&'c OrgId, &'c SubjectId, &'c CredentialId, &'c Scopes)>,
    method: Option<&'static str>,
    is_dry_run: bool,
    policy: Option<&'c Version>,
    decision: Decision,
    code: Code,
    reason: Option<Reason>,
    rule: Option<&'c str>,
    /// Which rules may look at; of a limit only to tell strangers apart, who have whole networks of IPv6.
    from: Option<IpAddr>,
    protocol: Option<&'static str>,
    facts: Option<&'c Facts>,
    /// Whether it may share a count with whatever is not told apart.
    is_common: bool,
}

impl Fold {
    /// The record of a refusal, if it is to stand by itself; otherwise it is counted.
    pub(super) fn admit(
        &self,
        kind: Option<Kind<'_>>,
        now: SystemTime,
        record: impl FnOnce() -> Record,
    ) -> Option<Record> {
        let Some(kind) = kind else { return Some(record()) };
        let hash = self.seed.hash_one(kind);
        let mut kinds = self.kinds();
        if let Some(alike) = kinds.known.get_mut(&hash) {
            Count::add(&mut alike.more, now);
            return None;
        }
        let most = if kind.caller.is_some() { MAX_KINDS } else { MAX_STRANGE };
        if kinds.known.len() >= most {
            if !kind.is_common {
                return Some(record());
            }
            Count::add(&mut kinds.rest, now);
            return None;
        }
        let record = record();
        kinds.known.insert(hash, Alike { since: now, like: record.like(kind.common()), more: None });
        Some(record)
    }

    /// The record of a call that has ended, unless it is one of many refusals that are alike.
    pub(super) fn of(
        &self,
        record: Record,
        result: &Result<Reply, Error>,
        context: &Context,
    ) -> Option<Record> {
        let Some(error) = result.as_ref().err().filter(|_| record.stage() == AuditStage::Reject) else {
            return Some(record);
        };
        let facts = record.facts().cloned();
        self.admit(Kind::of(context, error, facts.as_ref()), SystemTime::now(), || record)
    }

    /// What is to be told now of refusals that were counted.
    pub fn due(&self, now: SystemTime) -> Vec<Record> {
        // A clock that was set back must not keep a count for as long as that.
        let is_over = |since: SystemTime| now.duration_since(since).map_or(true, |age| age >= WINDOW);
        let mut kinds = self.kinds();
        let mut told = Vec::new();
        kinds.known.retain(|_, alike| {
            if !is_over(alike.since) {
                return true;
            }
            // What goes on is counted on; what has stopped is forgotten.
            let Some(count) = alike.more.take() else { return false };
            told.push(alike.like.clone().counted(count));
            alike.since = now;
            true
        });
        told.extend(kinds.rest.take_if(|rest| is_over(rest.first)).map(not_told_apart));
        told
    }

    /// All that was counted, at the end.
    pub fn rest(&self) -> Vec<Record> {
        let Kinds { known, rest } = std::mem::take(&mut *self.kinds());
        let counted = known.into_values().filter_map(|alike| Some(alike.like.counted(alike.more?)));
        counted.chain(rest.map(not_told_apart)).collect()
    }

    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'c> Kind<'c> {
    /// What a refusal is like. `None` is like no other: each is to be on record.
    pub(super) fn of(context: &'c Context, error: &'c Error, facts: Option<&'c Facts>) -> Option<Self> {
        // Two good credentials of different callers, or another org's object in upstream's answer: each may be an attack.
        if error.reason == Some(Reason::IdentityConflict) || context.mismatch().is_some() {
            return None;
        }
        let identity = context.identity();
        let is_limited = context.is_limited() || error.reason.is_some_and(is_limit);
        let from = context.peer().and_then(|peer| match identity {
            None => Some(Peer(peer).network()),
            Some(_) => (!is_limited).then(|| peer.ip().to_canonical()),
        });
        Some(Self {
            caller: identity.map(|caller| (&caller.org, &caller.subject, &caller.credential, &caller.scopes)),
            method: context.method().map(|method| method.name),
            is_dry_run: context.is_dry_run(),
            policy: context.policy(),
            decision: Decision::of(context.is_permitted(), Some(error)),
            code: error.code,
            reason: error.reason,
            rule: error.rule.as_deref(),
            from,
            protocol: context.protocol().filter(|_| !is_limited),
            facts: facts.filter(|_| !is_limited),
            is_common: identity.is_none() || is_limited || !context.is_call(),
        })
    }

    /// What it has in common of that by which not all kinds are told apart.
    fn common(&self) -> Common {
        Common { from: self.from, protocol: self.protocol, has_facts: self.facts.is_some() }
    }
}

/// Refusals of all kinds that found no place.
fn not_told_apart(count: Count) -> Record {
    Record::own(AuditStage::Aggregate, Map::new()).counted(count)
}

/// Its point is that there are too many.
fn is_limit(reason: Reason) -> bool {
    matches!(reason, Reason::RateLimited | Reason::OrgBusy | Reason::PeerLimited | Reason::Overloaded)
}
