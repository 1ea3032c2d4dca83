//! Books in the memory of this process, for one replica.
//!
//! A call that no budget is about is written down, too, while it is under way: in books that are closed. So whoever opens
//! them, as a new policy does, finds there what a census may not show yet.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{
    books::{Books, Stamp},
    claim::{Claim, Count, End, Sight, Verdict},
    ledger::{Begin, Ledger, Tally},
};
use crate::call::{Counted, OrgId, RequestId};

/// The ledger. A claim that is not settled never runs out: whoever made it lives in this process, and settles it when
/// it is dropped.
pub struct Local {
    orgs: RwLock<Orgs>,
    clock: Clock,
    lag: Duration,
}

#[derive(Default)]
struct Orgs {
    pages: HashMap<OrgId, Page>,
    /// When a call last ended that was written down in closed books, of whatever org. A list may be older than its answer.
    ended_unkept: Mutex<Option<Duration>>,
}

/// Time that never goes back, from any begin.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

struct Page {
    books: Mutex<Books>,
    is_open: bool,
    /// No census before.
    not_before: Duration,
}

impl Local {
    /// `lag`: so much older than the answer to a call a list of upstream's may be.
    pub fn new(lag: Duration) -> Self {
        let begin = Instant::now();
        Self::by(Arc::new(move || begin.elapsed()), lag)
    }

    pub fn by(clock: Clock, lag: Duration) -> Self {
        Self { orgs: RwLock::default(), clock, lag }
    }

    fn orgs(&self) -> RwLockReadGuard<'_, Orgs> {
        self.orgs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn orgs_to_change(&self) -> RwLockWriteGuard<'_, Orgs> {
        self.orgs.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time is read under the lock, so that steps are in the order of their times. The page stays while it takes.
    fn on<T>(&self, org: &OrgId, step: impl FnOnce(&mut Books, Duration) -> T) -> Option<T> {
        let orgs = self.orgs();
        let mut books = orgs.pages.get(org)?.books();
        Some(step(&mut books, (self.clock)()))
    }

    /// Closed books that say nothing any more go.
    fn tidy(&self) {
        self.orgs_to_change().pages.retain(|_, page| {
            let is_blank = |page: &Page| page.books().is_blank((self.clock)());
            page.is_open || !is_blank(page)
        });
    }
}

impl Page {
    fn closed(lag: Duration) -> Self {
        Self { books: Mutex::new(Books::new(lag)), is_open: false, not_before: Duration::ZERO }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for Local {
    fn keeps(&self, org: &OrgId) -> bool {
        self.orgs().pages.get(org).is_some_and(|page| page.is_open)
    }

    fn send_within(&self) -> Option<Duration> {
        None
    }

    fn open(&self, org: &OrgId) {
        let mut orgs = self.orgs_to_change();
        let ended = *orgs.ended_unkept.lock().unwrap_or_else(PoisonError::into_inner);
        let page = orgs.pages.entry(org.clone()).or_insert_with(|| Page::closed(self.lag));
        if !page.is_open {
            // What was seen while nobody counted, or a census that has ended since: all but what is under way.
            page.books().close();
            page.is_open = true;
            page.not_before = ended.map(|ended| ended + self.lag).unwrap_or_default();
        }
    }

    fn close(&self, org: &OrgId) {
        if let Some(page) = self.orgs_to_change().pages.get_mut(org) {
            page.books().close();
            page.is_open = false;
        }
        self.tidy();
    }

    fn claim<'a>(&'a self, org: &'a OrgId, claim: &'a Claim, _lease: Duration) -> BoxFuture<'a, Verdict> {
        let verdict = self.on(org, |books, now| books.claim(now, claim, None));
        async move { verdict.unwrap_or(Verdict::Uncounted) }.boxed()
    }

    fn pass<'a>(&'a self, org: &'a OrgId, claim: &'a Claim, _lease: Duration) -> BoxFuture<'a, ()> {
        let mut orgs = self.orgs_to_change();
        let page = orgs.pages.entry(org.clone()).or_insert_with(|| Page::closed(self.lag));
        page.books().note((self.clock)(), claim, None);
        std::future::ready(()).boxed()
    }

    fn look<'a>(&'a self, org: &'a OrgId, claim: &'a Claim) -> BoxFuture<'a, Option<Vec<Count>>> {
        let counts = self.on(org, |books, now| books.look(now, claim)).flatten();
        async move { counts }.boxed()
    }

    fn settle(&self, org: &OrgId, request: RequestId, end: End, open_for: Duration) {
        let is_blank = {
            let orgs = self.orgs();
            let Some(page) = orgs.pages.get(org) else { return };
            let mut books = page.books();
            let now = (self.clock)();
            books.settle(now, request, end, open_for);
            if !page.is_open {
                *orgs.ended_unkept.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            }
            !page.is_open && books.is_blank(now)
        };
        if is_blank {
            self.tidy();
        }
    }

    fn see(&self, org: &OrgId, sights: Vec<Sight>) {
        self.on(org, |books, now| books.see(now, sights));
    }

    fn begin<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Option<Begin>> {
        let not_before = self.orgs().pages.get(org).map(|page| page.not_before).unwrap_or_default();
        let begun = self.on(org, |books, now| match not_before.saturating_sub(now) {
            Duration::ZERO => Begin::Now(books.begin(now)),
            again_in => Begin::Later { tally: books.tally(), again_in },
        });
        async move { begun }.boxed()
    }

    fn apply<'a>(&'a self, org: &'a OrgId, begun: Stamp, counted: Counted) -> BoxFuture<'a, Option<Tally>> {
        let tally = self.on(org, |books, now| {
            books.apply(now, begun, counted);
            books.tally()
        });
        async move { tally }.boxed()
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("orgs", &self.orgs().pages.len()).finish_non_exhaustive()
    }
}
