//! The program that the Connect conformance suite runs: its service on the gateway's fronts (`server`), or calls through
//! the gateway's way upstream (`client`). `tests/conformance/run` starts it.

#![allow(clippy::expect_used, unreachable_pub, reason = "a test program")]

use std::error::Error;

mod client;
mod messages;
mod pipe;
mod server;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    match std::env::args().nth(1).as_deref() {
        Some("server") => server::run().await,
        Some("client") => client::run().await,
        _ => Err("say `server` or `client`".into()),
    }
}
