//! Counts again and again what the orgs have outstanding upstream.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{place::Places, state::State};
use super::{
    Settings,
    ledger::{Begin, Ledger, Tally},
};
use crate::{
    call::{Census, Deadline, NotCounted, OrgId, RequestId},
    telemetry::Metrics,
};

mod place;
mod state;
#[cfg(test)]
mod tests;

/// Of one census, however much there is to list: whoever lists a page waits far shorter. What is listed stays true however
/// long it takes, but what was made past the gateway is seen so much later.
pub(super) const LONGEST: Duration = Duration::from_secs(5 * 60);
/// Whoever takes longer does not keep others waiting any more.
const PLACE_HELD: Duration = Duration::from_secs(10);
/// Before it is tried again, doubled each time up to the interval: the calls of an org wait for its first one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// For doubts that are over sooner, so many times as often at most.
const HASTE: u32 = 8;

/// One task per org whose books are kept. They end with it.
#[derive(Debug)]
pub(super) struct Reconciler {
    counter: Counter,
    tasks: Mutex<HashMap<OrgId, Task>>,
}

#[derive(Clone, Debug)]
struct Counter {
    ledger: Arc<dyn Ledger>,
    census: Arc<dyn Census>,
    interval: Duration,
    places: Arc<Places>,
    metrics: Metrics,
}

/// It ends when this is dropped.
#[derive(Debug)]
struct Task {
    state: Arc<State>,
    _end: DropGuard,
}

/// What came of a look at the books.
enum Round {
    Counted(Tally),
    Later { tally: Tally, again_in: Duration },
}

/// No count came of it.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the books cannot be reached")]
    Ledger,
    #[error(transparent)]
    Census(#[from] NotCounted),
    #[error("counting has panicked")]
    Panic,
}

impl Reconciler {
    pub(super) fn new(
        ledger: Arc<dyn Ledger>,
        census: Arc<dyn Census>,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        let (interval, places) = (settings.interval, Arc::default());
        let counter = Counter { ledger, census, interval, places, metrics };
        Self { counter, tasks: Mutex::default() }
    }

    /// From now on the books of these orgs are kept, and no others'.
    pub(super) fn follow(&self, orgs: &BTreeSet<OrgId>) {
        let mut tasks = self.tasks();
        for (org, task) in tasks.extract_if(|org, _| !orgs.contains(org)) {
            // First, so that a census that is under way does not count in closed books.
            drop(task);
            self.counter.ledger.close(&org);
            self.counter.metrics.budget_closed(org.as_str());
        }
        for org in orgs {
            tasks.entry(org.clone()).or_insert_with(|| self.counter.begin(org));
        }
    }

    /// Keeps the books of an org that a call has a budget for, whoever says so.
    pub(super) fn keep(&self, org: &OrgId) {
        if !self.counter.ledger.keeps(org) {
            self.tasks().entry(org.clone()).or_insert_with(|| self.counter.begin(org));
        }
    }

    /// A call of the org waits for its first count.
    pub(super) fn hurry(&self, org: &OrgId) {
        if let Some(task) = self.tasks().get(org) {
            task.state.hurry();
        }
    }

    /// Of how many orgs the books are kept, and which of them are not counted, and why, in their order.
    pub(super) fn uncounted(&self) -> (usize, Vec<(OrgId, String)>) {
        let tasks = self.tasks();
        let problem = |(org, task): (&OrgId, &Task)| Some((org.clone(), task.state.problem()?));
        let mut uncounted: Vec<_> = tasks.iter().filter_map(problem).collect();
        uncounted.sort_unstable();
        (tasks.len(), uncounted)
    }

    /// At once, and by nobody's clock.
    #[cfg(test)]
    pub(super) async fn count(&self, org: &OrgId) -> bool {
        self.counter.count(org, &State::default()).await.is_ok()
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<OrgId, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter {
    fn begin(&self, org: &OrgId) -> Task {
        self.ledger.open(org);
        let (end, state) = (CancellationToken::new(), Arc::<State>::default());
        let counting = self.clone().run(org.clone(), Arc::clone(&state));
        tokio::spawn(end.clone().run_until_cancelled_owned(counting));
        Task { state, _end: end.drop_guard() }
    }

    /// Does not end, whatever happens in a count.
    async fn run(self, org: OrgId, state: Arc<State>) {
        let mut patience = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let round = AssertUnwindSafe(self.count(&org, &state)).catch_unwind().await;
            let pause = match round.unwrap_or(Err(Failed::Panic)) {
                Ok(Round::Counted(tally)) => {
                    patience = FIRST_PAUSE;
                    self.metrics.census_taken(org.as_str(), begun.elapsed(), true);
                    self.tell(&org, tally, &state);
                    self.pause(tally)
                }
                Ok(Round::Later { tally, again_in }) => {
                    self.tell(&org, tally, &state);
                    self.pause(tally).min(again_in)
                }
                Err(error) => {
                    self.metrics.census_taken(org.as_str(), begun.elapsed(), false);
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%org, %error, source, "what is outstanding stays as it was known");
                    state.fail(source.unwrap_or_else(|| error.to_string()));
                    let pause = patience.min(self.interval);
                    patience = patience.saturating_mul(2);
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn tell(&self, org: &OrgId, tally: Tally, state: &State) {
        state.tell(tally.is_counted);
        self.metrics.budget_counted(org.as_str(), tally.running, tally.open, tally.doubts);
    }

    async fn count(&self, org: &OrgId, state: &State) -> Result<Round, Failed> {
        let place = self.places.take(state).await;
        let begun = match self.ledger.begin(org).await.ok_or(Failed::Ledger)? {
            Begin::Now(begun) => begun,
            Begin::Later { tally, again_in } => return Ok(Round::Later { tally, again_in }),
        };
        let mut counting = pin!(self.census.take(org.clone(), Deadline::at(Instant::now() + LONGEST)));
        let counted = match tokio::time::timeout(PLACE_HELD, &mut counting).await {
            Ok(counted) => counted?,
            Err(_) => {
                drop(place);
                counting.await?
            }
        };
        let tally = self.ledger.apply(org, begun, counted).await;
        tally.map(Round::Counted).ok_or(Failed::Ledger)
    }

    /// Not all orgs, and not all replicas, at one moment: up to a quarter of the interval less. Sooner where a doubt is
    /// over sooner.
    fn pause(&self, tally: Tally) -> Duration {
        let chance =
            f64::from(u32::try_from(RequestId::new().as_u128() & 0xffff).unwrap_or_default()) / 65_536.0;
        let pause = self.interval.mul_f64(0.75 + 0.25 * chance);
        let doubted = tally.doubted_for.map(|wait| wait.max(self.interval / HASTE));
        doubted.map_or(pause, |wait| pause.min(wait))
    }
}
