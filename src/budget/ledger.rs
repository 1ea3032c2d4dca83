//! Where the books are kept.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use super::{
    books::Stamp,
    claim::{Claim, Count, End, Sight, Verdict},
};
use crate::call::{Counted, OrgId, RequestId};

/// The seam between the stage and the books. Every operation is one step on one org's books that nothing comes between,
/// so that several replicas can share them: a script by the org's key, by the clock of whoever keeps them.
pub trait Ledger: fmt::Debug + Send + Sync + 'static {
    /// Whether there are books of the org. Asked on every call, so that it answers from memory.
    fn keeps(&self, org: &OrgId) -> bool;

    /// So soon after its claim a call has to be sent, or not at all; none if claims do not run out.
    fn send_within(&self) -> Option<Duration>;

    /// Opens the books of the org. Until the first census nothing in force is granted.
    fn open(&self, org: &OrgId);

    /// Nobody counts what the org has outstanding any more.
    fn close(&self, org: &OrgId);

    /// All limits in force are checked and taken at once, or none is. A ledger that cannot be reached says `Uncounted`.
    /// Whatever becomes of whoever makes it, the call takes no effect later than `lease` from now.
    fn claim<'a>(&'a self, org: &'a OrgId, claim: &'a Claim, lease: Duration) -> BoxFuture<'a, Verdict>;

    /// The call is sent without having been judged: no budget is about it and nobody keeps the org's books here, or none in
    /// force is and the ledger said `Uncounted`. Whoever judges by the books, now or later, has to know of it. Settled as
    /// any other.
    fn pass<'a>(&'a self, org: &'a OrgId, claim: &'a Claim, lease: Duration) -> BoxFuture<'a, ()>;

    /// How the claim stands; nothing is taken. None if that is not known.
    fn look<'a>(&'a self, org: &'a OrgId, claim: &'a Claim) -> BoxFuture<'a, Option<Vec<Count>>>;

    /// What became of a call. Nobody waits for it, and it may come twice: the first one counts. One that is lost is as
    /// good as `Unknown` later on. Of an unknown end the claim stays until a census that begins `open_for` from now.
    fn settle(&self, org: &OrgId, request: RequestId, end: End, open_for: Duration);

    /// What an answer showed. Nobody waits for it, and none of it has to arrive.
    fn see(&self, org: &OrgId, sights: Vec<Sight>);

    /// A census is about to begin; none if the ledger cannot be reached, or has no such books.
    fn begin<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Option<Begin>>;

    /// What it has counted.
    fn apply<'a>(&'a self, org: &'a OrgId, begun: Stamp, counted: Counted) -> BoxFuture<'a, Option<Tally>>;
}

/// Whether to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Now: the census is known by this moment.
    Now(Stamp),
    /// Another replica has, or is about to; or calls may be under way that the books do not know.
    Later { tally: Tally, again_in: Duration },
}

/// The state of an org's books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls are judged by them.
    pub is_counted: bool,
    /// Prebuilds that are known to run.
    pub running: usize,
    /// Calls that have not ended, or nobody knows how.
    pub open: usize,
    /// Of those, the latter.
    pub doubts: usize,
    /// A census that begins so much later settles the first of them.
    pub doubted_for: Option<Duration>,
}
