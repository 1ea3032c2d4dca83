//! `explain`: what a policy would do to a call, without a gateway.

use std::{path::Path, process::Output};

use serde_json::{Value, json};

use super::policy::configured;
use crate::{INVALID_ARGUMENT, run, text};

const POLICY: &str = "
[limits]
max_timeout = { value = '1h', candidate = '30m', link = 'https://wiki.example.com/timeouts' }
default_timeout = '45m'
projects = { allow = ['0198c0de-0000-7000-8000-0000000000a1'] }
[budgets.org]
running_prebuilds = 5
warm_instances = 5
";
/// The start of the hash of its text.
const VERSION: &str = "VERSION";
const CREATE: &str = r#"{"projectId":"0198c0de-0000-7000-8000-0000000000a1","spec":{}}"#;
const LONG: &str = r#"{"projectId":"0198c0de-0000-7000-8000-0000000000a1","spec":{"timeout":"7200s"}}"#;
const DELETE: &str = r#"{"prebuildId":"0198c0de-0000-7000-8000-0000000000e1"}"#;
const PERMISSION_DENIED: i32 = 64 + 7;
const EX_USAGE: i32 = 2;

fn explain(directory: &Path, arguments: &[&str]) -> Output {
    let config = configured(directory, POLICY);
    run(&[&["explain", "--config", &config], arguments].concat())
}

/// Exit code and output of a call as acme's ci, with the version put out of sight.
fn said(arguments: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = explain(directory.path(), &[&["--as", "acme/ci"], arguments].concat());
    assert_eq!(text(&output.stderr), "", "{arguments:?}");
    let said = text(&output.stdout);
    let version = said.split_once("(policy ").map(|(_, rest)| rest[..16].to_owned());
    (output.status.code(), version.map_or(said.clone(), |version| said.replace(&version, VERSION)))
}

#[test]
fn a_call_that_would_pass_is_shown_as_it_would_be_sent() {
    let expected = "\
would be forwarded (policy VERSION)
  enforce  kept    limits.max_timeout; https://wiki.example.com/timeouts
  tried    broken  limits.max_timeout  spec.timeout must be at most 1800s; https://wiki.example.com/timeouts
  enforce  kept    limits.projects
  default  spec.timeout is written
  sends    {\"projectId\":\"0198c0de-0000-7000-8000-0000000000a1\",\"spec\":{\"timeout\":\"2700s\"}}
not counted here: rates.org.all, limits.in_flight, budgets.org.running_prebuilds
";
    assert_eq!(said(&["CreatePrebuild", CREATE]), (Some(0), expected.to_owned()));
}

#[test]
fn one_that_would_be_refused_says_why_and_exits_with_its_code() {
    let expected = "\
would be refused: PERMISSION_DENIED, POLICY_DENIED, limits.max_timeout (policy VERSION)
  enforce  broken  limits.max_timeout  spec.timeout must be at most 3600s; https://wiki.example.com/timeouts
  tried    broken  limits.max_timeout  spec.timeout must be at most 1800s; https://wiki.example.com/timeouts
  enforce  kept    limits.projects
not counted here: rates.org.all, limits.in_flight, budgets.org.running_prebuilds
";
    assert_eq!(said(&["CreatePrebuild", LONG]), (Some(PERMISSION_DENIED), expected.to_owned()));
    let expected = "\
would be refused: PERMISSION_DENIED, SCOPE_MISSING, scopes.mutate (policy VERSION)
not counted here: rates.org.all, limits.in_flight, budgets.org.running_prebuilds
";
    let reads = said(&["--scope", "read", "CreatePrebuild", LONG]);
    assert_eq!(reads, (Some(PERMISSION_DENIED), expected.to_owned()));
}

#[test]
fn what_the_message_alone_shows_wrong_is_told_by_field() {
    let (code, said) = said(&["CreatePrebuild"]);
    assert_eq!(code, Some(INVALID_ARGUMENT));
    assert!(said.contains("\n  field    project_id "), "{said}");
    assert!(said.contains("\n  field    spec "), "{said}");
}

#[test]
fn the_object_of_a_call_by_id_is_said_where_a_rule_looks_at_it() {
    let directory = tempfile::tempdir().unwrap();
    let output = explain(directory.path(), &["--as", "acme/ci", "DeletePrebuild", DELETE]);
    assert_eq!(output.status.code(), Some(EX_USAGE));
    let expected = "prebuild-gateway: a rule looks at the object that DeletePrebuild is about: say its project and \
                    class, and of a warm pool min_size and max_size\n";
    assert_eq!((text(&output.stderr), text(&output.stdout)), (expected.to_owned(), String::new()));
    for (project, code) in [("a1", 0), ("a2", PERMISSION_DENIED)] {
        let project = format!("0198c0de-0000-7000-8000-0000000000{project}");
        let (said, _) = said(&["--project", &project, "--class", &project, "DeletePrebuild", DELETE]);
        assert_eq!(said, Some(code));
    }
}

#[test]
fn the_verdict_is_to_be_had_as_json() {
    let (code, said) = said(&["--json", "CreatePrebuild", LONG]);
    assert_eq!(code, Some(PERMISSION_DENIED));
    let verdict: Value = serde_json::from_str(&said).unwrap();
    let refusal =
        json!({ "code": "PERMISSION_DENIED", "reason": "POLICY_DENIED", "rule": "limits.max_timeout" });
    assert_eq!(verdict["refusal"], refusal);
    assert_eq!(verdict["method"], "gitpod.v1.PrebuildService/CreatePrebuild");
    assert_eq!(verdict["rulings"][1]["candidate"], true);
}

#[test]
fn what_there_is_not_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["--as", "globex/ci", "ListPrebuilds"][..], "`globex` is not one of [[orgs]] of the config"),
        (&["--as", "acme", "ListPrebuilds"], "must be ORG/SUBJECT"),
        (&["--as", "acme/ci", "MakePrebuild"], "invalid value 'MakePrebuild'"),
        (&["--as", "acme/ci", "--scope", "all", "ListPrebuilds"], "must be `read`, `mutate`, `secret`"),
        (&["--as", "acme/ci", "--time", "noon", "ListPrebuilds"], "invalid value 'noon'"),
        (&["--as", "acme/ci", "--client", "here", "ListPrebuilds"], "invalid value 'here'"),
        (&["--as", "acme/ci", "--project", "a", "ListPrebuilds"], "must be a UUID"),
        (&["--as", "acme/ci", "ListPrebuilds", "{\"page\":1}"], "ListPrebuildsRequest has no `page`"),
    ] {
        let output = explain(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(EX_USAGE), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[test]
fn a_bad_policy_is_told_as_by_check() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "limits.max_timeout = '3h'");
    let output = run(&["explain", "--config", &config, "--as", "acme/ci", "ListPrebuilds"]);
    assert_eq!(output.status.code(), Some(crate::EX_CONFIG));
    assert!(text(&output.stderr).ends_with("limits.max_timeout: must be from 1s to 2h\n"));
}
