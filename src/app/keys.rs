//! Keys come and go while the gateway runs: the key file is looked at again and again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::spawn_blocking, time};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    admin::Check,
    config::{ConfigError, KeyFile},
    identity::Identities,
    telemetry::Metrics,
};

/// As readiness names it.
const NAME: &str = "keys_file";

/// Keeps the identities as the key file says, by a task that ends with it.
#[derive(Debug)]
pub(super) struct KeyWatch {
    problem: Problem,
    _unwatch: DropGuard,
}

/// Why the file as it is now is not in force; none if it is.
type Problem = Arc<Mutex<Option<ConfigError>>>;

/// What a look at the file shows.
type Look = Result<String, ConfigError>;

/// The task.
#[derive(Debug)]
struct Watcher {
    file: Arc<KeyFile>,
    identities: Identities,
    metrics: Metrics,
    problem: Problem,
    /// The last look.
    seen: Look,
    /// The last look that was acted on.
    judged: Look,
}

impl KeyWatch {
    /// Begins to look at the file `every` so often.
    pub(super) fn begin(file: KeyFile, every: Duration, identities: Identities, metrics: Metrics) -> Self {
        let problem = Problem::default();
        let first: Look = Ok(file.first().to_owned());
        let watcher = Watcher {
            file: Arc::new(file),
            identities,
            metrics,
            problem: Arc::clone(&problem),
            seen: first.clone(),
            judged: first,
        };
        let watched = CancellationToken::new();
        tokio::spawn(watched.clone().run_until_cancelled_owned(watcher.watch(every)));
        Self { problem, _unwatch: watched.drop_guard() }
    }

    /// Shown only: with the last good keys the gateway is as fit for traffic as its other replicas.
    pub(super) fn check(&self) -> Check {
        match &*self.problem.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Check::shown(NAME, true),
            Some(problem) => Check::shown(NAME, false).with_detail(problem.to_string()),
        }
    }
}

impl Watcher {
    async fn watch(mut self, every: Duration) {
        let mut ticks = time::interval(every);
        // A disk that was slow once is not asked faster for it.
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let file = Arc::clone(&self.file);
            // A panic in there would be a fault of ours; the next look finds out.
            let Ok(look) = spawn_blocking(move || file.read()).await else { continue };
            self.consider(look);
        }
    }

    /// A look counts when the one before has shown the same: a file that is being written is not taken halfway.
    fn consider(&mut self, look: Look) {
        let settled = look == self.seen;
        self.seen = look;
        if settled && self.seen != self.judged {
            self.judged = self.seen.clone();
            self.judge();
        }
    }

    /// Puts the file's keys in force, all at once, or leaves those that are. What is shown and counted is true by the
    /// time that it can be seen.
    fn judge(&self) {
        match self.judged.clone().and_then(|text| self.file.keys(&text)) {
            Ok(keys) => {
                tracing::info!(file = %self.file.path().display(), keys = keys.len(), "keys reloaded");
                self.show(None);
                self.identities.replace(keys);
                self.metrics.key_file_loaded();
            }
            Err(problem) => {
                tracing::error!(%problem, "keys not reloaded, the last good ones stay in force");
                self.show(Some(problem));
                self.metrics.key_file_refused();
            }
        }
    }

    fn show(&self, problem: Option<ConfigError>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
