//! A policy that is replaced under load changes its verdicts and its version as one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use prebuild_gateway::sandbox::Rules;

use super::*;
use crate::harness::soon;

const RELOADS: usize = 10;

/// Odd ones refuse, even ones warn.
fn text(number: usize) -> String {
    let mode = if number % 2 == 1 { "enforce" } else { "warn" };
    policy(&format!("revision = \"r{number}\"\nlimits.max_page_size = {{ value = 5, mode = \"{mode}\" }}"))
}

/// Whether it was refused, and by which policy, as the caller is told.
async fn judged(raw: &mut Raw) -> (bool, String) {
    let spoken = asked(raw, "ListPrebuilds", &value!({"pagination": {"pageSize": 6}})).await;
    let told = warnings(&spoken.metadata);
    match spoken.result {
        Err(wrong) => {
            assert_eq!((wrong.reason.as_deref(), told.len()), (Some("POLICY_DENIED"), 0));
            (true, wrong.policy.unwrap())
        }
        Ok(_) => {
            let (_, by) = told[0].rsplit_once("(policy ").unwrap();
            (false, by.trim_end_matches(')').to_owned())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_sees_the_verdict_of_one_policy_under_the_version_of_another() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let gateway = Gateway::with_policy(upstream.address, &text(0), |_| {}).await;
    let versions: Arc<Vec<String>> =
        Arc::new((0..=RELOADS).map(|number| version(&text(number), &[])).collect());
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for _ in 0..3 {
        let (stop, calls, versions) = (stop.clone(), calls.clone(), versions.clone());
        let mut raw = Raw::connect(gateway.address).await;
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (is_refused, by) = judged(&mut raw).await;
                let number = versions.iter().position(|version| *version == by).unwrap();
                assert_eq!(is_refused, number % 2 == 1, "r{number}");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let mut raw = Raw::connect(gateway.address).await;
    for number in 1..=RELOADS {
        gateway.set_policy(&text(number));
        soon(async { while judged(&mut raw).await.1 != versions[number] {} }).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(calls.load(Ordering::Relaxed) > RELOADS);
}
