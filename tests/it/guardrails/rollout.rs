//! A value on its way to being in force: tried beside the live one, then in force for a share of the calls.

use prebuild_gateway::{
    rule::{Draw, Mode, RuleId, Share, Stance},
    sandbox::Rules,
};
use uuid::Uuid;

use super::*;
use crate::harness::policy as files;

const MAX_TIMEOUT: &str = "limits.max_timeout";

/// For so many seconds.
fn lasting(upstream: &Sandboxed, seconds: u32) -> Value {
    let project = upstream.acme.projects[0].id.to_string();
    value!({"projectId": project, "spec": {"timeout": format!("{seconds}s")}})
}

/// Rule, mode, whether it is a candidate, outcome.
fn ruled(record: &Value) -> Vec<(String, String, bool, String)> {
    let text = |ruling: &Value, key: &str| ruling[key].as_str().unwrap().to_owned();
    let rulings = record["rulings"].as_array().unwrap().iter();
    let told = rulings.map(|ruling| {
        let is_candidate = ruling["candidate"].as_bool().unwrap_or_default();
        (text(ruling, "rule"), text(ruling, "mode"), is_candidate, text(ruling, "outcome"))
    });
    told.filter(|(rule, ..)| rule == MAX_TIMEOUT).collect()
}

fn ruling(mode: &str, is_candidate: bool, outcome: &str) -> (String, String, bool, String) {
    (MAX_TIMEOUT.to_owned(), mode.to_owned(), is_candidate, outcome.to_owned())
}

#[tokio::test]
async fn a_candidate_is_on_record_and_counted_and_decides_and_tells_nothing() {
    for (live, outcome) in [("enforce", "kept"), ("warn", "kept"), ("warn", "broken")] {
        let upstream = Sandboxed::start(Rules::default()).await;
        let value = if outcome == "kept" { "1h" } else { "20m" };
        let text = policy(&format!(
            "{MAX_TIMEOUT} = {{ value = \"{value}\", candidate = \"30m\", mode = \"{live}\" }}\n\
             limits.methods = {{ deny = [\"DeletePrebuild\"], candidate = {{ deny = [\"CreatePrebuild\"] }} }}"
        ));
        let gateway = Gateway::with_policy(upstream.address, &text, |_| {}).await;
        let mut raw = Raw::connect(gateway.address).await;
        let mut ids = Vec::new();
        for dialect in [GRPC, CONNECT] {
            let request = lasting(&upstream, 2400);
            let (spoken, id) = call(&mut raw, dialect, ACME_KEY, "CreatePrebuild", &request).await;
            let told = warnings(&spoken.metadata);
            assert_eq!(told.len(), usize::from(outcome == "broken"), "{told:?}");
            assert!(told.iter().all(|warning| warning.contains("1200s")), "of the live one alone: {told:?}");
            spoken.result.unwrap();
            ids.push(id);
        }
        assert_eq!(upstream.sandbox.executed("CreatePrebuild"), 2);
        assert_eq!(decided(&gateway, MAX_TIMEOUT, "candidate", "broken").await, 2);
        assert_eq!(decided(&gateway, "limits.methods", "candidate", "broken").await, 2);
        let audited = gateway.end().await;
        for id in ids {
            for record in audited.of(&id) {
                // What is kept is not on record.
                let mut expected = vec![ruling("audit", true, "broken")];
                if outcome == "broken" {
                    expected.insert(0, ruling(live, false, outcome));
                }
                assert_eq!(ruled(record), expected, "{record}");
            }
        }
    }
}

#[tokio::test]
async fn a_looser_candidate_lets_nothing_pass_and_a_refusal_tells_nothing_of_it() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let text = policy(&format!("{MAX_TIMEOUT} = {{ value = \"30m\", candidate = \"1h\" }}"));
    let gateway = Gateway::with_policy(upstream.address, &text, |_| {}).await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = lasting(&upstream, 2400);
    let (spoken, id) = call(&mut raw, GRPC, ACME_KEY, "CreatePrebuild", &request).await;
    let wrong = spoken.result.unwrap_err();
    assert_eq!(
        (wrong.rule.as_deref(), &wrong.fields[..]),
        (Some(MAX_TIMEOUT), &["spec.timeout".to_owned()][..])
    );
    assert_eq!(upstream.sandbox.executed("CreatePrebuild"), 0);
    let audited = gateway.end().await;
    assert_eq!(ruled(audited.of(&id).last().unwrap()), [ruling("enforce", false, "broken")]);
}

/// The mode of a call by its id, as anybody may compute it again.
fn drawn(rule: &str, id: &str) -> Mode {
    let share = Share::try_from(0.5).unwrap();
    let draw = Draw::new(Uuid::parse_str(id).unwrap().as_u128());
    Stance { mode: Mode::Enforce, share }.of(&RuleId::from(rule), draw)
}

#[tokio::test]
async fn half_of_the_calls_are_refused_by_their_ids_and_the_others_are_audited() {
    const CALLS: usize = 120;
    let upstream = Sandboxed::start(Rules::default()).await;
    let own = format!("{MAX_TIMEOUT} = \"1h\"\norgs.acme.{MAX_TIMEOUT} = {{ value = \"30m\", share = 0.5 }}");
    let rules = "@id(\"half\") @share(\"0.5\") forbid(principal, action == Action::\"CreatePrebuild\", resource)\n\
                 when { context.timeout_seconds > 1800 };";
    for (rule, text) in [(MAX_TIMEOUT, own), ("rules.half", "rules.files = [\"rules.cedar\"]".to_owned())] {
        let gateway = Gateway::with_policy(upstream.address, &policy(&text), |config| {
            let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
            files::replace(&file, rules);
        })
        .await;
        let mut raw = Raw::connect(gateway.address).await;
        let (executed, mut ids) = (upstream.sandbox.executed("CreatePrebuild"), Vec::new());
        for (_, dialect) in (0..CALLS).zip([GRPC, CONNECT].into_iter().cycle()) {
            let request = lasting(&upstream, 1801);
            let (spoken, id) = call(&mut raw, dialect, ACME_KEY, "CreatePrebuild", &request).await;
            let is_refused = drawn(rule, &id) == Mode::Enforce;
            assert!(warnings(&spoken.metadata).is_empty());
            match is_refused {
                true => assert_eq!(refused(spoken), denied(rule)),
                false => drop(spoken.result.unwrap()),
            }
            ids.push((id, is_refused));
        }
        let refused = ids.iter().filter(|(_, is_refused)| *is_refused).count();
        // Of 120 fair coins, further off in one of 10 million runs.
        assert!((31..=89).contains(&refused), "{refused}");
        let passed = u64::try_from(CALLS - refused).unwrap();
        assert_eq!(upstream.sandbox.executed("CreatePrebuild") - executed, passed);
        assert_eq!(decided(&gateway, rule, "audit", "broken").await, passed, "{rule}");
        assert_eq!(decided(&gateway, rule, "enforce", "broken").await, u64::try_from(refused).unwrap());
        let audited = gateway.end().await;
        // Refusals that are alike are told by one record, the first by itself.
        assert_eq!(audited.number_of("POLICY_DENIED"), u64::try_from(refused).unwrap());
        for (id, is_refused) in ids {
            let records = audited.of(&id);
            let Some(last) = records.last() else {
                assert!(is_refused, "{id} is not on record");
                continue;
            };
            let rulings = last["rulings"].as_array().unwrap();
            let mode = if is_refused { "enforce" } else { "audit" };
            let is_told = |ruling: &&Value| ruling["rule"] == rule && ruling["outcome"] == "broken";
            let told: Vec<_> = rulings.iter().filter(is_told).map(|ruling| &ruling["mode"]).collect();
            assert_eq!(told, [mode], "{rulings:?}");
        }
    }
}

/// What is in force for all calls is so for those outside of the share of another one.
#[tokio::test]
async fn outside_of_a_share_the_broader_limit_refuses() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let text =
        format!("{MAX_TIMEOUT} = \"1h\"\norgs.acme.{MAX_TIMEOUT} = {{ value = \"30m\", share = 0.5 }}");
    let gateway = Gateway::with_policy(upstream.address, &policy(&text), |_| {}).await;
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..20 {
        let spoken = asked(&mut raw, "CreatePrebuild", &lasting(&upstream, 3601)).await;
        assert_eq!(refused(spoken), denied(MAX_TIMEOUT));
    }
}
