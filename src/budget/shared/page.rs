//! An org's books as the store has them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Terms;
use crate::budget::{
    books::{Books, Stamp},
    ledger::{Begin, Tally},
    reconcile::LONGEST,
};

/// Between two censuses of whomever, a part of the interval: with as many replicas as there are, it is counted as often as
/// by one.
const PART: f64 = 0.7;
/// Before the first census nothing passes. Whoever has begun it may be gone.
const FIRST: Duration = Duration::from_secs(1);
/// Where doubts are over, so many times as often at most.
const HASTE: u32 = 8;
/// Censuses that nobody began in a row, and as long as one may take beside, after which nobody kept the books: what
/// they say has grown old.
const MISSED: u32 = 4;

/// The books, and what else the replicas have to know of each other.
#[derive(Clone, Debug)]
pub(super) struct Page {
    clock: Clock,
    content: Content,
    terms: Terms,
}

/// What changes by itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Clock {
    /// The newest moment in the books.
    now: Stamp,
    /// What the store's clock said last, and by how much the books are ahead of it since it was set back.
    seen: Stamp,
    ahead: Stamp,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// No census before: calls may be under way that the books do not know.
    not_before: Stamp,
    /// When somebody last began one.
    begun: Option<Stamp>,
    /// Until when calls may take effect that were sent without claims, by the store's clock, as the books know it.
    heeded: Stamp,
    books: Books,
}

impl Page {
    /// Where there is none, or none that can be read, it was never there or is lost: nobody knows which calls are under
    /// way, so that there is no census before they have ended.
    fn blank(at: Duration, terms: Terms) -> Self {
        let not_before = Stamp(at + terms.longest());
        let content = Content { not_before, books: Books::new(terms.lag), ..Content::default() };
        Self { clock: Clock::default(), content, terms }
    }

    /// As it was written; `is_sure` unless what was written last may be lost.
    pub(super) fn read(text: &str, is_sure: bool, at: Duration, terms: Terms) -> Self {
        let Some((clock, mut content)) = parse(text) else { return Self::blank(at, terms) };
        content.books.resume(clock.now, terms.lag);
        let mut page = Self { clock, content, terms };
        if !is_sure {
            // What it knows to be under way counts on.
            page.content.books.close();
            page.content.not_before = Stamp(page.time(at) + terms.longest());
        }
        page
    }

    /// Calls were sent that no books know of, and may take effect until `unclaimed`, by the store's clock: each such word
    /// closes the books once.
    pub(super) fn heed(&mut self, unclaimed: Duration, at: Duration) {
        if self.content.heeded == Stamp(unclaimed) {
            return;
        }
        self.content.heeded = Stamp(unclaimed);
        self.content.books.close();
        // No word is of longer: the clock was set back since.
        let wait = unclaimed.saturating_sub(at).min(self.terms.longest());
        let not_before = Stamp(self.time(at) + wait);
        self.content.not_before = self.content.not_before.max(not_before);
    }

    /// With its content; none if it cannot be written out.
    pub(super) fn write(&self, content: &str) -> Option<String> {
        let clock = Clock { now: self.content.books.now(), ..self.clock };
        Some(format!("{}\n{content}", serde_json::to_string(&clock).ok()?))
    }

    /// All but what changes by itself.
    pub(super) fn content(&self) -> Option<String> {
        serde_json::to_string(&self.content).ok()
    }

    /// What the store's clock said stands for. One that was set back goes on from where it was.
    pub(super) fn time(&mut self, at: Duration) -> Duration {
        let Clock { seen, ahead, .. } = &mut self.clock;
        ahead.0 += seen.0.saturating_sub(at);
        seen.0 = at;
        at + ahead.0
    }

    /// The books, unless nobody kept them of late.
    pub(super) fn books(&mut self, now: Duration) -> &mut Books {
        let gap = self.terms.interval * MISSED + LONGEST;
        if self.content.begun.is_some_and(|begun| begun.0 + gap < now) {
            self.content.books.close();
        }
        &mut self.content.books
    }

    pub(super) fn begin(&mut self, now: Duration) -> Begin {
        let wait = self.content.not_before.0.saturating_sub(now).max(self.wait(now));
        let books = self.books(now);
        if !wait.is_zero() {
            return Begin::Later { tally: books.tally(), again_in: wait };
        }
        let begun = books.begin(now);
        self.content.begun = Some(begun);
        Begin::Now(begun)
    }

    pub(super) fn tally(&self) -> Tally {
        self.content.books.tally()
    }

    /// For another replica's census.
    fn wait(&self, now: Duration) -> Duration {
        let Some(begun) = self.content.begun else { return Duration::ZERO };
        let books = &self.content.books;
        let pause = match books.is_counted() {
            true if books.has_overdue(begun, Stamp(now)) => self.terms.interval / HASTE,
            true => self.terms.interval.mul_f64(PART),
            false => self.terms.interval.mul_f64(PART).min(FIRST),
        };
        (begun.0 + pause).saturating_sub(now)
    }
}

fn parse(text: &str) -> Option<(Clock, Content)> {
    let (clock, content) = text.split_once('\n')?;
    Some((serde_json::from_str(clock).ok()?, serde_json::from_str(content).ok()?))
}
