//! The public keys of an issuer of tokens: loaded, kept past failures, and fetched anew at a bounded pace.
//!
//! No token decides where keys are fetched from, and all tokens together cause at most one fetch in
//! `jwks_min_interval`, whatever key ids they name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time,
};

use crate::telemetry::{self, JwksResult, Metrics};

mod fetch;
mod file;
mod keys;
#[cfg(test)]
mod tests;

pub use fetch::{Fetch, FetchError, SetupError, Url, UrlError};
pub use file::{FileError, JwksFile};
pub(in crate::identity) use keys::{Key, NoKey};
pub use keys::{KeySet, NotAKeySet};

/// The first retry while no keys were ever loaded; each later one waits twice as long, up to the least interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Requests that may wait for one fetch. They hold places among the calls in flight, which honest callers need.
const MAX_WAITING: usize = 32;

/// No longer than a fetch takes at most, and a little.
const PATIENCE: Duration = fetch::TIMEOUT.saturating_add(Duration::from_secs(1));

/// The keys of one issuer. Clones share them.
#[derive(Clone, Debug)]
pub struct Jwks(Arc<Shared>);

/// How often keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one fetch to the next at least.
    pub min: Duration,
    /// And at most, so that a key that was removed stops working.
    pub max: Duration,
}

#[derive(Debug)]
struct Shared {
    /// The issuer, by the `id` of its entry.
    issuer: String,
    state: watch::Sender<State>,
    asked: Notify,
    places: Semaphore,
}

#[derive(Debug)]
struct State {
    /// None until they are loaded first.
    keys: Option<Arc<KeySet>>,
    phase: Phase,
    /// Fetches that have ended.
    ended: u64,
    /// Why the last one brought nothing, with all causes.
    problem: Option<String>,
}

/// Where the task is that fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Who needs the keys waits for this fetch.
    Fetching,
    /// It is too early for another. Always so where keys are from a file, which is followed.
    Resting,
    /// Who needs other keys may ask for them.
    Ready,
}

impl Jwks {
    /// Keys that were read from a file.
    pub fn read(issuer: &str, keys: KeySet) -> Self {
        Self::new(issuer, Some(Arc::new(keys)), Phase::Resting)
    }

    /// Keys that [`Jwks::keep_fresh`] fetches.
    pub fn fetched(issuer: &str) -> Self {
        Self::new(issuer, None, Phase::Fetching)
    }

    fn new(issuer: &str, keys: Option<Arc<KeySet>>, phase: Phase) -> Self {
        let state = watch::Sender::new(State { keys, phase, ended: 0, problem: None });
        let (asked, places) = (Notify::new(), Semaphore::new(MAX_WAITING));
        Self(Arc::new(Shared { issuer: issuer.to_owned(), state, asked, places }))
    }

    /// Those that are in force. Other ones are another `Arc`.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.0.state.borrow().keys.clone()
    }

    /// Why the last fetch brought no keys.
    pub fn problem(&self) -> Option<String> {
        self.0.state.borrow().problem.clone()
    }

    /// Puts them in force, unless they are those that are. True if they are others.
    pub fn replace(&self, keys: KeySet) -> bool {
        let mut is_new = false;
        self.0.state.send_if_modified(|state| {
            is_new = state.keys.as_deref() != Some(&keys);
            if is_new {
                state.keys = Some(Arc::new(keys));
            }
            is_new
        });
        is_new
    }

    /// Those that are in force after a fetch, if one is under way or may begin; at once otherwise. All who wait, wait for
    /// the same one.
    pub(in crate::identity) async fn refreshed(&self) -> Option<Arc<KeySet>> {
        let mut states = self.0.state.subscribe();
        let (phase, ended) = {
            let state = states.borrow_and_update();
            (state.phase, state.ended)
        };
        if phase != Phase::Resting
            && let Ok(_place) = self.0.places.try_acquire()
        {
            if phase == Phase::Ready {
                self.0.asked.notify_one();
            }
            let _ended = time::timeout(PATIENCE, states.wait_for(|state| state.ended != ended)).await;
        }
        self.keys()
    }

    /// Fetches them at once and again and again, when it is time or somebody asks. Never ends by itself.
    pub async fn keep_fresh(self, fetch: Fetch, pace: Pace, metrics: Metrics) {
        let mut retry = FIRST_RETRY.min(pace.min);
        loop {
            let began = Instant::now();
            let problem = self.fetch(&fetch, &metrics).await;
            let is_loaded = self.keys().is_some();
            let (rest, due) = match (&problem, is_loaded) {
                (None, _) => (pace.min, pace.max),
                (Some(_), true) => (pace.min, pace.min),
                (Some(_), false) => (retry, retry),
            };
            retry = (retry * 2).min(pace.min);
            time::sleep_until((began + rest).into()).await;
            self.enter(Phase::Ready);
            tokio::select! {
                () = time::sleep_until((began + due).into()) => {}
                () = self.0.asked.notified() => {}
            }
            self.enter(Phase::Fetching);
        }
    }

    /// One fetch, and what is wrong with it.
    async fn fetch(&self, fetch: &Fetch, metrics: &Metrics) -> Option<String> {
        let fetched = fetch.get().await;
        let problem = fetched.as_ref().err().map(|error| telemetry::chain(error));
        let issuer = &self.0.issuer;
        let result = match fetched.map(|keys| (keys.len(), keys.unused, self.replace(keys))) {
            Ok((_, _, false)) => JwksResult::Unchanged,
            Ok((keys, unused, true)) => {
                tracing::info!(issuer, keys, unused, "other keys of an issuer of tokens");
                JwksResult::Changed
            }
            Err(_) => {
                tracing::warn!(issuer, problem, "no keys of an issuer of tokens; the last ones stay");
                JwksResult::Failed
            }
        };
        metrics.jwks_fetched(issuer, result);
        self.0.state.send_modify(|state| {
            state.problem.clone_from(&problem);
            state.phase = Phase::Resting;
            state.ended += 1;
        });
        problem
    }

    fn enter(&self, phase: Phase) {
        self.0.state.send_modify(|state| state.phase = phase);
    }
}
