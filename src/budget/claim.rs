//! What a call would leave outstanding, and what became of it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    call::{Call, RequestId},
    error::{Code, Error, Origin, Reason, Sent},
    rpc::{Adds, Object, Sizes},
    rule::{Bound, BudgetOf, Burden, Selection},
};

/// A call as the books see it. It is written down whole, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub request: RequestId,
    /// Empty where it is not known, which counts as every project.
    pub project: String,
    pub work: Work,
    /// Those that are in force, and those that are only looked at.
    pub limits: Vec<Limit>,
    /// The projects whose objects the caller may be told of.
    pub shown: Selection,
}

/// What it would leave outstanding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Work {
    /// One more prebuild.
    Prebuild,
    /// A pool that may grow to so many instances.
    NewPool { max: u32 },
    /// So much of a pool that there is.
    Pool { id: String, max: u32, present: Option<Present> },
}

/// A pool as it was looked up for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Present {
    pub max: u32,
    pub version: u64,
}

/// A budget without its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub burden: Burden,
    pub of: BudgetOf,
    /// It decides. Others are counted beside it.
    pub is_enforced: bool,
}

/// What the books say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is written down.
    Taken(Vec<Count>),
    /// It is not: a limit in force would be passed.
    Full(Vec<Count>),
    /// It is not: nobody has counted yet what there is.
    Uncounted,
}

/// How a claim stands to one of its limits, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Without the claim.
    pub used: u32,
    pub takes: u32,
    pub limit: u32,
    /// The ids of those that hold it and may be shown, at most ten.
    pub holders: Vec<String>,
    /// What holds it and has no id yet, or none that is known.
    pub unnamed: u32,
    /// When there will be room, where time alone makes it.
    pub room_in: Option<Duration>,
}

/// What became of a call whose claim is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Upstream shows what it made, or made of it.
    Shown(Sight),
    /// Nothing was done.
    Nothing,
    /// Nobody can tell. What it may have done counts until a census tells.
    Unknown,
}

/// An object as upstream showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    pub id: String,
    pub project: String,
    pub has_ended: bool,
    /// Of a pool.
    pub pool: Option<Present>,
}

impl Claim {
    /// What the call adds, with those of its budgets that are about it; none if it adds nothing. What no budget is about is
    /// a claim, too: the next policy may have one for it.
    pub fn of(call: &Call) -> Option<Self> {
        let adds = call.method.adds?;
        let limits: Vec<_> = limits(call, adds).collect();
        let facts = &call.facts;
        let resource = facts.resource.as_ref();
        let project = facts.project.as_deref().or(resource.map(|object| &*object.project));
        let work = match (adds, &facts.pool) {
            (Adds::Prebuild, _) => Work::Prebuild,
            (Adds::Instances, None) => Work::NewPool { max: facts.sizes.reach() },
            (Adds::Instances, Some(id)) => {
                let present = resource.filter(|pool| pool.is_pool()).map(Present::of);
                Work::Pool { id: canonical(id), max: changed(facts.sizes, present), present }
            }
        };
        let request = call.context.id();
        let project = canonical(project.unwrap_or_default());
        Some(Self { request, project, work, limits, shown: shown(&call.bound) })
    }

    pub fn is_enforced(&self) -> bool {
        self.limits.iter().any(|limit| limit.is_enforced)
    }
}

/// Who is limited to some projects learns of no object of others. Of which class an object is the books do not tell: who
/// is limited to some is told of none.
fn shown(bound: &Bound) -> Selection {
    match bound.classes.is_all() {
        true => bound.projects.clone(),
        false => Selection { allow: Some(Arc::default()), deny: Arc::default() },
    }
}

/// Of the call's budgets, by position, those that its work is counted in.
pub(super) fn is_of(burden: Burden, adds: Adds) -> bool {
    match burden {
        Burden::RunningPrebuilds(_) | Burden::Creates { .. } => adds == Adds::Prebuild,
        Burden::WarmInstances(_) => adds == Adds::Instances,
    }
}

fn limits(call: &Call, adds: Adds) -> impl Iterator<Item = Limit> {
    let budgets = call.bound.budgets.iter();
    budgets.filter(move |budget| is_of(budget.burden.value, adds)).map(|budget| Limit {
        burden: budget.burden.value,
        of: budget.of,
        is_enforced: budget.burden.is_enforced(),
    })
}

/// What a change makes of a pool. Where upstream alone knows what the maximum will be, the most that it can.
fn changed(sizes: Sizes, present: Option<Present>) -> u32 {
    if sizes.max.is_some() {
        return sizes.reach();
    }
    let present = present.map_or_else(|| Sizes::default().reach(), |present| present.max);
    let asked = [sizes.desired, sizes.min].into_iter().flatten();
    asked.filter_map(|size| u32::try_from(size).ok()).fold(present, u32::max)
}

/// UUIDs in one spelling, so that one object is not two.
pub(super) fn canonical(id: &str) -> String {
    uuid::Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}

impl Present {
    fn of(pool: &Object) -> Self {
        Self { max: pool.sizes.reach(), version: pool.version }
    }
}

impl Limit {
    pub const fn max(self) -> u32 {
        match self.burden {
            Burden::RunningPrebuilds(max) | Burden::WarmInstances(max) => max,
            Burden::Creates { count, .. } => count,
        }
    }
}

impl Count {
    /// Who takes no more than there is passes also above the limit: a limit that was lowered must not keep anybody from
    /// making less of it.
    pub const fn is_within(&self) -> bool {
        self.takes == 0 || self.used.saturating_add(self.takes) <= self.limit
    }
}

impl Sight {
    pub fn of(object: &Object) -> Option<Self> {
        let sight = || Self {
            id: canonical(&object.id),
            project: canonical(&object.project),
            has_ended: object.has_ended,
            pool: object.is_pool().then(|| Present::of(object)),
        };
        (!object.id.is_empty()).then(sight)
    }
}

impl End {
    /// Of a call that was let through. An answer that shows nothing tells nothing.
    pub fn of(result: &Result<crate::call::Reply, Error>) -> Self {
        match result {
            Ok(reply) => reply.seen.objects.first().and_then(Sight::of).map_or(Self::Unknown, Self::Shown),
            Err(error) if has_done_nothing(error) => Self::Nothing,
            Err(_) => Self::Unknown,
        }
    }
}

/// It never left, or upstream said no by a word that means that nothing was done. Any other word, `internal` or
/// `unavailable`, may come from the middle of the work.
fn has_done_nothing(error: &Error) -> bool {
    match (error.sent, error.origin, error.reason) {
        (Sent::No, ..) => true,
        (Sent::Yes, _, Some(Reason::UpstreamCredential | Reason::Unauthenticated | Reason::NotFound)) => true,
        (Sent::Yes, Origin::Upstream, None) => matches!(
            error.code,
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Unauthenticated
        ),
        (Sent::Yes | Sent::Maybe, ..) => false,
    }
}
