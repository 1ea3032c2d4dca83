//! What is only looked at decides nothing, also not by what it needs to know.

use prebuild_gateway::sandbox::Rules;

use super::*;
use crate::harness::{Answer, ID, Upstream, json, policy as files};

const OTHER: &str = "0198c0de-0000-7000-8000-0000000000ff";
const FAILED: &str = "prebuild_gateway_shadow_lookups_failed_total";

#[tokio::test]
async fn a_shadow_over_an_enforced_limit_does_not_lift_it() {
    let upstream = Sandboxed::start(Rules::default()).await;
    for mode in ["audit", "warn"] {
        let rules = format!(
            "@id(\"all\") @mode(\"{mode}\") permit(principal, action, resource);\n\
             @id(\"reads\") permit(principal, action in [Action::\"read\", Action::\"CreatePrebuild\"], resource);"
        );
        let text = policy(&format!(
            "limits.max_timeout = \"30m\"\norgs.acme.limits.max_timeout = {{ value = \"2h\", mode = \"{mode}\" }}\n\
             rules = {{ files = [\"rules.cedar\"], default = \"forbid\" }}"
        ));
        let gateway = Gateway::with_policy(upstream.address, &text, |config| {
            let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
            files::replace(&file, &rules);
        })
        .await;
        let mut raw = Raw::connect(gateway.address).await;
        let mut request = creation(&upstream, 0);
        request["spec"]["timeout"] = value!("1801s");
        let spoken = asked(&mut raw, "CreatePrebuild", &request).await;
        assert_eq!(refused(spoken), denied("limits.max_timeout"));
        asked(&mut raw, "ListPrebuilds", &value!({})).await.result.unwrap();
        let spoken = asked(&mut raw, "DeletePrebuild", &value!({"prebuildId": ID})).await;
        assert_eq!(refused(spoken), denied("rules.default"));
    }
}

/// What upstream says where the object is looked up.
fn failures() -> [Answer; 3] {
    let absent = json(404, &value!({"code": "not_found", "message": "no such prebuild"}));
    let broken = json(500, &value!({"code": "internal", "message": "trouble"}));
    [Answer::Bytes(absent), Answer::Bytes(broken), Answer::silence()]
}

#[tokio::test]
async fn a_shadow_whose_look_up_fails_lets_upstream_answer() {
    let text = policy(&format!(
        "limits.projects = {{ allow = [\"{OTHER}\"], mode = \"audit\" }}\nrules.files = [\"rules.cedar\"]"
    ));
    let rules = format!(
        "@id(\"in\") @mode(\"warn\") forbid(principal, action in Action::\"mutate\", resource in Project::\"{OTHER}\");"
    );
    for failure in failures() {
        let upstream = Upstream::start([failure, Answer::Bytes(json(200, &value!({})))]).await;
        let gateway = Gateway::with_policy(upstream.address, &text, |config| {
            let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
            files::replace(&file, &rules);
        })
        .await;
        let mut raw = Raw::connect(gateway.address).await;
        let spoken = asked(&mut raw, "DeletePrebuild", &value!({"prebuildId": ID})).await;
        assert_eq!(warnings(&spoken.metadata).len(), 1);
        spoken.result.unwrap();
        let targets: Vec<_> = upstream.seen().into_iter().map(|seen| seen.target).collect();
        assert!(targets[0].contains("/GetPrebuild") && targets[1].contains("/DeletePrebuild"), "{targets:?}");
        assert_eq!(gateway.counted(FAILED).await, 1);
        assert_eq!(decided(&gateway, "limits.projects", "audit", "failed").await, 1);
        assert_eq!(decided(&gateway, "rules.in", "warn", "failed").await, 1);
    }
}

#[tokio::test]
async fn a_rule_in_force_whose_look_up_fails_refuses() {
    let text = policy(&format!("limits.projects = {{ allow = [\"{OTHER}\"] }}"));
    for failure in failures().into_iter().take(2) {
        let upstream = Upstream::start([failure]).await;
        let gateway = Gateway::with_policy(upstream.address, &text, |_| {}).await;
        let mut raw = Raw::connect(gateway.address).await;
        let spoken = asked(&mut raw, "DeletePrebuild", &value!({"prebuildId": ID})).await;
        spoken.result.unwrap_err();
        assert_eq!((upstream.seen().len(), gateway.counted(FAILED).await), (1, 0));
    }
}
