//! Limits that replicas share, with a real Redis or Valkey server: what passes is never more than the limit, whatever
//! becomes of the server. It needs one: see README, "Tests".

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

use tokio::sync::Mutex;

#[path = "redis"]
mod shared {
    pub(crate) mod load;
    pub(crate) mod server;

    mod absence;
    mod books;
    mod buckets;
    mod exact;
    mod faults;
    mod killed;
    mod processes;
    mod ways;
}

/// What is timed is timed alone.
static ALONE: Mutex<()> = Mutex::const_new(());
