//! Cases that pass, and what is told of those that fail.

use super::*;
use crate::policy::{Edition, Ground, Policy, Stricter, Texts};

const POLICY: &str = "
[limits]
max_timeout = { value = '1h', candidate = '30m' }
max_page_size = { value = 10, mode = 'warn' }
default_timeout = '45m'
";

const CREATE: &str = "
[[case]]
name = 'one'
as = 'acme/ci'
method = 'CreatePrebuild'
request = { projectId = '0198c0de-0000-7000-8000-0000000000a1', spec = {} }
";

fn edition() -> Edition {
    let ground = Ground { orgs: vec!["acme".into()], in_flight: 100, ..Ground::default() };
    Edition::of(&Texts { policy: POLICY.to_owned(), rules: Vec::new() }, &ground).unwrap()
}

fn bench() -> Bench {
    Bench::of(Policy::new(edition()), Stricter::Forward, vec!["acme".into()])
}

async fn failures(case: &str) -> Vec<String> {
    Cases::parse(&format!("{CREATE}{case}")).unwrap().run(&bench()).await
}

#[tokio::test]
async fn what_is_as_expected_is_no_failure() {
    let case = "
        expect = 'forward'
        rules = []
        warns = []
        audits = ['limits.max_timeout']
        written = ['spec.timeout']
        sends = { projectId = '0198c0de-0000-7000-8000-0000000000a1', spec = { timeout = '2700s' } }
    ";
    assert_eq!(failures(case).await, Vec::<String>::new());
}

#[tokio::test]
async fn each_key_says_what_was_expected_and_what_was_said() {
    for (case, expected) in [
        ("expect = 'refuse'", "expect: expected refuse, said `would be forwarded (policy VERSION)`"),
        ("expect = 'forward'\nrules = ['limits.projects']", "rules: expected limits.projects, said none"),
        (
            "expect = 'forward'\nwarns = ['limits.a', 'limits.b']",
            "warns: expected limits.a, limits.b, said none",
        ),
        ("expect = 'forward'\naudits = []", "audits: expected none, said limits.max_timeout"),
        ("expect = 'forward'\nwritten = []", "written: expected none, said spec.timeout"),
        (
            "expect = 'forward'\nsends = {}",
            "sends: expected {}, said \
             {\"projectId\":\"0198c0de-0000-7000-8000-0000000000a1\",\"spec\":{\"timeout\":\"2700s\"}}",
        ),
    ] {
        let version = edition().version().to_string();
        let expected = format!("case[0] `one`: {}", expected.replace("VERSION", &version));
        assert_eq!(failures(case).await, [expected], "{case}");
    }
}

#[tokio::test]
async fn a_case_that_cannot_be_tried_is_a_failure() {
    for (change, expected) in [
        (("acme/ci", "globex/ci"), "`globex` is not one of [[orgs]] of the config"),
        (("projectId", "project"), "request: gitpod.v1.CreatePrebuildRequest has no `project`"),
    ] {
        let text = format!("{CREATE}expect = 'forward'").replace(change.0, change.1);
        let failures = Cases::parse(&text).unwrap().run(&bench()).await;
        assert_eq!(failures, [format!("case[0] `one`: {expected}")]);
    }
}

#[test]
fn a_file_that_is_none_is_told_by_its_key() {
    for (text, expected) in [
        ("", "case: must name one case at least"),
        ("[[case]]\nname = 'one'", "case[0].as: is required"),
        (
            &format!("{CREATE}expect = 'pass'"),
            "case[0].expect: unknown variant `pass`, expected `forward` or `refuse`",
        ),
        (&format!("{CREATE}expect = 'forward'\nwarn = []"), "case[0].warn: is not a key"),
        (&format!("{CREATE}expect = 'forward'\ntime = 'noon'"), "case[0].time: "),
        (&format!("{CREATE}expect = 'forward'\nscopes = ['all']"), "case[0].scopes[0]: must be"),
        (&CREATE.replace("CreatePrebuild'", "Create'"), "case[0].method: must be the name of a method"),
        (&CREATE.replace("acme/ci", "acme"), "case[0].as: must be ORG/SUBJECT"),
        (
            &format!("{CREATE}expect = 'forward'\nobject.project = 'a'"),
            "case[0].object.project: must be a UUID",
        ),
    ] {
        let error = Cases::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
