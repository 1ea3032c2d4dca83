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
    let within = format!("@id(\"in\") forbid(principal, action, resource in Project::\"{PROJECT}\");");
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
