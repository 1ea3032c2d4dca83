//! Whoever is limited to one project reaches nothing of another.

use prebuild_gateway::sandbox::Rules;

use super::*;
use crate::harness::policy as files;

fn pool(upstream: &Sandboxed, project: usize) -> Value {
    let project = &upstream.acme.projects[project];
    value!({"projectId": project.id.to_string(), "environmentClassId": project.classes[0].to_string(), "minSize": 1, "maxSize": 2})
}

#[tokio::test]
async fn a_subject_limited_to_a_project_is_kept_to_it_by_id_and_in_lists_and_another_is_not() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let mine = upstream.acme.projects[0].id.to_string();
    let text = policy(&format!("orgs.acme.subjects.ci.limits.projects = {{ allow = [\"{mine}\"] }}"));
    let gateway = Gateway::with_policy(upstream.address, &text, ada).await;
    let mut raw = Raw::connect(gateway.address).await;
    let (mut prebuilds, mut pools) = (Vec::new(), Vec::new());
    for project in 0..2 {
        let spoken =
            call(&mut raw, CONNECT, ADA_KEY, "CreatePrebuild", &creation(&upstream, project)).await.0;
        prebuilds.push(made(spoken, "prebuild"));
        let spoken = call(&mut raw, CONNECT, ADA_KEY, "CreateWarmPool", &pool(&upstream, project)).await.0;
        pools.push(made(spoken, "warmPool"));
    }
    let prebuild = |at: usize| value!({"prebuildId": prebuilds[at]});
    let pool = |at: usize| value!({"warmPoolId": pools[at]});
    let update = |at: usize| value!({"warmPoolId": pools[at], "maxSize": 3});
    let calls: [(&str, &dyn Fn(usize) -> Value); 7] = [
        ("GetPrebuild", &prebuild),
        ("CreatePrebuildLogsToken", &prebuild),
        ("CancelPrebuild", &prebuild),
        ("DeletePrebuild", &prebuild),
        ("GetWarmPool", &pool),
        ("UpdateWarmPool", &update),
        ("DeleteWarmPool", &pool),
    ];
    for (method, request) in calls {
        for dialect in [GRPC, CONNECT] {
            let executed = upstream.sandbox.executed(method);
            let spoken = call(&mut raw, dialect, ACME_KEY, method, &request(1)).await.0;
            assert_eq!(refused(spoken), denied("limits.projects"), "{method}");
            // The look-up is a read of its own.
            let is_read = method.starts_with("Get");
            assert_eq!(upstream.sandbox.executed(method), executed + u64::from(is_read), "{method}");
        }
    }
    for (method, list) in [("ListPrebuilds", "prebuilds"), ("ListWarmPools", "warmPools")] {
        for (key, projects) in [(ACME_KEY, 1), (ADA_KEY, 2)] {
            let spoken = call(&mut raw, CONNECT, key, method, &value!({})).await.0;
            let answer: Value = serde_json::from_slice(&spoken.result.unwrap()).unwrap();
            let shown = answer[list].as_array().unwrap();
            assert_eq!(shown.len(), projects, "{method}");
            assert!(key == ADA_KEY || shown.iter().all(|one| one["metadata"]["projectId"] == mine));
        }
    }
    for (method, request) in calls {
        let of = usize::from(method != "CancelPrebuild");
        let spoken = call(&mut raw, CONNECT, ADA_KEY, method, &request(of)).await.0;
        // What has ended is not cancelled.
        assert!(spoken.result.is_ok() || method == "CancelPrebuild", "{method}");
    }
    asked(&mut raw, "GetPrebuild", &prebuild(0)).await.result.unwrap();
}

#[tokio::test]
async fn what_a_subject_may_stands_over_what_its_org_may() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let text = policy("limits.max_timeout = \"30m\"\norgs.acme.subjects.ci.limits.max_timeout = \"1h\"");
    let gateway = Gateway::with_policy(upstream.address, &text, ada).await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = |seconds: &str| {
        let mut request = creation(&upstream, 0);
        request["spec"]["timeout"] = value!(seconds);
        request
    };
    for (key, seconds, is_refused) in [
        (ACME_KEY, "3600s", false),
        (ACME_KEY, "3601s", true),
        (ADA_KEY, "1800s", false),
        (ADA_KEY, "1801s", true),
    ] {
        let spoken = call(&mut raw, CONNECT, key, "CreatePrebuild", &request(seconds)).await.0;
        match is_refused {
            true => assert_eq!(refused(spoken), denied("limits.max_timeout"), "{seconds}"),
            false => drop(spoken.result.unwrap()),
        }
    }
}

/// Whatever the method: one that changes no size is judged by the pool's sizes, too.
#[tokio::test]
async fn a_rule_on_a_pools_sizes_judges_its_deletion() {
    const SIZED: &str = "@id(\"large\") forbid(principal, action, resource is WarmPool)\n\
        when { resource has max_size && resource.max_size > 2 };\n";
    let upstream = Sandboxed::start(Rules::default()).await;
    let text = policy("rules.files = [\"rules.cedar\"]");
    let gateway = Gateway::with_policy(upstream.address, &text, |config| {
        let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
        files::replace(&file, SIZED);
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    for (max, is_refused) in [(2, false), (3, true)] {
        let mut request = pool(&upstream, 0);
        request["maxSize"] = value!(max);
        let id = value!({"warmPoolId": made(asked(&mut raw, "CreateWarmPool", &request).await, "warmPool")});
        for method in ["GetWarmPool", "DeleteWarmPool"] {
            let spoken = asked(&mut raw, method, &id).await;
            match is_refused {
                true => assert_eq!(refused(spoken), denied("rules.large"), "{method}"),
                false => drop(spoken.result.unwrap()),
            }
        }
    }
}

/// Whoever is parted from a pool by a rule in Cedar alone: whatever it asks, it hears of that rule, and so of no size.
#[tokio::test]
async fn a_rule_on_a_project_tells_nothing_of_the_sizes_there() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let theirs = upstream.acme.projects[1].id.to_string();
    let rules = format!(
        "@id(\"large\") forbid(principal, action, resource is WarmPool) when {{ resource has max_size && resource.max_size > 1 }};\n\
         @id(\"apart\") forbid(principal == Subject::\"acme/ci\", action in Action::\"mutate\", \
         resource in Project::\"{theirs}\");\n"
    );
    let text = policy(
        "limits.max_pool_size = { value = 1, link = \"https://policy.example/sizes\" }\n\
         orgs.acme.subjects.ada.limits.max_pool_size = 20\nrules.files = [\"rules.cedar\"]",
    );
    let gateway = Gateway::with_policy(upstream.address, &text, |config| {
        ada(config);
        let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
        files::replace(&file, &rules);
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    let spoken = call(&mut raw, CONNECT, ADA_KEY, "CreateWarmPool", &pool(&upstream, 1)).await.0;
    let id = made(spoken, "warmPool");
    for sizes in
        [value!({"minSize": 2}), value!({"minSize": 3}), value!({"maxSize": 0}), value!({"maxSize": 2})]
    {
        let mut request = sizes.clone();
        request["warmPoolId"] = value!(id);
        for dialect in [GRPC, CONNECT] {
            let spoken = call(&mut raw, dialect, ACME_KEY, "UpdateWarmPool", &request).await.0;
            let wrong = spoken.result.unwrap_err();
            let told = (wrong.code, wrong.rule.as_deref(), wrong.fields.len(), wrong.links.len());
            assert_eq!(told, (7, Some("rules.apart"), 1, 0), "{sizes}");
        }
    }
    assert_eq!(upstream.sandbox.executed("UpdateWarmPool"), 0);
}
