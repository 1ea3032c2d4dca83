//! What reached the sandbox, for tests to look at.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use http::HeaderMap;

/// Requests that are remembered.
const REQUESTS: usize = 10_000;

/// Bytes of bodies that are remembered, 64 MiB: the number alone would allow for ten thousand large ones.
const BYTES: usize = 64 << 20;

/// A request as it came in, whether or not it was carried out.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: http::Method,
    pub version: http::Version,
    pub path: String,
    /// Without the question mark; empty where there is none.
    pub query: String,
    pub headers: HeaderMap,
    /// What could be read of it.
    pub body: Bytes,
}

/// The latest requests, and what was done.
#[derive(Debug, Default)]
pub(super) struct Journal {
    requests: VecDeque<Seen>,
    bytes: usize,
    executed: BTreeMap<&'static str, u64>,
}

impl Journal {
    pub(super) fn record(&mut self, seen: Seen) {
        self.bytes += seen.body.len();
        self.requests.push_back(seen);
        while self.requests.len() > REQUESTS || self.bytes > BYTES {
            let Some(oldest) = self.requests.pop_front() else { break };
            self.bytes -= oldest.body.len();
        }
    }

    pub(super) fn count(&mut self, method: &'static str) {
        *self.executed.entry(method).or_default() += 1;
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        self.requests.iter().cloned().collect()
    }

    pub(super) fn executed(&self, method: &str) -> u64 {
        self.executed.get(method).copied().unwrap_or_default()
    }
}
