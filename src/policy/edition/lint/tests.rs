//! One policy for each thing that can hardly be meant, and policies that can.

use super::*;
use crate::{call::Scope, rpc::Class};

mod rules;

const EXAMPLE: &str = include_str!("../../../../deploy/policy/policy.example.toml");
const STARTER: &str = include_str!("../../../../deploy/policy/starter.toml");
const OWN: &str = "0198c0de-0000-7000-8000-0000000000a1";
const STRANGE: &str = "0198c0de-0000-7000-8000-0000000000b9";

fn caller(org: &str, subject: Option<&str>, classes: &[Class]) -> Caller {
    let scopes: Vec<_> = classes.iter().copied().map(Scope::Class).collect();
    Caller { org: org.into(), subject: subject.map(SubjectId::from), scopes: Scopes::new(&scopes) }
}

/// Policies, and what is found in each.
const SHADOWED: &[(&str, &str)] = &[
    (
        "limits.max_page_size = 50\norgs.acme.limits.max_page_size = 50",
        "orgs.acme.limits.max_page_size: says what limits.max_page_size says, and makes no difference",
    ),
    (
        "limits.max_timeout = '1h'\norgs.acme.limits.max_timeout = { value = '90m', mode = 'audit' }",
        "orgs.acme.limits.max_timeout: is never broken by itself: limits.max_timeout is in force and not wider",
    ),
    ("limits.max_pool_size = 20", "limits.max_pool_size: is the API's own bound, and makes no difference"),
    (
        "limits.projects = { allow = 'any' }",
        "limits.projects: is the API's own bound, and makes no difference",
    ),
    (
        "limits.methods = { allow = ['read', 'mutate'] }\n\
             orgs.acme.limits.methods = { deny = ['CreatePrebuildLogsToken'], mode = 'warn' }",
        "orgs.acme.limits.methods: is never broken by itself: limits.methods is in force and not wider",
    ),
    (
        "limits.max_timeout = { value = '1h', candidate = '60m' }",
        "limits.max_timeout.candidate: is the value itself: it tells nothing",
    ),
    (
        "limits.in_flight = { value = 200, mode = 'audit' }",
        "limits.in_flight: is never broken by itself: the built-in one is in force and not wider",
    ),
    (
        "rates.org.read = { per_minute = 3000, burst = 100 }",
        "rates.org.read: never counts: the built-in one is not wider",
    ),
    (
        "rates.org.all = { per_second = 5, burst = 5 }\nrates.subject.all = { per_second = 10, burst = 10 }",
        "rates.subject.all: never counts: rates.org.all is not wider",
    ),
    (
        "budgets.org.running_prebuilds = 5\nbudgets.project.running_prebuilds = 9",
        "budgets.project.running_prebuilds: never counts: budgets.org.running_prebuilds is not wider",
    ),
    (
        "budgets.org.creates = { count = 5, window = '2h' }\n\
             budgets.project.creates = { count = 5, window = '1h' }",
        "budgets.project.creates: never counts: budgets.org.creates is not wider",
    ),
];

const CONTRADICTORY: &[(&str, &str)] = &[
    (
        "limits.max_pool_size = 5\norgs.acme.limits.min_pool_size = { value = 6, mode = 'audit' }",
        "orgs.acme.limits.min_pool_size: cannot be kept together with limits.max_pool_size (5)",
    ),
    (
        "limits.min_pool_size = { value = 6, mode = 'audit' }\norgs.acme.limits.max_pool_size = 5",
        "orgs.acme.limits.max_pool_size: cannot be kept together with limits.min_pool_size (6)",
    ),
    (
        "orgs.acme.limits.methods = { allow = ['read', 'secret'] }",
        "orgs.acme.limits.methods.allow[1]: allows `secret`, which no credential's scopes cover",
    ),
    (
        "orgs.acme.subjects.janitor.limits.methods = { allow = ['CreatePrebuild', 'read'] }",
        "orgs.acme.subjects.janitor.limits.methods.allow[0]: allows `CreatePrebuild`, which no credential's \
             scopes cover",
    ),
];

const UNREACHABLE: &[(&str, &str)] = &[
    (
        "orgs.globex.limits.max_timeout = '1h'",
        "orgs.globex: is for nobody: no credential of the config is this org's",
    ),
    (
        "orgs.acme.subjects.ada.limits.max_timeout = '1h'",
        "orgs.acme.subjects.ada: is for nobody: no credential of the config is this subject's",
    ),
    (
        "limits.methods = { allow = ['read'] }\nlimits.max_timeout = '1h'",
        "limits.max_timeout: is about no call: limits.methods allows none that it could be about",
    ),
    (
        "limits.methods = { allow = ['read'] }\nrates.org.expensive = { per_minute = 1, burst = 1 }",
        "rates.org.expensive: is about no call: limits.methods allows none that counts in it",
    ),
    (
        "limits.methods = { deny = ['DeletePrebuild'] }\ncosts.DeletePrebuild = 2",
        "costs.DeletePrebuild: is about no call: limits.methods denies it",
    ),
    (
        "limits.max_timeout = { value = '1h', mode = 'off', share = 0.5 }",
        "limits.max_timeout.share: is of no use with mode = \"off\"",
    ),
];

const TOO_TIGHT: &[(&str, &str)] = &[
    (
        "limits.max_timeout = '4m'",
        "limits.max_timeout: leaves no timeout: validation.stricter = \"enforce\" asks for at least 5m",
    ),
    (
        "limits.default_timeout = '4m'",
        "limits.default_timeout: is never good: validation.stricter = \"enforce\" asks for at least 5m",
    ),
    (
        "limits.max_pool_size = 0",
        "limits.max_pool_size: leaves no size: validation.stricter = \"enforce\" asks for at least 1",
    ),
];

/// acme's ci, which may not fetch tokens, and its janitor; nobody of globex's.
fn known() -> Known {
    let callers = vec![
        caller("acme", Some("ci"), &[Class::Read, Class::Mutate]),
        caller("acme", Some("janitor"), &[Class::Read]),
    ];
    Known { stricter: Stricter::Enforce, callers, replicas: None, holdings: None }
}

fn found(policy: &str, known: &Known) -> Vec<String> {
    let ground = Ground { orgs: vec!["acme".into(), "globex".into()], in_flight: 400, ..Ground::default() };
    let texts = Texts { policy: policy.to_owned(), rules: Vec::new() };
    lints(&texts, &ground, known).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn each_is_found_at_its_key() {
    for (policy, expected) in [SHADOWED, CONTRADICTORY, UNREACHABLE, TOO_TIGHT].concat() {
        assert_eq!(found(policy, &known()), [expected], "{policy}");
    }
}

#[test]
fn bursts_that_have_no_part_for_each_replica_are_found() {
    let policy = "rates.org.all = { per_second = 20, burst = 20 }\n\
                  rates.org.expensive = { per_minute = 5, burst = 9 }\ncosts.CreatePrebuild = 5";
    let of = |replicas| found(policy, &Known { replicas: NonZeroU32::new(replicas), ..known() });
    let problem = |rate: &str, part| {
        format!(
            "rates.org.{rate}: a replica's part of the burst is {part}, and a call costs 5: replicas that are without \
             limits.redis let one such call each pass at once"
        )
    };
    assert_eq!((of(0), of(1)), (vec![], vec![]));
    assert_eq!(of(2), [problem("expensive", 4)]);
    assert_eq!(of(10), [problem("expensive", 0), problem("all", 2)]);
    let tiny = "rates.org.mutate = { per_second = 2, burst = 3 }";
    let found = found(tiny, &Known { replicas: NonZeroU32::new(4), ..known() });
    assert!(found.len() == 1 && found[0].contains("is 0, and a call costs 1:"), "{found:?}");
}

#[test]
fn ids_that_no_org_holds_are_found() {
    let held = Held {
        projects: BTreeSet::from([OWN.parse().unwrap()]),
        classes: BTreeSet::from([OWN.parse().unwrap()]),
    };
    let holdings = BTreeMap::from([("acme".into(), held), ("globex".into(), Held::default())]);
    let known = Known { holdings: Some(holdings), ..known() };
    for (policy, expected) in [
        (
            format!("limits.projects = {{ allow = ['{OWN}', '{STRANGE}'] }}"),
            format!("limits.projects.allow: names the project {STRANGE}, which is none of any org"),
        ),
        (
            format!("orgs.acme.limits.environment_classes = {{ deny = ['{STRANGE}'] }}"),
            format!(
                "orgs.acme.limits.environment_classes.deny: names the environment class {STRANGE}, which is none \
                 of the org acme"
            ),
        ),
        (
            format!("limits.default_environment_classes = {{ '{OWN}' = '{STRANGE}' }}"),
            format!(
                "limits.default_environment_classes.{OWN}: names the environment class {STRANGE}, which is none of \
                 any org"
            ),
        ),
    ] {
        assert_eq!(found(&policy, &known), [expected], "{policy}");
    }
}

/// Each is close to something that is found.
#[test]
fn what_can_be_meant_is_not_found() {
    for policy in [
        "",
        "limits.max_timeout = '1h'\norgs.acme.limits.max_timeout = '2h'",
        "limits.max_timeout = '1h'\norgs.acme.limits.max_timeout = { value = '30m', mode = 'audit' }",
        // It ends what is looked at for acme.
        "limits.max_timeout = { value = '1h', mode = 'audit' }\norgs.acme.limits.max_timeout = '2h'",
        "limits.max_timeout = { value = '2h', mode = 'off' }",
        "rates.org.all = { per_second = 50, burst = 100 }",
        "limits.methods = { allow = ['read'] }\nlimits.max_timeout = '1h'\n\
         orgs.acme.limits.methods = { allow = 'any' }",
        "limits.methods = { allow = ['read'] }\norgs.acme.limits.max_timeout = '1h'\n\
         orgs.acme.limits.methods = { allow = 'any', share = 0.5 }",
        "rates.subject.expensive = { per_hour = 60, burst = 5 }",
        "budgets.org.creates = { count = 5, window = '1h' }\n\
         budgets.project.creates = { count = 5, window = '2h' }",
        "orgs.acme.limits.methods = { allow = ['read', 'mutate'] }",
    ] {
        assert_eq!(found(policy, &known()), Vec::<String>::new(), "{policy}");
    }
}

#[test]
fn whoever_an_issuer_names_may_be_anybody() {
    let known = Known { callers: vec![caller("acme", None, &Class::ALL)], ..known() };
    assert_eq!(found("orgs.acme.subjects.ada.limits.max_timeout = '1h'", &known), Vec::<String>::new());
}

#[test]
fn the_examples_have_none() {
    let callers = ["ci", "ci@example.com"].map(|subject| caller("acme", Some(subject), &Class::ALL));
    let known =
        Known { stricter: Stricter::Enforce, callers: callers.into(), replicas: None, holdings: None };
    for policy in [EXAMPLE, STARTER] {
        assert_eq!(found(policy, &known), Vec::<String>::new());
    }
}
