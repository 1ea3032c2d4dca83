//! The policy: which one judges a call is told everywhere, and it is replaced as a whole or not at all.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use prebuild_gateway::{
    config::Config,
    limit,
    policy::{Ground, Texts},
    proto::gitpod::v1::{CreatePrebuildRequest, GetPrebuildRequest},
};
use serde_json::{Value, json as value};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::harness::{
    Answer, Client, Gateway, Told, Upstream, create, get,
    policy::{self, LOOSE},
    request_id, shown, soon,
};

const TAKEN: &str = r#"prebuild_gateway_file_reloads_total{key="policy.file",result="taken"}"#;
const REFUSED: &str = r#"prebuild_gateway_file_reloads_total{key="policy.file",result="refused"}"#;

fn version(policy: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    // As the configuration of these tests says nothing else.
    let ground = Ground { in_flight: limit::Config::default().in_flight, ..Ground::default() };
    Texts { policy: policy.to_owned(), rules }.version(&ground).to_string()
}

/// The n-th of policies that differ.
fn policy(number: usize) -> String {
    format!("{LOOSE}revision = \"r{number}\"\n")
}

/// A call that a check after the policy's first word refuses.
async fn refused(client: &mut Client) -> Status {
    let bad = CreatePrebuildRequest { project_id: "none".to_owned(), ..create() };
    client.create_prebuild(bad).await.unwrap_err()
}

/// Which policy judged it, as the refusal says.
fn judged_by(status: &Status) -> Option<String> {
    let info: pb::ErrorInfo = status.detail("ErrorInfo")?;
    info.metadata.get("policy").cloned()
}

fn policies(gateway: &[Value]) -> BTreeSet<&str> {
    gateway.iter().filter_map(|record| record["policy"].as_str()).collect()
}

async fn in_force(gateway: &Gateway, version: &str) {
    let series = format!("prebuild_gateway_policy_info{{version=\"{version}\"}}");
    soon(async { while gateway.counted(&series).await != 1 {} }).await;
}

#[tokio::test]
async fn which_policy_judged_a_call_stands_in_refusals_records_readiness_and_metrics() {
    let upstream = Upstream::start([Answer::Bytes(shown())]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy(1), |_| {}).await;
    let version = version(&policy(1), &[]);
    let mut client = gateway.client().await;
    let answered = client.get_prebuild(get()).await.unwrap();
    let answered = request_id(answered.metadata());
    let status = refused(&mut client).await;
    assert_eq!(judged_by(&status).as_ref(), Some(&version));
    let id = status.id();
    let (check, _) = gateway.check("policy").await;
    assert_eq!(check["detail"], format!("version {version} (r1)"));
    assert_eq!((check["ok"].clone(), check["required"].clone()), (value!(true), value!(false)));
    in_force(&gateway, &version).await;
    let audited = gateway.end().await;
    for id in [answered, id] {
        let [record] = audited.of(&id)[..] else { panic!("{audited:?}") };
        assert_eq!(record["policy"], version, "{record}");
    }
}

#[tokio::test]
async fn an_intent_and_its_outcome_name_the_policy() {
    let upstream = Upstream::start([Answer::Bytes(shown())]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy(1), |_| {}).await;
    let _any = gateway.client().await.create_prebuild(create()).await;
    let audited = gateway.end().await;
    for stage in ["intent", "outcome"] {
        assert_eq!(audited.only(stage)["policy"], version(&policy(1), &[]));
    }
}

#[tokio::test]
async fn nobody_is_told_of_a_policy_that_has_judged_nothing() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::start(upstream.address).await;
    let status = gateway.client_of("pgw_nobody").await.get_prebuild(get()).await.unwrap_err();
    assert_eq!((status.code(), judged_by(&status)), (Code::Unauthenticated, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_each_call_is_judged_by_one_policy_and_never_again_by_an_older_one() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy(0), |_| {}).await;
    let versions: Arc<Vec<String>> = Arc::new((0..10).map(|number| version(&policy(number), &[])).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for _ in 0..3 {
        let (mut client, stop, versions) = (gateway.client().await, stop.clone(), versions.clone());
        callers.push(tokio::spawn(async move {
            let mut newest = 0;
            while !stop.load(Ordering::Relaxed) {
                let status = refused(&mut client).await;
                assert_eq!(status.reason().as_deref(), Some("GUARDRAIL"), "no call fails otherwise");
                let by = judged_by(&status).unwrap();
                let number = versions.iter().position(|version| *version == by).unwrap();
                assert!(number >= newest, "{number} after {newest}");
                newest = number;
            }
            newest
        }));
    }
    let mut client = gateway.client().await;
    for (number, version) in versions.iter().enumerate().skip(1) {
        gateway.set_policy(&policy(number));
        soon(async { while judged_by(&refused(&mut client).await).as_ref() != Some(version) {} }).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(gateway.counted(TAKEN).await, 9);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.lines().filter(|line| line.starts_with("prebuild_gateway_policy_info{")).count(), 1);
    let audited = gateway.end().await;
    assert!(policies(&audited.0).into_iter().all(|policy| versions.iter().any(|known| known == policy)));
}

#[tokio::test]
async fn a_bad_policy_is_never_taken_and_readiness_says_why() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy(1), |_| {}).await;
    let mut client = gateway.client().await;
    gateway.set_policy("limits.max_timeout = \"3h\"\n");
    soon(async { while gateway.counted(REFUSED).await == 0 {} }).await;
    let (good, (check, ready)) = (version(&policy(1), &[]), gateway.check("policy").await);
    let file = policy::file(gateway.directory.path());
    let why = format!("policy.file: `{}`: limits.max_timeout: must be from 1s to 2h", file.display());
    let detail = format!("version {good} (r1); what the file holds now is not in force: {why}");
    assert_eq!(check, value!({ "name": "policy", "ok": false, "required": false, "detail": detail }));
    assert!(ready, "with the last good one it is as fit as before");
    assert_eq!(judged_by(&refused(&mut client).await).as_ref(), Some(&good));
    in_force(&gateway, &good).await;

    // Nor is none at all the end of it.
    std::fs::remove_file(&file).unwrap();
    soon(async { while gateway.counted(REFUSED).await == 1 {} }).await;
    assert_eq!(judged_by(&refused(&mut client).await), Some(good));

    gateway.set_policy(&policy(2));
    in_force(&gateway, &version(&policy(2), &[])).await;
    assert_eq!(gateway.check("policy").await.0["ok"], true);
}

#[tokio::test]
async fn a_rule_file_that_changes_alone_makes_another_policy() {
    let upstream = Upstream::start([]).await;
    let text = format!("{LOOSE}rules.files = [\"rules.cedar\"]\n");
    let rules = |config: &Config| {
        let file = config.policy.file.clone().unwrap();
        file.with_file_name("rules.cedar")
    };
    let (first, second) = ("// One.\n", "// Two.\n");
    let mut path = None;
    let gateway = Gateway::with_policy(upstream.address, &text, |config| {
        policy::replace(&rules(config), first);
        path = Some(rules(config));
    })
    .await;
    in_force(&gateway, &version(&text, &[("rules.cedar", first)])).await;
    policy::replace(&path.unwrap(), second);
    let second = version(&text, &[("rules.cedar", second)]);
    in_force(&gateway, &second).await;
    let status = refused(&mut gateway.client().await).await;
    assert_eq!(judged_by(&status), Some(second));
}

#[tokio::test]
async fn without_a_file_what_is_built_in_judges_and_has_a_version_too() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with(upstream.address, |config| config.policy.file = None).await;
    let version = version("", &[]);
    assert_eq!(gateway.check("policy").await.0["detail"], format!("version {version}"));
    let bad = GetPrebuildRequest { prebuild_id: "none".to_owned() };
    let status = gateway.client().await.get_prebuild(bad).await.unwrap_err();
    assert_eq!(judged_by(&status), Some(version));
}
