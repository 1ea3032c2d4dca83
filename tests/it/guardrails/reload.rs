//! A policy that is replaced under load changes its verdicts and its version as one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use prebuild_gateway::sandbox::Rules;

use super::*;
use crate::harness::{policy as files, soon};

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

/// A default of the org's, a bound of the subject's and a rule, which only together let a call pass that names no timeout.
fn agreeing(number: usize) -> (String, String, String) {
    let (minutes, name) = (10 + number, format!("r{number}.cedar"));
    let rule = format!(
        "@id(\"exact\") forbid(principal, action == Action::\"CreatePrebuild\", resource)\n\
         unless {{ context.timeout_seconds == {} }};\n",
        minutes * 60
    );
    let text = policy(&format!(
        "rules.files = [\"{name}\"]\norgs.acme.limits.default_timeout = \"{minutes}m\"\n\
         orgs.acme.subjects.ci.limits.max_timeout = \"{minutes}m\""
    ));
    (text, name, rule)
}

/// Which policy's default upstream got, and the call's id.
async fn defaulted(raw: &mut Raw, request: &Value) -> (usize, String) {
    let (spoken, id) = call(raw, CONNECT, ACME_KEY, "CreatePrebuild", request).await;
    // A mixture of two policies refuses.
    let answer: Value = serde_json::from_slice(&spoken.result.unwrap()).unwrap();
    let timeout = answer["prebuild"]["spec"]["timeout"].as_str().unwrap();
    (timeout.trim_end_matches('s').parse::<usize>().unwrap() / 60 - 10, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_judged_by_an_orgs_a_subjects_and_a_rule_files_words_of_two_policies() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let (first, ..) = agreeing(0);
    let gateway = Gateway::with_policy(upstream.address, &first, |config| {
        let of = config.policy.file.clone().unwrap();
        for (_, name, rule) in (0..=RELOADS).map(agreeing) {
            files::replace(&of.with_file_name(name), &rule);
        }
    })
    .await;
    let request = creation(&upstream, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for _ in 0..3 {
        let (stop, request) = (stop.clone(), request.clone());
        let mut raw = Raw::connect(gateway.address).await;
        callers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                seen.push(defaulted(&mut raw, &request).await);
            }
            seen
        }));
    }
    let mut raw = Raw::connect(gateway.address).await;
    for number in 1..=RELOADS {
        gateway.set_policy(&agreeing(number).0);
        soon(async { while defaulted(&mut raw, &request).await.0 != number {} }).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for caller in callers {
        seen.extend(caller.await.unwrap());
    }
    assert!(seen.len() > RELOADS);
    let versions: Vec<String> = (0..=RELOADS)
        .map(agreeing)
        .map(|(text, name, rule)| version(&text, &[(name.as_str(), rule.as_str())]))
        .collect();
    let audited = gateway.end().await;
    for (number, id) in seen {
        for record in audited.of(&id) {
            assert_eq!(record["policy"], versions[number], "{record}");
        }
    }
}
