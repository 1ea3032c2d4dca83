//! What the audit log promises, with processes that are killed and disks that lose power: what upstream saw, what clients
//! got and what the log says are joined (promises P1 to P3).
//!
//! `PREBUILD_GATEWAY_CRASH_ROUNDS="1000 300"` has so many kills and so many power cuts; by default there are 30 and 10.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

#[path = "crash"]
mod crash {
    pub(crate) mod disk;
    pub(crate) mod gateway;
    pub(crate) mod joined;
    pub(crate) mod load;

    mod faults;
    mod kills;
    mod removed;
    mod shipped;
}

use tokio::sync::Mutex;

/// One load at a time: the machine is small.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Kills, and power cuts.
fn rounds() -> (usize, usize) {
    let rounds = std::env::var("PREBUILD_GATEWAY_CRASH_ROUNDS");
    let Ok(text) = rounds else { return (30, 10) };
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
