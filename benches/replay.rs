//! What it takes to judge the calls on record by another policy, as the command does it: `cargo bench --bench replay`.
//! Fails where the policy that they were recorded under flips one of them.

#![expect(clippy::unwrap_used, reason = "a bench that cannot begin has nothing to measure")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use tempfile::tempdir;
use tokio::runtime::Runtime;

#[path = "../tests/audit/calls.rs"]
#[expect(dead_code, reason = "tests look at what each call came to")]
mod calls;

use calls::{Calls, configure, policies};

const CALLS: usize = 100_000;
/// Well under a minute on any machine that builds it.
const AT_MOST: Duration = Duration::from_secs(60);

fn main() {
    let directory = tempdir().unwrap();
    let [present, candidate] = policies(directory.path());
    let (log, config) = (directory.path().join("audit"), directory.path().join("gateway.toml"));
    configure(&config);
    Runtime::new().unwrap().block_on(Calls::random(CALLS).record(&present, &log));
    for (policy, code) in [(&present, 0), (&candidate, 1)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prebuild-gateway"));
        command.args(["audit", "replay"]).arg(&log).arg("--config").arg(&config).arg("--policy").arg(policy);
        let begun = Instant::now();
        let output = command.output().unwrap();
        let took = begun.elapsed();
        println!("{}{CALLS} calls in {took:.2?}\n", String::from_utf8(output.stdout).unwrap());
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(took < AT_MOST, "{took:?}");
    }
}
