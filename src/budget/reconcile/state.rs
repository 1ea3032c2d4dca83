//! How it stands with the count of one org: for operators, and for whoever counts next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Of what went wrong, enough to read.
const MAX_REASON: usize = 200;

/// Not counted, at first.
#[derive(Debug, Default)]
pub(super) struct State {
    now: Mutex<Now>,
    /// A call waits.
    urgent: Notify,
}

#[derive(Debug, Default)]
enum Now {
    #[default]
    First,
    Counted,
    /// For another replica's count, or as calls may be under way that the books do not know.
    Waiting,
    Failed(String),
}

impl State {
    pub(super) fn tell(&self, is_counted: bool) {
        *self.now() = if is_counted { Now::Counted } else { Now::Waiting };
    }

    pub(super) fn fail(&self, reason: String) {
        *self.now() = Now::Failed(reason);
    }

    /// Why the org's work is not counted; none if it is.
    pub(super) fn problem(&self) -> Option<String> {
        match &*self.now() {
            Now::First => Some("is being counted for the first time".to_owned()),
            Now::Counted => None,
            Now::Waiting => {
                Some("waits for calls that nobody knows of, or for another replica's count".to_owned())
            }
            Now::Failed(reason) => {
                let reason: String = reason.chars().take(MAX_REASON).collect();
                // An upstream's error may be but a code.
                Some(reason.trim_end_matches([':', ' ']).to_owned())
            }
        }
    }

    pub(super) fn hurry(&self) {
        self.urgent.notify_one();
    }

    /// Once a call waits.
    pub(super) async fn is_urgent(&self) {
        self.urgent.notified().await;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
