//! What is done to an org's books, and who waits for it.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Page;
use crate::{
    budget::{
        books::Stamp,
        claim::{Claim, Count, End, Sight, Verdict},
        ledger::{Begin, Tally},
    },
    call::{Counted, RequestId},
};

#[derive(Debug)]
pub(super) enum Step {
    Claim { claim: Claim, lease: Duration, reply: oneshot::Sender<Verdict> },
    Look { claim: Claim, reply: oneshot::Sender<Option<Vec<Count>>> },
    Note(Note),
    Settle(Settlement),
    See(Vec<Sight>),
    Begin { reply: oneshot::Sender<Option<Begin>> },
    Apply { begun: Stamp, counted: Counted, reply: oneshot::Sender<Option<Tally>> },
}

/// It may be told twice, and late.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    pub(super) request: RequestId,
    pub(super) end: End,
    pub(super) open_for: Duration,
    /// Later the books know it by a census.
    pub(super) until: Instant,
}

/// A call that is sent without having been judged. It may be told twice, and late.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) claim: Claim,
    pub(super) lease: Duration,
    /// Later a census shows what it made.
    pub(super) until: Instant,
}

/// What came of a step.
pub(super) enum Said {
    Claim(Verdict),
    Look(Option<Vec<Count>>),
    Begin(Begin),
    Apply(Tally),
    Nothing,
}

impl Step {
    /// On a page that may turn out not to be the one; `now` is not before the step was asked for.
    pub(super) fn take(&self, page: &mut Page, now: Duration) -> Said {
        match self {
            Self::Claim { claim, lease, .. } => Said::Claim(page.books(now).claim(now, claim, Some(*lease))),
            Self::Look { claim, .. } => Said::Look(page.books(now).look(now, claim)),
            Self::Note(Note { claim, lease, .. }) => {
                page.books(now).note(now, claim, Some(*lease));
                Said::Nothing
            }
            Self::Settle(Settlement { request, end, open_for, .. }) => {
                page.books(now).settle(now, *request, end.clone(), *open_for);
                Said::Nothing
            }
            Self::See(sights) => {
                page.books(now).see(now, sights.clone());
                Said::Nothing
            }
            Self::Begin { .. } => Said::Begin(page.begin(now)),
            Self::Apply { begun, counted, .. } => {
                page.books(now).apply(now, *begun, counted.clone());
                Said::Apply(page.tally())
            }
        }
    }

    /// Nobody waits for it any more, so that it is not to be taken.
    pub(super) fn is_left(&self) -> bool {
        match self {
            Self::Claim { reply, .. } => reply.is_closed(),
            Self::Look { reply, .. } => reply.is_closed(),
            Self::Begin { reply } => reply.is_closed(),
            Self::Note(note) => note.until <= Instant::now(),
            Self::Settle(settlement) => settlement.until <= Instant::now(),
            Self::Apply { .. } | Self::See(_) => false,
        }
    }

    /// Says what came of it. What has to be told to the books now is returned: that nobody heard of a claim that was
    /// taken, so that its call is never sent.
    pub(super) fn answer(self, said: Said) -> Option<Self> {
        match (self, said) {
            (Self::Claim { claim, lease, reply }, Said::Claim(verdict)) => {
                let unheard = reply.send(verdict).err();
                unheard.filter(|unheard| matches!(unheard, Verdict::Taken(_)))?;
                Some(Self::Settle(Settlement::of_nothing(&claim, lease)))
            }
            (Self::Look { reply, .. }, Said::Look(counts)) => {
                let _ = reply.send(counts);
                None
            }
            (Self::Begin { reply }, Said::Begin(begin)) => {
                let _ = reply.send(Some(begin));
                None
            }
            (Self::Apply { reply, .. }, Said::Apply(tally)) => {
                let _ = reply.send(Some(tally));
                None
            }
            _ => None,
        }
    }

    /// The store said nothing: what is to be told to the books once it does. A claim may have been written down.
    pub(super) fn fail(self) -> Option<Self> {
        match self {
            Self::Claim { claim, lease, reply } => {
                let _ = reply.send(Verdict::Uncounted);
                Some(Self::Settle(Settlement::of_nothing(&claim, lease)))
            }
            Self::Note(_) | Self::Settle(_) => Some(self),
            // Whoever waits hears that nobody answers.
            Self::Look { .. } | Self::See(_) | Self::Begin { .. } | Self::Apply { .. } => None,
        }
    }
}

impl Note {
    pub(super) fn new(claim: Claim, lease: Duration) -> Self {
        Self { claim, lease, until: Instant::now() + lease }
    }
}

impl Settlement {
    pub(super) fn new(request: RequestId, end: End, open_for: Duration) -> Self {
        // By then its lease has passed, and a census may have begun.
        Self { request, end, open_for, until: Instant::now() + open_for * 2 }
    }

    fn of_nothing(claim: &Claim, lease: Duration) -> Self {
        Self::new(claim.request, End::Nothing, lease)
    }
}
