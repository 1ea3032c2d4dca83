//! Rules in Cedar that can hardly be meant, one of each kind, and rules that can.

use super::*;

const EXAMPLE: &str = include_str!("../../../../../deploy/policy/rules.example.cedar");

/// One rule, `one`.
fn rule(annotations: &str, effect: &str, head: &str, rest: &str) -> String {
    format!("@id(\"one\") {annotations} {effect}({head}) {rest};\n")
}

fn forbid(head: &str, rest: &str) -> String {
    rule("", "forbid", head, rest)
}

fn within(policy: &str, rules: &str, known: &Known) -> Vec<String> {
    let ground = Ground { orgs: vec!["acme".into(), "globex".into()], in_flight: 400, ..Ground::default() };
    let policy = format!("rules.files = ['a.cedar']\n{policy}");
    let texts = Texts { policy, rules: vec![("a.cedar".to_owned(), rules.to_owned())] };
    lints(&texts, &ground, known).unwrap().iter().map(ToString::to_string).collect()
}

const ANY: &str = "principal, action, resource";
const CREATE: &str = "principal, action == Action::\"CreatePrebuild\", resource";
const POOLS: &str = "principal, action in [Action::\"CreateWarmPool\", Action::\"UpdateWarmPool\"], resource";

/// Of a rule `one` that is alone: its policy, and what is said.
fn about_no_call() -> Vec<(&'static str, String, &'static str)> {
    let by = |principal: &str| format!("principal == Subject::\"{principal}\", action, resource");
    vec![
        (
            "",
            rule("@mode(\"off\") @share(\"0.5\")", "forbid", ANY, ""),
            "`@share` is of no use with mode \"off\"",
        ),
        ("", forbid(&by("acme/ada"), ""), "is for nobody: no credential of the config is this subject's"),
        (
            "",
            forbid("principal in Org::\"globex\", action, resource", ""),
            "is for nobody: no credential of the config is this org's",
        ),
        (
            "",
            forbid("principal in Org::\"acme\", action, resource == Org::\"globex\"", ""),
            "is about no call: none of its callers is of Org::\"globex\"",
        ),
        (
            "limits.methods = { deny = ['CreatePrebuild'] }",
            forbid(CREATE, ""),
            "is about no call: limits.methods allows none of its methods",
        ),
        (
            "orgs.acme.subjects.ci.limits.methods = { allow = ['read'] }",
            forbid("principal == Subject::\"acme/ci\", action in Action::\"mutate\", resource", ""),
            "is about no call: limits.methods allows none of its methods",
        ),
        (
            "",
            forbid("principal == Subject::\"acme/janitor\", action in Action::\"mutate\", resource", ""),
            "is about no call: no credential's scopes cover any of its methods",
        ),
        (
            "orgs.acme.subjects.ci.limits.methods = { deny = ['mutate'] }",
            forbid("principal, action in Action::\"mutate\", resource", ""),
            "is about no call: limits.methods and the scopes of credentials leave none of its methods",
        ),
        (
            "",
            forbid(ANY, "unless { principal == Subject::\"acme/jantor\" }"),
            "names Subject::\"acme/jantor\", and no credential of the config is this subject's",
        ),
        ("", rule("", "permit", ANY, ""), "permits only what passes anyway: rules.default is \"permit\""),
    ]
}

/// The same of comparisons.
fn always_the_same() -> Vec<(&'static str, String, &'static str)> {
    vec![
        (
            "",
            forbid(CREATE, "when { context.timeout_seconds > 7200 }"),
            "`context.timeout_seconds > 7200` is never true: it is from 300 to 7200",
        ),
        (
            "",
            forbid(CREATE, "unless { context.timeout_given && context.timeout_seconds >= 300 }"),
            "`context.timeout_seconds >= 300` is always true: it is from 300 to 7200",
        ),
        (
            "",
            forbid(POOLS, "when { 20 < context.max_size || context.min_size == 3 }"),
            "`context.max_size > 20` is never true: it is from 0 to 20",
        ),
        (
            "",
            forbid(POOLS, "when { context has desired_size && context.desired_size != -1 }"),
            "`context.desired_size != -1` is always true: it is from 1 to 20",
        ),
        (
            "",
            forbid(POOLS, "when { context.min_size > context.max_size }"),
            "`context.min_size > context.max_size` is never true of a valid call",
        ),
        (
            "",
            forbid(CREATE, "when { context.hour >= 22 && context.timeout_given && context.hour < 6 }"),
            "`context.hour >= 22 && context.hour < 6` is never true",
        ),
        (
            "",
            forbid(CREATE, "unless { context.hour < 22 || context.hour >= 6 }"),
            "`context.hour < 22 || context.hour >= 6` is always true",
        ),
        (
            "",
            forbid(
                CREATE,
                "when { context.hour >= 22 } unless { !(context.hour < 6) || context.timeout_given }",
            ),
            "never matches: not `context.hour >= 22 && context.hour < 6`",
        ),
    ]
}

#[test]
fn each_rule_is_found_where_it_stands() {
    for (policy, rules, expected) in [about_no_call(), always_the_same()].concat() {
        let expected = format!("a.cedar:1: rule `one`: {expected}");
        assert_eq!(within(policy, &rules, &known()), [expected], "{policy}\n{rules}");
    }
}

/// Two rules, of which the second begins the second line.
fn pair(one: &str, two: &str) -> String {
    format!("@id(\"one\") {one};\n@id(\"two\") {two};\n")
}

#[test]
fn rules_that_make_no_difference_beside_another_are_found() {
    let (all, create) = (format!("forbid({ANY})"), format!("forbid({CREATE})"));
    let short = format!("{create} when {{ context.timeout_seconds > 600 }}");
    let both = format!("{short} when {{ context.timeout_given }}");
    let (acme, ci) = (
        "principal in Org::\"acme\", action, resource",
        "principal == Subject::\"acme/ci\", action, resource",
    );
    let (org, subject) = (format!("forbid({acme})"), format!("forbid({ci})"));
    let part = "is never broken by itself: it is a part of rule `two` (a.cedar:2)";
    for (one, two) in [
        (&short, &all),
        (&short, &create),
        (&subject, &org),
        (&both, &short),
        (&format!("@mode(\"warn\") {short}"), &short),
        (&format!("@share(\"0.5\") {subject}"), &org),
    ] {
        let expected = format!("a.cedar:1: rule `one`: {part}");
        assert_eq!(within("", &pair(one, two), &known()), [expected], "{one} {two}");
    }
    let expected = "a.cedar:2: rule `two`: makes no difference: it is a copy of rule `one` (a.cedar:1)";
    assert_eq!(within("", &pair(&short, &short), &known()), [expected]);
    let permit = format!("@mode(\"audit\") permit({ci})");
    let expected = "a.cedar:1: rule `one`: never permits a call: it is a part of rule `two` (a.cedar:2)";
    assert_eq!(within("", &pair(&permit, &org), &known()), [expected]);
    let rules = pair(&format!("permit({ci})"), &format!("permit({ANY})"));
    let expected = "a.cedar:1: rule `one`: permits nothing by itself: it is a part of rule `two` (a.cedar:2)";
    assert_eq!(within("rules.default = 'forbid'", &rules, &known()), [expected]);
}

#[test]
fn rules_that_leave_each_other_their_say_are_not_found() {
    let (all, create) = (format!("forbid({ANY})"), format!("forbid({CREATE})"));
    let short = format!("{create} when {{ context.timeout_seconds > 600 }}");
    let other = "forbid(principal, action == Action::\"GetPrebuild\", resource)".to_owned();
    // Where the class is not named it fails, and so refuses.
    let class = "context has environment_class && context.environment_class == EnvironmentClass";
    let fails = format!("{short} when {{ {class}::\"{OWN}\" }}");
    let given = format!("{create} when {{ context.timeout_given }} when {{ context.timeout_seconds > 600 }}");
    let permits = format!("permit({ANY})");
    for (policy, one, two) in [
        ("", &other, &create),
        ("", &short, &format!("@share(\"0.5\") {all}")),
        ("", &fails, &short),
        ("", &given, &short),
        ("rules.default = 'forbid'", &format!("@mode(\"audit\") permit({CREATE})"), &permits),
        ("rules.default = 'forbid'", &permits, &create),
    ] {
        assert_eq!(within(policy, &pair(one, two), &known()), Vec::<String>::new(), "{policy} {one} {two}");
    }
}

#[test]
fn a_policy_that_permits_nothing_is_found() {
    let expected = "rules.default: refuses every call: no rule in force permits any";
    for rules in ["", "@id(\"one\") @mode(\"audit\") permit(principal, action, resource);"] {
        assert_eq!(within("rules.default = 'forbid'", rules, &known()), [expected], "{rules}");
    }
}

#[test]
fn what_no_org_holds_is_found_in_rules() {
    let held = Held { projects: BTreeSet::from([OWN.parse().unwrap()]), ..Held::default() };
    let other = Held { projects: BTreeSet::from([STRANGE.parse().unwrap()]), ..Held::default() };
    let holdings = BTreeMap::from([("acme".into(), held), ("globex".into(), other)]);
    let known = Known { holdings: Some(holdings), ..known() };
    let project = |principal: &str, id: &str| {
        forbid(
            &format!("{principal}, action == Action::\"CreatePrebuild\", resource == Project::\"{id}\""),
            "",
        )
    };
    let acme = "principal in Org::\"acme\"";
    let class = forbid(
        CREATE,
        &format!(
            "when {{ context has environment_class && context.environment_class == EnvironmentClass::\"{OWN}\" }}"
        ),
    );
    let none = "0198c0de-0000-7000-8000-0000000000ff";
    for (rules, expected) in [
        (project("principal", none), format!("names the project {none}, which is none of any org")),
        (project(acme, STRANGE), format!("names the project {STRANGE}, which is none of the org acme")),
        (class, format!("names the environment class {OWN}, which is none of any org")),
    ] {
        assert_eq!(within("", &rules, &known), [format!("a.cedar:1: rule `one`: {expected}")], "{rules}");
    }
    for rules in [project("principal", STRANGE), project(acme, OWN)] {
        assert_eq!(within("", &rules, &known), Vec::<String>::new(), "{rules}");
    }
}

/// Each is close to something that is found.
#[test]
fn rules_that_can_be_meant_are_not_found() {
    let some = "principal, action in [Action::\"CreatePrebuild\", Action::\"GetPrebuild\"], resource";
    let reads = "limits.methods = { allow = ['read'] }\norgs.acme";
    for (policy, rules) in [
        ("", rule("@mode(\"off\")", "forbid", "principal == Subject::\"acme/ada\", action, resource", "")),
        ("limits.methods = { deny = ['CreatePrebuild'] }", forbid(some, "")),
        (&format!("{reads}.subjects.ci.limits.methods = {{ allow = 'any' }}"), forbid(CREATE, "")),
        (&format!("{reads}.limits.methods = {{ allow = ['mutate'], share = 0.5 }}"), forbid(CREATE, "")),
        ("limits.methods = { allow = ['read'], mode = 'warn' }", forbid(CREATE, "")),
        ("", forbid(CREATE, "when { context.timeout_seconds > 7199 || context.timeout_seconds == 300 }")),
        ("", forbid(CREATE, "when { context.hour < 6 || context.hour >= 22 }")),
        ("", forbid(CREATE, "unless { context.hour >= 6 && context.hour < 22 }")),
        ("", forbid(POOLS, "when { context.max_size > context.min_size }")),
        // Upstream's own, which nobody here vouches for.
        (
            "",
            forbid(
                "principal, action, resource is WarmPool",
                "when { resource has max_size && resource.max_size > 20 }",
            ),
        ),
    ] {
        assert_eq!(within(policy, &rules, &known()), Vec::<String>::new(), "{policy}\n{rules}");
    }
}

#[test]
fn the_example_has_none() {
    let callers = ["ci", "janitor"].map(|subject| caller("acme", Some(subject), &Class::ALL));
    let known = Known { callers: callers.into(), ..known() };
    assert_eq!(within("", EXAMPLE, &known), Vec::<String>::new());
}
