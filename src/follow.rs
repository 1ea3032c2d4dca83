//! What is read from files at start, and read again while the gateway runs.
//!
//! Files are written in pieces and one after the other. So what a look shows counts only when the one before has shown
//! the same, at start and for whoever asks, too; and what cannot be served with leaves the last good state in force, as a
//! whole.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    task::spawn_blocking,
    time,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::telemetry::Metrics;

#[cfg(test)]
mod tests;

/// Before what was refused for now is judged again, at the most: an operator who has mended it elsewhere can wait, or
/// ask.
const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Between two looks that nobody wants to wait for: whoever writes a file leaves it half written for less.
const MOMENT: Duration = Duration::from_millis(25);
/// Of such looks: what still changes after a second is left to those that come by themselves.
const MAX_LOOKS: usize = 40;

/// Something that files say.
pub trait Follow: Send + Sync + 'static {
    /// What a look shows: the content or its hash, or what is wrong. Two equal ones in a row count.
    type Look: Clone + PartialEq + Send + 'static;

    /// The key of the config that names the file: as log, metrics and readiness have it.
    fn key(&self) -> String;

    /// Reads what is there now. May block.
    fn look(&self) -> Self::Look;

    /// Puts it in force, whole, or says why not.
    fn take(&self, look: Self::Look) -> impl Future<Output = Taken> + Send;
}

/// What became of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in force.
    InForce,
    /// It cannot be served with, and what was in force stays. In one line, without secrets.
    Refused(String),
    /// So far, and something else than the files may change that: it is judged again after a while, also if the next
    /// looks show the same.
    RefusedForNow(String),
    /// It cannot be told yet. The next look is judged again, also if it shows the same.
    Undecided(String),
}

/// Tells every follower to look at once.
#[derive(Clone, Debug)]
pub struct Asking(watch::Sender<()>);

/// Follows by a task that ends with it.
#[derive(Debug)]
pub struct Following {
    key: String,
    problem: Problem,
    opened: Option<oneshot::Receiver<()>>,
    _unfollow: DropGuard,
}

/// Why what the files say now is not in force; none if it is.
type Problem = Arc<Mutex<Option<String>>>;

/// The task.
struct Follower<F: Follow> {
    followed: Arc<F>,
    key: String,
    metrics: Metrics,
    problem: Problem,
    /// Between two looks of which the second is not to be waited for.
    moment: Duration,
    /// The last look.
    seen: F::Look,
    /// The last look that was acted on; none if it has to be judged again.
    judged: Option<F::Look>,
    /// The last look that was counted as refused: once, however often it is judged.
    refused: Option<F::Look>,
    /// Goes before what was refused for now is judged again.
    pause: Pause,
}

/// Twice as long each time.
#[derive(Debug)]
struct Pause {
    first: Duration,
    next: Duration,
    over: Option<Instant>,
}

impl Asking {
    pub fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Somebody says that the files are written, and wants to hear what becomes of them.
    pub fn ask(&self) {
        self.0.send_replace(());
    }
}

impl Default for Asking {
    fn default() -> Self {
        Self::new()
    }
}

impl Following {
    /// Looks at once, then `every` so often, and whenever it is asked. `first` is what was in force from the start.
    pub fn begin<F: Follow>(
        followed: F,
        first: F::Look,
        every: Duration,
        asking: &Asking,
        metrics: Metrics,
    ) -> Self {
        let (key, problem) = (followed.key(), Problem::default());
        let follower = Follower {
            followed: Arc::new(followed),
            key: key.clone(),
            metrics,
            problem: Arc::clone(&problem),
            moment: MOMENT.min(every),
            seen: first.clone(),
            judged: Some(first),
            refused: None,
            pause: Pause::of(every),
        };
        let (followed, (open, opened)) = (CancellationToken::new(), oneshot::channel());
        let following = follower.run(every, asking.0.subscribe(), open);
        tokio::spawn(followed.clone().run_until_cancelled_owned(following));
        Self { key, problem, opened: Some(opened), _unfollow: followed.drop_guard() }
    }

    /// Fires once what was in force from the start has been seen twice, or what took its place is in force; after a
    /// second at the latest. Only the first one to ask gets it.
    pub fn opened(&mut self) -> Option<oneshot::Receiver<()>> {
        self.opened.take()
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Why what the files say now is not in force.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<F: Follow> Follower<F> {
    async fn run(mut self, every: Duration, mut asked: watch::Receiver<()>, open: oneshot::Sender<()>) {
        self.open().await;
        // Whoever waits may have left.
        let _any = open.send(());
        let mut due = time::interval(every);
        // A disk that was slow once is not asked faster for it.
        due.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = due.tick() => if let Some(look) = self.look().await {
                    self.consider(look).await;
                },
                Ok(()) = asked.changed() => self.answer().await,
            }
        }
    }

    /// What is in force from the start was read once.
    async fn open(&mut self) {
        if self.settle().await && self.judged.as_ref() != Some(&self.seen) {
            self.judge(false).await;
        }
    }

    /// Whoever asks may do so while somebody writes.
    async fn answer(&mut self) {
        let Some(look) = self.look().await else { return };
        self.seen = look;
        if self.settle().await {
            self.judge(true).await;
        }
    }

    /// Looks until two looks in a row show the same; or gives up.
    async fn settle(&mut self) -> bool {
        for _ in 0..MAX_LOOKS {
            time::sleep(self.moment).await;
            let Some(look) = self.look().await else { continue };
            if self.sees(look) {
                return true;
            }
        }
        false
    }

    fn look(&self) -> impl Future<Output = Option<F::Look>> + Send + use<F> {
        let followed = Arc::clone(&self.followed);
        // A panic in there would be a fault of ours; the next look finds out.
        async { spawn_blocking(move || followed.look()).await.ok() }
    }

    /// Whether the look before has shown the same.
    fn sees(&mut self, look: F::Look) -> bool {
        let is_settled = look == self.seen;
        self.seen = look;
        is_settled
    }

    async fn consider(&mut self, look: F::Look) {
        let is_settled = self.sees(look);
        let is_open = self.judged.as_ref() != Some(&self.seen) || self.pause.is_over();
        if is_settled && is_open {
            self.judge(false).await;
        }
    }

    /// Whoever sees it counted finds it shown, too.
    async fn judge(&mut self, is_asked: bool) {
        let look = self.seen.clone();
        let taken = self.followed.take(look.clone()).await;
        if self.judged.as_ref() != Some(&look) {
            self.pause.reset();
        }
        self.judged = (!matches!(taken, Taken::Undecided(_))).then_some(look);
        match &taken {
            Taken::RefusedForNow(_) => self.pause.begin(),
            Taken::InForce | Taken::Refused(_) | Taken::Undecided(_) => self.pause.reset(),
        }
        let key = &self.key;
        match taken {
            Taken::InForce => {
                self.show(None);
                self.metrics.reloaded(key, true);
                self.refused = None;
                tracing::info!(key, "what the file holds now is in force");
            }
            Taken::Refused(problem) => self.refuse(problem),
            // Whoever asks is told each time.
            Taken::RefusedForNow(problem) if is_asked || self.refused.as_ref() != Some(&self.seen) => {
                self.refuse(problem);
            }
            Taken::RefusedForNow(problem) => self.show(Some(problem)),
            Taken::Undecided(problem) => {
                // Told once, not at every look.
                if self.problem().as_ref() != Some(&problem) {
                    tracing::warn!(key, problem, "what the file holds now is not taken yet");
                }
                self.show(Some(problem));
            }
        }
    }

    fn refuse(&mut self, problem: String) {
        let key = &self.key;
        self.show(Some(problem.clone()));
        self.metrics.reloaded(key, false);
        self.refused = Some(self.seen.clone());
        tracing::error!(key, problem, "what the file holds now is not taken; the last good state stays");
    }

    fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

impl Pause {
    fn of(first: Duration) -> Self {
        Self { first, next: first, over: None }
    }

    fn begin(&mut self) {
        self.over = Some(Instant::now() + self.next);
        self.next = (self.next * 2).min(MAX_PAUSE);
    }

    fn is_over(&self) -> bool {
        self.over.is_some_and(|over| Instant::now() >= over)
    }

    fn reset(&mut self) {
        *self = Self::of(self.first);
    }
}

impl<T, E: fmt::Display> From<Result<T, E>> for Taken {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::InForce,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}
