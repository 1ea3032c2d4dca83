//! A request that the gateway sends upstream for a call: the call itself, or what has to be known before or for it.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Context;
use crate::error::{Error, Reason, Sent, code_name};

/// Attempts that are kept of one call: a list takes ten pages at most, and a look-up and a question may come first.
pub(super) const MAX_ATTEMPTS: usize = 16;

/// One request upstream, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub kind: AttemptKind,
    /// What is looked up.
    pub object: Option<String>,
    /// None while it is under way, and for good where its caller left first.
    pub outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptKind {
    /// The question which organization the org is upstream.
    Organization,
    /// A read of the object that the call is about.
    Lookup,
    /// The call itself.
    Call,
    /// One page of the list that the call asks for.
    Page,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// gRPC status code, UPPER_SNAKE_CASE.
    pub code: &'static str,
    /// The gateway's, where upstream gave no usable answer.
    pub reason: Option<Reason>,
    pub sent: Sent,
    pub took: Duration,
}

impl Context {
    /// Keeps on record that a request goes upstream, and what becomes of it.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn attempt<T>(
        &self,
        kind: AttemptKind,
        object: Option<String>,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let place = self.begin(Attempt { kind, object, outcome: None });
        let result = request.await;
        if let Some(place) = place {
            self.end(place, Outcome::of(&result, begun.elapsed()));
        }
        result
    }

    /// Those that were begun, in order; at most 16.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.tried().clone()
    }

    fn begin(&self, attempt: Attempt) -> Option<usize> {
        let mut tried = self.tried();
        let place = tried.len();
        (place < MAX_ATTEMPTS).then(|| {
            tried.push(attempt);
            place
        })
    }

    fn end(&self, place: usize, outcome: Outcome) {
        if let Some(attempt) = self.tried().get_mut(place) {
            attempt.outcome = Some(outcome);
        }
    }
}

impl Outcome {
    fn of<T>(result: &Result<T, Error>, took: Duration) -> Self {
        match result {
            Ok(_) => Self { code: "OK", reason: None, sent: Sent::Yes, took },
            Err(error) => Self { code: code_name(error.code), reason: error.reason, sent: error.sent, took },
        }
    }
}
