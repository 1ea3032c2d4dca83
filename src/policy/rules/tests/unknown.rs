//! What a call does not say is no way around a rule.

use super::*;

const CLASS_RULE: &str = "@id(\"class\") forbid(principal in Org::\"acme\", action, resource is Project) when {
    context has environment_class && context.environment_class == EnvironmentClass::\"22222222-2222-4222-8222-222222222222\" };";

#[test]
fn an_absent_class_fails_a_rule_that_looks_at_it() {
    let create = Asking::of(&rpc::CREATE_PREBUILD);
    let rules = rules(CLASS_RULE);
    assert_eq!(create.refused_by(&rules), ["rules.class"]);
    let absent = create.with(|facts| facts.class = None);
    let [ruling] = rules.judge(&absent.question()).try_into().unwrap();
    assert!(ruling.refuses() && ruling.outcome == Outcome::Failed);
    assert_eq!(ruling.field.as_deref(), Some("environment_class_id"));
    // The rule means another org's callers.
    let other = Asking { identity: identity("globex", "ci"), ..absent.clone() };
    assert!(other.refused_by(&rules).is_empty());
    let any = compiled(
        "@id(\"any\") forbid(principal, action, resource) when { context.hour > 24 };",
        Otherwise::Permit,
    );
    assert!(absent.refused_by(&any).is_empty());
}

#[test]
fn a_rule_that_is_only_looked_at_asks_for_no_class() {
    let absent = Asking::of(&rpc::CREATE_PREBUILD).with(|facts| facts.class = None);
    let shadow = rules(&CLASS_RULE.replace("forbid", "@mode(\"audit\") forbid"));
    assert!(absent.refused_by(&shadow).is_empty());
    assert_eq!(absent.outcomes(&shadow), [("rules.class".to_owned(), Mode::Audit, Outcome::Failed)]);
}

#[test]
fn an_object_that_is_not_known_fails_a_rule_that_looks_at_it() {
    let within = format!(
        "@id(\"in\") forbid(principal, action in Action::\"mutate\", resource in Project::\"{PROJECT}\");"
    );
    let permits = within.replace("forbid", "permit");
    let absent = Asking::of(&rpc::DELETE_PREBUILD).with(|facts| facts.resource = None);
    for text in [&within, &permits] {
        let rules = rules(text);
        assert_eq!(absent.refused_by(&rules), ["rules.in"], "{text}");
        let need = |method| rules.needs_object(&absent.identity, method, Draw::new(0));
        assert_eq!(need(absent.method), Need::Required);
        assert_eq!([&rpc::LIST_PREBUILDS, &rpc::CREATE_PREBUILD].map(need), [Need::Not; 2]);
    }
    for text in [
        "@id(\"by\") forbid(principal == Subject::\"acme/other\", action, resource) when { resource in Org::\"acme\" };",
        "@id(\"by\") forbid(principal, action, resource is WarmPool) when { resource has max_size };",
        "@id(\"by\") forbid(principal == Subject::\"acme/other\", action == Action::\"DeletePrebuild\", resource);",
        "@id(\"by\") @mode(\"off\") forbid(principal, action, resource) when { resource in Org::\"acme\" };",
    ] {
        let rules = rules(text);
        assert!(absent.refused_by(&rules).is_empty(), "{text}");
        assert_eq!(rules.needs_object(&absent.identity, absent.method, Draw::new(0)), Need::Not, "{text}");
    }
    let shadow = rules(&within.replace("forbid", "@mode(\"warn\") forbid"));
    assert!(absent.refused_by(&shadow).is_empty());
    assert_eq!(shadow.needs_object(&absent.identity, absent.method, Draw::new(0)), Need::Wanted);
}

#[test]
fn half_an_object_is_not_known() {
    let sizes = rules(
        "@id(\"sizes\") forbid(principal, action, resource is WarmPool) when { resource has max_size && resource.max_size > 4 };",
    );
    let delete = Asking::of(&rpc::DELETE_WARM_POOL);
    assert!(delete.refused_by(&sizes).is_empty());
    let bare = delete.with(|facts| facts.resource.as_mut().unwrap().sizes = Sizes::default());
    assert_eq!(bare.refused_by(&sizes), ["rules.sizes"]);
    let class = rules(&format!(
        "@id(\"class\") forbid(principal, action, resource is Prebuild) when {{
           resource has environment_class && resource.environment_class != EnvironmentClass::\"{CLASS}\" }};"
    ));
    let delete = Asking::of(&rpc::DELETE_PREBUILD);
    assert!(delete.refused_by(&class).is_empty());
    let bare = delete.with(|facts| facts.resource.as_mut().unwrap().class.clear());
    assert_eq!(bare.refused_by(&class), ["rules.class"]);
}

#[test]
fn sizes_are_needed_by_whatever_method_a_rule_is_about() {
    let need = |text: &str, method| {
        let rules = rules(&format!("@id(\"it\") {text}"));
        rules.needs_sizes(&identity("acme", "ci"), method, Draw::new(0))
    };
    let all = [&rpc::GET_WARM_POOL, &rpc::DELETE_WARM_POOL, &rpc::UPDATE_WARM_POOL];
    let sized = "forbid(principal, action, resource is WarmPool) when { resource has max_size && resource.max_size > 4 };";
    for method in all {
        assert_eq!(need(sized, method), Need::Required, "{}", method.name);
        assert_eq!(need(&format!("@mode(\"warn\") {sized}"), method), Need::Wanted, "{}", method.name);
        let classed =
            "forbid(principal, action, resource is WarmPool) when { resource has environment_class };";
        assert_eq!(need(classed, method), Need::Not, "{}", method.name);
        let other = sized.replace("principal,", "principal in Org::\"globex\",");
        assert_eq!(need(&other, method), Need::Not, "{}", method.name);
    }
    for method in [&rpc::GET_PREBUILD, &rpc::LIST_WARM_POOLS, &rpc::CREATE_WARM_POOL] {
        assert_eq!(need(sized, method), Need::Not, "{}", method.name);
    }
}

#[test]
fn a_list_without_a_filter_is_no_way_around_a_rule_on_it() {
    let list = Asking::of(&rpc::LIST_PREBUILDS);
    let mine = list.clone().with(|facts| facts.filter.projects.push(PROJECT.to_owned()));
    let both = mine.clone().with(|facts| facts.filter.projects.push(OBJECT.to_owned()));
    let text = format!(
        "@id(\"mine\") forbid(principal == Subject::\"acme/ci\", action == Action::\"ListPrebuilds\", resource)
         unless {{ [Project::\"{PROJECT}\"].containsAll(context.filter_projects) }};"
    );
    let rules_of = rules(&text);
    assert!(mine.refused_by(&rules_of).is_empty());
    assert_eq!(both.refused_by(&rules_of), ["rules.mine"]);
    let [ruling] = rules_of.judge(&list.question()).try_into().unwrap();
    assert!(ruling.refuses() && ruling.outcome == Outcome::Failed);
    assert_eq!(ruling.field.as_deref(), Some("filter.project_ids"));
    assert!(ruling.bound.unwrap().contains("name the projects"));
    // Not theirs, and not in force.
    assert!(list.clone().by("other").refused_by(&rules_of).is_empty());
    assert!(list.refused_by(&rules(&text.replace("forbid", "@mode(\"audit\") forbid"))).is_empty());
    let every = [
        ("ListPrebuilds", "filter_projects", format!("Project::\"{PROJECT}\"")),
        ("ListWarmPools", "filter_projects", format!("Project::\"{PROJECT}\"")),
        ("ListWarmPools", "filter_environment_classes", format!("EnvironmentClass::\"{CLASS}\"")),
        ("ListPrebuilds", "filter_creators", "\"c\"".to_owned()),
        ("ListPrebuilds", "filter_executors", "\"c\"".to_owned()),
        ("ListPrebuilds", "filter_phases", "\"PREBUILD_PHASE_RUNNING\"".to_owned()),
        ("ListPrebuilds", "filter_triggers", "\"PREBUILD_TRIGGER_MANUAL\"".to_owned()),
    ];
    for (method, name, value) in every {
        let text = format!(
            "@id(\"it\") forbid(principal, action == Action::\"{method}\", resource) when {{ context.{name}.contains({value}) }};"
        );
        let asking = Asking::of(rpc::methods().find(|row| row.name == method).unwrap());
        assert_eq!(asking.refused_by(&rules(&text)), ["rules.it"], "{method} {name}");
    }
}

#[test]
fn a_size_that_is_left_out_is_no_way_around_a_rule_on_it() {
    let rules = rules(
        "@id(\"max\") forbid(principal, action in Action::\"expensive\", resource) when { context has max_size && context.max_size > 5 };
         @id(\"min\") forbid(principal, action in Action::\"expensive\", resource) when { context has min_size && context.min_size < 1 };",
    );
    let sizes = |desired, min, max| Sizes { desired, min, max };
    for (given, expected) in [
        (sizes(None, Some(1), Some(5)), vec![]),
        (sizes(Some(20), None, None), vec!["rules.max"]),
        (sizes(Some(3), None, None), vec![]),
        (sizes(None, Some(1), None), vec!["rules.max"]),
        (sizes(None, None, Some(5)), vec!["rules.min"]),
        (sizes(None, None, None), vec!["rules.max", "rules.min"]),
    ] {
        let asking = Asking::of(&rpc::CREATE_WARM_POOL).with(|facts| {
            facts.sizes = given;
            (facts.pool, facts.resource) = (None, None);
        });
        assert_eq!(asking.refused_by(&rules), expected, "{given:?}");
    }
    // What an update leaves out is what the pool has: 1 and 4.
    let update = Asking::of(&rpc::UPDATE_WARM_POOL);
    assert!(update.refused_by(&rules).is_empty());
    assert_eq!(update.with(|facts| facts.sizes.max = Some(6)).refused_by(&rules), ["rules.max"]);
}

#[test]
fn what_a_pool_may_grow_to_needs_the_pool() {
    let rules = rules(
        "@id(\"large\") forbid(principal, action in Action::\"expensive\", resource is WarmPool) when { context.largest_size > 5 };",
    );
    let update = Asking::of(&rpc::UPDATE_WARM_POOL).with(|facts| facts.sizes.desired = Some(2));
    assert_eq!(rules.needs_object(&update.identity, update.method, Draw::new(0)), Need::Required);
    assert!(update.refused_by(&rules).is_empty());
    let absent = update.with(|facts| facts.resource = None);
    assert_eq!(absent.refused_by(&rules), ["rules.large"]);
}

#[test]
fn an_address_that_is_not_known_fails_a_rule_that_looks_at_it() {
    let rules = rules(
        "@id(\"net\") forbid(principal, action in Action::\"secret\", resource) when {
           context has client_address && !context.client_address.isInRange(ip(\"10.0.0.0/8\")) };",
    );
    let token = Asking::of(&rpc::CREATE_PREBUILD_LOGS_TOKEN);
    assert!(token.refused_by(&rules).is_empty());
    assert_eq!(Asking { peer: None, ..token }.refused_by(&rules), ["rules.net"]);
}
