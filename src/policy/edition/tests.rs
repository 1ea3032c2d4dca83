//! The policy file and what is made of it: the example, a folder of policies that must not be taken, and who is set what.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::{
    file::form::Misfit,
    policy::{Edition, Ground, Stricter, Texts, applied::Limits, document::Document},
    rpc::{CREATE_PREBUILD, GET_PREBUILD, MethodSpec, UPDATE_WARM_POOL},
    rule::{Applied, Bound, Draw, Mode, Need, RuleId},
};

mod shadows;

const EXAMPLE: &str = include_str!("../../../deploy/policy/policy.example.toml");
const PROJECT: &str = "0198c0de-0000-7000-8000-0000000000a1";

/// Two orgs, and 400 calls in flight over both.
fn ground() -> Ground {
    Ground { orgs: vec!["acme".into(), "globex".into()], in_flight: 400, ..Ground::default() }
}

fn texts(policy: &str) -> Texts {
    Texts { policy: policy.to_owned(), rules: Vec::new() }
}

fn edition(policy: &str) -> Edition {
    Edition::of(&texts(policy), &ground()).unwrap()
}

/// What `ci` of an org is set for one call.
fn set(edition: &Edition, org: &str, method: &'static MethodSpec) -> (Limits, Bound) {
    let (limits, bound) = edition.apply(&org.into(), &"ci".into(), method, Draw::new(7));
    ((*limits).clone(), bound)
}

/// The mode, whether it is a candidate, and the value of each.
fn shown<T: Clone>(applied: &[Applied<T>]) -> Vec<(Mode, bool, T)> {
    applied.iter().map(|applied| (applied.mode, applied.candidate, applied.value.clone())).collect()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[test]
fn every_bad_policy_says_in_one_line_what_is_wrong() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-policies");
    let rules = fs::read_dir(directory.join("there")).unwrap().map(|entry| entry.unwrap().path());
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    // Version control does not keep modes.
    for file in rules.chain(files.iter().cloned()) {
        fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }
    assert!(files.len() >= 40, "{}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).unwrap();
        let judged = Texts::read(&file).and_then(|texts| Edition::of(&texts, &ground()));
        let said = judged.map(|_| ()).map_err(|misfit: Misfit| misfit.to_string());
        let said = said.err().unwrap_or_else(|| "nothing".to_owned());
        if said != expected || said.contains('\n') {
            wrong.push(format!("{}\n  expected {expected}\n  said     {said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_example_is_a_policy_and_names_every_key() {
    let edition = edition(EXAMPLE);
    assert_eq!(edition.revision(), Some("2026-07-24.1"));
    let schema = serde_json::to_value(schemars::schema_for!(Document)).unwrap();
    let mut declared = BTreeSet::new();
    properties(&schema, &mut declared);
    let example: Value = toml::from_str(EXAMPLE).unwrap();
    let mut written = BTreeSet::new();
    names(&example, &mut written);
    let missing: Vec<_> = declared.difference(&written).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(declared.contains("max_page_size") && declared.contains("candidate"));
}

#[test]
fn a_document_refuses_unknown_keys_everywhere() {
    let schema = serde_json::to_value(schemars::schema_for!(Document)).unwrap();
    let definitions = schema["$defs"].as_object().unwrap().iter();
    for (name, definition) in definitions.chain([(&"Document".to_owned(), &schema)]) {
        if definition["properties"].is_object() {
            assert_eq!(definition["additionalProperties"], Value::Bool(false), "{name}");
        }
    }
}

/// The names of all keys that a schema declares.
fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            let declared = members.get("properties").and_then(Value::as_object);
            found.extend(declared.into_iter().flatten().map(|(name, _)| name.clone()));
            members.values().for_each(|member| properties(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| properties(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn names(value: &Value, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        found.insert(name.clone());
        names(value, found);
    }
}

#[test]
fn without_a_policy_an_org_has_a_rate_and_a_quarter_of_the_calls_in_flight() {
    let edition = Edition::built_in(&ground()).unwrap();
    let (limits, bound) = set(&edition, "acme", &CREATE_PREBUILD);
    assert!(limits.max_timeout.is_empty() && limits.projects.is_empty() && bound.budgets.is_empty());
    let [quota] = &bound.quotas[..] else { panic!("{bound:?}") };
    assert_eq!(quota.rate.rule.as_str(), "rates.org.all");
    assert_eq!(quota.rate.value.to_string(), "50 per second, bursts of 100");
    assert_eq!(shown(&bound.in_flight), [(Mode::Enforce, false, 100)]);
    assert!(bound.needs_object == Need::Not && bound.projects.is_all());
    // None of them turned off or looked at only makes it any wider.
    let edition = self::edition(
        "rates.org.all = { per_second = 9, burst = 9, mode = \"off\" }\n\
         limits.in_flight = { value = 300, mode = \"audit\" }",
    );
    let (_, bound) = set(&edition, "acme", &CREATE_PREBUILD);
    assert_eq!(bound.quotas[0].rate.value.burst.get(), 100);
    assert_eq!(shown(&bound.in_flight), [(Mode::Audit, false, 300), (Mode::Enforce, false, 100)]);
}

#[test]
fn the_narrowest_that_is_enforced_counts_and_what_is_narrower_is_looked_at() {
    let edition = edition(
        "limits.max_timeout = \"1h\"\n\
         orgs.acme.limits.max_timeout = { value = \"90m\", candidate = \"80m\", link = \"https://a.example/\" }\n\
         orgs.acme.subjects.ci.limits.max_timeout = { value = \"30m\", mode = \"warn\" }\n\
         orgs.globex.limits.max_timeout = { value = \"1m\", mode = \"off\" }",
    );
    let (limits, _) = set(&edition, "acme", &CREATE_PREBUILD);
    assert_eq!(
        shown(&limits.max_timeout),
        [
            (Mode::Warn, false, minutes(30)),
            (Mode::Enforce, false, minutes(90)),
            (Mode::Audit, true, minutes(80)),
        ]
    );
    assert_eq!(limits.max_timeout[1].link.as_deref(), Some("https://a.example/"));
    assert!(limits.max_timeout.iter().all(|limit| limit.rule.as_str() == "limits.max_timeout"));
    let (limits, _) = set(&edition, "globex", &CREATE_PREBUILD);
    assert_eq!(shown(&limits.max_timeout), [(Mode::Enforce, false, minutes(60))]);
    // Another subject of acme's.
    let (limits, _) = edition.apply(&"acme".into(), &"ada".into(), &CREATE_PREBUILD, Draw::new(1));
    assert_eq!(limits.max_timeout.len(), 2);
}

#[test]
fn outside_its_share_a_limit_is_audited_and_the_broader_one_counts() {
    let edition = edition(
        "limits.max_timeout = \"1h\"\n\
         orgs.acme.limits.max_timeout = { value = \"30m\", share = 0.25 }",
    );
    let mut within = 0;
    for request in 0..1000 {
        let (limits, _) = edition.apply(&"acme".into(), &"ci".into(), &CREATE_PREBUILD, Draw::new(request));
        let enforced: Vec<_> = limits.max_timeout.iter().filter(|limit| limit.is_enforced()).collect();
        assert_eq!(enforced.len(), 1);
        within += usize::from(enforced[0].value == minutes(30));
        assert_eq!(limits.max_timeout[0].value, minutes(30));
    }
    assert!((200..300).contains(&within), "{within}");
}

#[test]
fn an_org_is_exempted_by_a_wider_value() {
    let edition = edition(&format!(
        "limits.methods = {{ deny = [\"CreatePrebuild\"] }}\nlimits.projects = {{ allow = [\"{PROJECT}\"] }}\n\
         orgs.acme.limits.methods = {{ allow = \"any\" }}\norgs.acme.limits.projects = {{ allow = \"any\" }}"
    ));
    let (limits, bound) = set(&edition, "globex", &CREATE_PREBUILD);
    assert!(
        !limits.methods[0].value.admits(&CREATE_PREBUILD) && limits.methods[0].value.admits(&GET_PREBUILD)
    );
    assert!(
        bound.needs_object == Need::Required
            && bound.projects.admits(PROJECT)
            && !bound.projects.admits(&PROJECT.replace('1', "2"))
    );
    let (limits, bound) = set(&edition, "acme", &CREATE_PREBUILD);
    assert!(limits.methods[0].value.admits(&CREATE_PREBUILD));
    assert!(bound.needs_object == Need::Not && bound.projects.is_all());
}

#[test]
fn what_is_not_enforced_narrows_no_list() {
    let edition = edition(&format!(
        "limits.projects = {{ allow = [\"{PROJECT}\"], mode = \"warn\" }}\n\
         limits.environment_classes = {{ deny = [\"{PROJECT}\"], candidate = {{ allow = [\"{PROJECT}\"] }} }}"
    ));
    let (_, bound) = set(&edition, "acme", &CREATE_PREBUILD);
    assert!(bound.projects.is_all() && bound.needs_object == Need::Required);
    assert!(bound.classes.allow.is_none() && !bound.classes.admits(PROJECT));
}

#[test]
fn a_call_counts_in_one_class_and_in_all_of_subject_and_org() {
    let edition = edition(
        "rates.org.read = { per_second = 1, burst = 9 }\nrates.org.mutate = { per_second = 2, burst = 9 }\n\
         rates.org.expensive = { per_second = 3, burst = 9 }\nrates.subject.all = { per_second = 4, burst = 9 }\n\
         rates.subject.expensive = { per_minute = 5, burst = 9 }\ncosts.CreatePrebuild = 5\n\
         orgs.acme.subjects.ci.rates.subject.all = { per_hour = 6, burst = 9, mode = \"audit\" }",
    );
    let rules = |method| {
        let (_, bound) = set(&edition, "acme", method);
        let rule = |quota: &crate::rule::Quota| {
            format!("{} {} {}", quota.rate.rule, quota.rate.value.calls, quota.cost)
        };
        bound.quotas.iter().map(rule).collect::<Vec<_>>()
    };
    let subject = ["rates.subject.all 6 1", "rates.subject.all 4 1"];
    assert_eq!(rules(&GET_PREBUILD), [&subject[..], &["rates.org.read 1 1", "rates.org.all 50 1"]].concat());
    let pool = ["rates.org.expensive 3 1", "rates.org.all 50 1"];
    assert_eq!(rules(&UPDATE_WARM_POOL), [&["rates.subject.expensive 5 1"], &subject[..], &pool].concat());
    assert_eq!(
        rules(&CREATE_PREBUILD),
        [
            "rates.subject.expensive 5 5",
            "rates.subject.all 6 5",
            "rates.subject.all 4 5",
            "rates.org.expensive 3 5",
            "rates.org.all 50 5"
        ]
    );
    assert_eq!(rules(&crate::rpc::DELETE_PREBUILD)[2], "rates.org.mutate 2 1");
}

/// The engines of rates know a subject's own entries by it.
#[test]
fn a_subjects_own_rate_is_of_the_third_level() {
    let rate = |count| format!("rates.subject.all = {{ per_second = {count}, burst = 9, share = 0.5 }}\n");
    let edition = edition(&format!("{0}orgs.acme.{1}orgs.acme.subjects.ci.{2}", rate(3), rate(2), rate(1)));
    let levels = |subject: &str| {
        let (_, bound) = edition.apply(&"acme".into(), &subject.into(), &GET_PREBUILD, Draw::new(1));
        bound.quotas.iter().map(|quota| quota.rank.level).collect::<Vec<_>>()
    };
    // The last is the org's, which is built in.
    assert_eq!((levels("ci"), levels("ada")), (vec![3, 2, 1, 0], vec![2, 1, 0]));
}

#[test]
fn defaults_are_the_narrowest_and_classes_are_told_by_project() {
    let other = PROJECT.replace("a1", "a2");
    let edition = edition(&format!(
        "limits.default_timeout = \"45m\"\norgs.acme.limits.default_timeout = \"20m\"\n\
         limits.default_environment_classes = {{ \"{PROJECT}\" = \"{PROJECT}\", \"{other}\" = \"{PROJECT}\" }}\n\
         orgs.acme.limits.default_environment_classes = {{ \"{PROJECT}\" = \"{other}\" }}"
    ));
    let defaults = set(&edition, "acme", &CREATE_PREBUILD).0.defaults;
    assert_eq!(defaults.timeout, Some(minutes(20)));
    let class = |project: &str| defaults.environment_classes[&project.parse().unwrap()].to_string();
    assert_eq!((class(PROJECT), class(&other)), (other.clone(), PROJECT.to_owned()));
    assert_eq!(set(&edition, "globex", &CREATE_PREBUILD).0.defaults.timeout, Some(minutes(45)));
}

#[test]
fn budgets_are_a_projects_before_an_orgs_and_an_org_may_have_its_own() {
    let edition = edition(
        "budgets.org.running_prebuilds = 50\nbudgets.project.creates = { count = 20, window = \"1h\" }\n\
         orgs.acme.budgets.org.running_prebuilds = { value = 5, mode = \"warn\" }",
    );
    let (_, bound) = set(&edition, "acme", &CREATE_PREBUILD);
    let rules: Vec<_> = bound.budgets.iter().map(|budget| budget.burden.rule.as_str()).collect();
    let running = "budgets.org.running_prebuilds";
    assert_eq!(rules, ["budgets.project.creates", running, running]);
    assert_eq!(bound.budgets[1].burden.mode, Mode::Warn);
    assert_eq!(edition.budgeted(), BTreeSet::from(["acme".into(), "globex".into()]));
    assert!(Edition::built_in(&ground()).unwrap().budgeted().is_empty());
}

#[test]
fn a_rule_file_that_changes_makes_another_version() {
    let with = |rules: &[(&str, &str)]| {
        let rules = rules.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Texts { policy: String::new(), rules }.version(&ground())
    };
    let versions =
        [with(&[]), with(&[("a", "")]), with(&[("a", "b")]), with(&[("ab", "")]), with(&[("b", "b")])];
    for (index, version) in versions.iter().enumerate() {
        assert_eq!(version.as_str().len(), 16);
        assert!(!versions[..index].contains(version), "{index}");
    }
}

#[test]
fn what_the_config_says_to_calls_beside_the_policy_is_of_the_version() {
    let version = |ground: &Ground| Edition::built_in(ground).unwrap().version().clone();
    let one = version(&ground());
    assert_eq!(version(&Ground { orgs: Vec::new(), in_flight: 403, ..ground() }), one, "the same quarter");
    assert_ne!(version(&Ground { in_flight: 404, ..ground() }), one);
    assert_ne!(version(&Ground { stricter: Stricter::Enforce, ..ground() }), one);
}

#[test]
fn rules_are_compiled_with_the_policy_and_the_first_mistake_is_told() {
    let with = |rules: &str, default: &str| {
        let policy = format!("rules = {{ files = [\"a.cedar\"], default = \"{default}\" }}");
        let rules = vec![("a.cedar".to_owned(), rules.to_owned())];
        Edition::of(&Texts { policy, rules }, &ground())
    };
    let good = "@id(\"one\") forbid(principal, action, resource);\n";
    let edition = with(good, "forbid").unwrap();
    assert_eq!(edition.rules().ids().map(RuleId::as_str).collect::<Vec<_>>(), ["rules.one"]);
    let one =
        format!("{good}@id(\"two\") forbid(principal, action, resource) when {{ context.huor > 1 }};\n");
    let said = with(&one, "permit").unwrap_err().to_string();
    assert!(said.starts_with("a.cedar:2: rule `two`: ") && !said.contains("more)"), "{said}");
    let both = format!("{one}forbid(principal, action, resource);\n");
    let said = with(&both, "permit").unwrap_err().to_string();
    assert!(said.starts_with("a.cedar:") && said.ends_with(" (and 1 more)"), "{said}");
}
