//! Every typed limit and a rule, in each mode, over gRPC and Connect.

use prebuild_gateway::sandbox::Rules;

use super::*;
use crate::harness::policy as files;

const LINK: &str = "https://policy.example/why";

/// A limit, its value, and a call that breaks it.
struct Case {
    rule: &'static str,
    value: String,
    method: &'static str,
    field: &'static str,
    /// By the position of the project.
    request: Box<dyn Fn(usize) -> Value>,
}

fn cases(upstream: &Sandboxed) -> Vec<Case> {
    let projects: Vec<_> = upstream.acme.projects.iter().map(|project| project.id.to_string()).collect();
    let classes: Vec<_> = upstream.acme.projects[0].classes.iter().map(ToString::to_string).collect();
    let other = "0198c0de-0000-7000-8000-0000000000ff";
    let (of, class) = (projects.clone(), classes[1].clone());
    let create = move |spec: Value| -> Box<dyn Fn(usize) -> Value> {
        let (of, class) = (of.clone(), class.clone());
        Box::new(move |at| value!({"projectId": of[at], "environmentClassId": class, "spec": spec}))
    };
    let pool = move || -> Box<dyn Fn(usize) -> Value> {
        let (of, class) = (projects.clone(), classes[0].clone());
        Box::new(
            move |at| value!({"projectId": of[at], "environmentClassId": class, "minSize": 1, "maxSize": 3}),
        )
    };
    let case = |rule, value: &str, method, field, request| Case {
        rule,
        value: value.to_owned(),
        method,
        field,
        request,
    };
    let only = format!("allow = [\"{other}\"]");
    let page = Box::new(|_| value!({"pagination": {"pageSize": 6}}));
    vec![
        case("limits.methods", "deny = [\"CreatePrebuild\"]", "CreatePrebuild", "", create(value!({}))),
        case(
            "limits.max_timeout",
            "value = \"30m\"",
            "CreatePrebuild",
            "spec.timeout",
            create(value!({"timeout": "1801s"})),
        ),
        case("limits.min_pool_size", "value = 2", "CreateWarmPool", "min_size", pool()),
        case("limits.max_pool_size", "value = 2", "CreateWarmPool", "max_size", pool()),
        case("limits.max_page_size", "value = 5", "ListPrebuilds", "pagination.page_size", page),
        case("limits.projects", &only, "CreatePrebuild", "project_id", create(value!({}))),
        case(
            "limits.environment_classes",
            &only,
            "CreatePrebuild",
            "environment_class_id",
            create(value!({})),
        ),
        case("rules.short", "", "CreatePrebuild", "", create(value!({"timeout": "1801s"}))),
    ]
}

/// The policy file, and the file of rules.
fn texts(case: &Case, mode: &str) -> (String, String) {
    let Case { rule, value, .. } = case;
    if let Some(id) = rule.strip_prefix("rules.") {
        let rule = format!(
            "@id(\"{id}\") @mode(\"{mode}\") @message(\"half an hour does\") @link(\"{LINK}\")\n\
             forbid(principal, action == Action::\"CreatePrebuild\", resource)\n\
             when {{ context.timeout_seconds > 1800 }};\n"
        );
        return (policy("rules.files = [\"rules.cedar\"]"), rule);
    }
    (policy(&format!("{rule} = {{ {value}, mode = \"{mode}\", link = \"{LINK}\" }}")), String::new())
}

#[tokio::test]
async fn each_limit_does_in_each_mode_what_the_mode_says() {
    let count = cases(&Sandboxed::start(Rules::default()).await).len();
    for index in 0..count {
        for mode in ["off", "audit", "warn", "enforce"] {
            let upstream = Sandboxed::start(Rules::default()).await;
            let case = cases(&upstream).swap_remove(index);
            tried(&upstream, &case, mode).await;
        }
    }
}

async fn tried(upstream: &Sandboxed, case: &Case, mode: &str) {
    let Case { rule, method, field, .. } = case;
    let (policy, rules) = texts(case, mode);
    let is_cedar = !rules.is_empty();
    let gateway = Gateway::with_policy(upstream.address, &policy, |config| {
        let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
        files::replace(&file, &rules);
    })
    .await;
    let by = if is_cedar { version(&policy, &[("rules.cedar", &rules)]) } else { version(&policy, &[]) };
    let mut raw = Raw::connect(gateway.address).await;
    let mut ids = Vec::new();
    for (at, dialect) in [GRPC, CONNECT].into_iter().enumerate() {
        let (spoken, id) = call(&mut raw, dialect, ACME_KEY, method, &(case.request)(at)).await;
        ids.push(id);
        let told = warnings(&spoken.metadata);
        if mode == "warn" {
            let [warning] = &told[..] else { panic!("{rule} {told:?}") };
            let is_told =
                warning.starts_with(&format!("{rule}: ")) && warning.ends_with(&format!(" (policy {by})"));
            assert!(is_told, "{warning}");
        } else {
            assert!(told.is_empty(), "{rule} {mode} {told:?}");
        }
        if mode != "enforce" {
            spoken.result.unwrap();
            continue;
        }
        let wrong = spoken.result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (7, Some("POLICY_DENIED")), "{rule}");
        assert_eq!((wrong.rule.as_deref(), wrong.policy.as_deref()), (Some(*rule), Some(&*by)), "{rule}");
        assert_eq!(
            (&wrong.fields[..], &wrong.links[..]),
            (&[(*field).to_owned()][..], &[LINK.to_owned()][..])
        );
    }
    assert_eq!(upstream.sandbox.executed(method), if mode == "enforce" { 0 } else { 2 }, "{rule} {mode}");
    if mode != "off" {
        assert_eq!(decided(&gateway, rule, mode, "broken").await, 2, "{rule} {mode}");
    } else {
        assert!(!gateway.metrics().await.contains(&format!("rule=\"{rule}\"")));
    }
    let audited = gateway.end().await;
    for id in ids {
        let records = audited.of(&id);
        let last = records.last().unwrap();
        assert_eq!(last["policy"], by, "{rule} {mode}");
        match mode {
            "off" => assert!(last["rulings"].as_array().is_none_or(Vec::is_empty), "{last}"),
            _ => {
                let ruling = &last["rulings"][0];
                assert_eq!((&ruling["rule"], &ruling["mode"]), (&value!(rule), &value!(mode)), "{last}");
            }
        }
    }
}

#[tokio::test]
async fn defaults_are_what_upstream_gets_and_rules_judge() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let [project, other] = [0, 1].map(|at| upstream.acme.projects[at].id.to_string());
    let class = upstream.acme.projects[0].classes[1].to_string();
    let rules = format!(
        "@id(\"class\") forbid(principal, action == Action::\"CreatePrebuild\", resource)\n\
         unless {{ context has environment_class && context.environment_class == EnvironmentClass::\"{class}\" }};\n\
         @id(\"given\") forbid(principal, action == Action::\"CreatePrebuild\", resource) when {{ context.timeout_given }};\n"
    );
    let text = policy(&format!(
        "limits.max_timeout = \"45m\"\nlimits.default_timeout = \"40m\"\nlimits.max_page_size = 7\n\
         limits.default_environment_classes = {{ \"{project}\" = \"{class}\" }}\nrules.files = [\"rules.cedar\"]"
    ));
    let gateway = Gateway::with_policy(upstream.address, &text, |config| {
        let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
        files::replace(&file, &rules);
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    asked(&mut raw, "CreatePrebuild", &creation(&upstream, 0)).await.result.unwrap();
    let body: Value = serde_json::from_slice(&upstream.sandbox.seen().pop().unwrap().body).unwrap();
    assert_eq!((&body["spec"]["timeout"], &body["environmentClassId"]), (&value!("2400s"), &value!(class)));
    // Of the other project upstream would choose the class.
    let spoken = asked(&mut raw, "CreatePrebuild", &creation(&upstream, 1)).await;
    let wrong = spoken.result.unwrap_err();
    assert_eq!(
        (wrong.rule.as_deref(), &wrong.fields[..]),
        (Some("rules.class"), &["environment_class_id".to_owned()][..])
    );
    let request = value!({"projectId": other, "spec": {"timeout": "3600s"}});
    let wrong = asked(&mut raw, "CreatePrebuild", &request).await.result.unwrap_err();
    assert_eq!(wrong.rule.as_deref(), Some("limits.max_timeout"), "all at once, the limits first");
    assert_eq!(wrong.fields, ["spec.timeout", "environment_class_id", ""]);
    asked(&mut raw, "ListPrebuilds", &value!({})).await.result.unwrap();
    assert_eq!(upstream.sandbox.seen().pop().unwrap().query, "pageSize=7");
    assert_eq!(upstream.sandbox.executed("CreatePrebuild"), 1);
}
