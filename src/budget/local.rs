//! Books in the memory of this process, for one replica.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
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

type Orgs = HashMap<OrgId, Page>;

/// Time that never goes back, from any begin.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

struct Page {
    books: Arc<Mutex<Books>>,
    is_open: bool,
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

    /// The time is read under the lock, so that steps are in the order of their times.
    fn on<T>(&self, org: &OrgId, step: impl FnOnce(&mut Books, Duration) -> T) -> Option<T> {
        let books = Arc::clone(&self.orgs().get(org)?.books);
        let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
        Some(step(&mut books, (self.clock)()))
    }
}

impl Ledger for Local {
    fn keeps(&self, org: &OrgId) -> bool {
        self.orgs().get(org).is_some_and(|page| page.is_open)
    }

    fn open(&self, org: &OrgId) {
        let mut orgs = self.orgs.write().unwrap_or_else(PoisonError::into_inner);
        let books = || Arc::new(Mutex::new(Books::new(self.lag)));
        let page = orgs.entry(org.clone()).or_insert_with(|| Page { books: books(), is_open: true });
        if !page.is_open {
            // A census may have ended after they were closed.
            page.books.lock().unwrap_or_else(PoisonError::into_inner).close();
            page.is_open = true;
        }
    }

    fn close(&self, org: &OrgId) {
        self.on(org, |books, _| books.close());
        let mut orgs = self.orgs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = orgs.get_mut(org) {
            page.is_open = false;
        }
        orgs.retain(|_, page| {
            let is_blank = || page.books.lock().unwrap_or_else(PoisonError::into_inner).is_blank();
            page.is_open || !is_blank()
        });
    }

    fn claim<'a>(&'a self, org: &'a OrgId, claim: &'a Claim, _lease: Duration) -> BoxFuture<'a, Verdict> {
        let verdict = self.on(org, |books, now| books.claim(now, claim, None));
        async move { verdict.unwrap_or(Verdict::Uncounted) }.boxed()
    }

    fn look<'a>(&'a self, org: &'a OrgId, claim: &'a Claim) -> BoxFuture<'a, Option<Vec<Count>>> {
        let counts = self.on(org, |books, now| books.look(now, claim)).flatten();
        async move { counts }.boxed()
    }

    fn settle(&self, org: &OrgId, request: RequestId, end: End, open_for: Duration) {
        self.on(org, |books, now| books.settle(now, request, end, open_for));
    }

    fn see(&self, org: &OrgId, sights: Vec<Sight>) {
        self.on(org, |books, now| books.see(now, sights));
    }

    fn begin<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Option<Begin>> {
        let begun = self.on(org, |books, now| Begin::Now(books.begin(now)));
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
        f.debug_struct("Local").field("orgs", &self.orgs().len()).finish_non_exhaustive()
    }
}
