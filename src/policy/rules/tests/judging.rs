//! What rules say of calls.

use super::*;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Refused by the one rule of a text.
fn refuses(text: &str, asking: &Asking) -> bool {
    match asking.refused_by(&rules(&format!("@id(\"it\") {text}"))).as_slice() {
        [] => false,
        [rule] => rule == "rules.it",
        more => panic!("{more:?}"),
    }
}

/// In a `when` of a rule on `method`.
fn holds(method: &'static MethodSpec, condition: &str, asking: &Asking) -> bool {
    refuses(
        &format!(
            "forbid(principal, action == Action::\"{}\", resource) when {{ {condition} }};",
            method.name
        ),
        asking,
    )
}

#[test]
fn all_satisfied_forbids_are_told_and_so_are_permits() {
    let text = "
        @id(\"a\") forbid(principal, action, resource);
        @id(\"b\") forbid(principal, action in Action::\"mutate\", resource);
        @id(\"c\") forbid(principal, action in Action::\"read\", resource);
        @id(\"d\") permit(principal, action, resource);
        @id(\"e\") permit(principal, action in Action::\"expensive\", resource);
        @id(\"f\") permit(principal == Subject::\"acme/other\", action, resource);";
    let told = Asking::of(&rpc::CREATE_PREBUILD).outcomes(&rules(text));
    let expected = [
        ("rules.a", Outcome::Broken),
        ("rules.b", Outcome::Broken),
        ("rules.d", Outcome::Kept),
        ("rules.e", Outcome::Kept),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(rule, outcome)| ((*rule).to_owned(), Mode::Enforce, *outcome)).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_forbid_beats_every_permit() {
    let text = "@id(\"p\") permit(principal, action, resource);
                @id(\"f\") forbid(principal, action == Action::\"DeletePrebuild\", resource);";
    for otherwise in [Otherwise::Permit, Otherwise::Forbid] {
        let rules = compiled(text, otherwise);
        assert_eq!(Asking::of(&rpc::DELETE_PREBUILD).refused_by(&rules), ["rules.f"]);
        assert!(Asking::of(&rpc::GET_PREBUILD).refused_by(&rules).is_empty());
    }
}

#[test]
fn what_no_rule_speaks_of_is_as_the_default_says() {
    for method in rpc::methods() {
        let asking = Asking::of(method);
        assert!(asking.refused_by(&compiled("", Otherwise::Permit)).is_empty());
        assert_eq!(asking.refused_by(&compiled("", Otherwise::Forbid)), ["rules.default"]);
        let text = format!("@id(\"p\") permit(principal, action == Action::\"{}\", resource);", method.name);
        let rules = compiled(&text, Otherwise::Forbid);
        assert!(asking.refused_by(&rules).is_empty());
        let others = rpc::methods().filter(|other| other.name != method.name);
        others.for_each(|other| assert_eq!(Asking::of(other).refused_by(&rules), ["rules.default"]));
    }
}

#[test]
fn a_rule_tells_what_the_operator_wrote() {
    let text = "@id(\"it\") @message(\"Not here.\") @link(\"https://wiki.example/it\")
                forbid(principal, action, resource);";
    let asking = Asking::of(&rpc::LIST_PREBUILDS);
    let [ruling] = rules(text).judge(&asking.question()).try_into().unwrap();
    assert_eq!(ruling.message.as_deref(), Some("Not here."));
    assert_eq!(ruling.link.as_deref(), Some("https://wiki.example/it"));
    assert_eq!((ruling.field, ruling.bound), (None, None));
}

/// Whoever may see what became of a rule learns nothing of who else it is about.
#[test]
fn a_rule_about_others_is_not_told() {
    let asking = Asking::of(&rpc::CREATE_PREBUILD);
    for text in [
        "forbid(principal in Org::\"globex\", action, resource);",
        "forbid(principal == Subject::\"acme/other\", action, resource);",
        "forbid(principal, action, resource in Org::\"globex\");",
        "forbid(principal, action, resource) when { principal.org == Org::\"globex\" };",
        "forbid(principal, action, resource) when { principal == Subject::\"acme/other\" };",
        "permit(principal, action, resource) unless { principal.org == Org::\"globex\" };",
    ] {
        let told = asking.outcomes(&rules(&format!("@id(\"it\") {text}")));
        assert!(told.is_empty(), "{text} {told:?}");
    }
    // It still permits.
    let text = "@id(\"it\") permit(principal, action, resource) unless { principal.org == Org::\"globex\" };";
    assert!(asking.refused_by(&compiled(text, Otherwise::Forbid)).is_empty());
    for (text, outcome) in [
        ("forbid(principal in Org::\"acme\", action, resource) when { context.hour > 23 };", Outcome::Kept),
        ("forbid(principal, action, resource) unless { principal.org == Org::\"globex\" };", Outcome::Broken),
        ("forbid(principal, action, resource) when { context.hour > 23 };", Outcome::Kept),
    ] {
        let told = asking.outcomes(&rules(&format!("@id(\"it\") {text}")));
        assert_eq!(told, [("rules.it".to_owned(), Mode::Enforce, outcome)], "{text}");
    }
}

#[test]
fn actions_are_in_the_groups_of_their_class() {
    for method in rpc::methods() {
        for class in Class::ALL {
            let text = format!("forbid(principal, action in Action::\"{}\", resource);", class.as_str());
            assert_eq!(refuses(&text, &Asking::of(method)), class == method.class, "{}", method.name);
        }
        let is_expensive = ["CreatePrebuild", "CreateWarmPool", "UpdateWarmPool"].contains(&method.name);
        let text = "forbid(principal, action in Action::\"expensive\", resource);";
        assert_eq!(refuses(text, &Asking::of(method)), is_expensive, "{}", method.name);
    }
}

#[test]
fn callers_are_known_by_org_subject_and_scopes() {
    let list = &rpc::LIST_PREBUILDS;
    let asking = Asking::of(list);
    for (condition, expected) in [
        ("principal == Subject::\"acme/ci\"", true),
        ("principal == Subject::\"globex/ci\"", false),
        ("principal in Org::\"acme\"", true),
        ("principal in Org::\"globex\"", false),
        ("principal.org == Org::\"acme\" && principal.id == \"ci\"", true),
        ("principal.id like \"c*\"", true),
        ("principal.scopes.contains(\"secret\")", true),
        ("principal.scopes.contains(\"ListPrebuilds\")", false),
        ("resource == Org::\"acme\"", true),
        ("context.protocol == \"connect\"", true),
    ] {
        assert_eq!(holds(list, condition, &asking), expected, "{condition}");
    }
    let mut narrow = asking;
    narrow.identity.scopes = Scopes::new(&[Scope::Class(Class::Read)]);
    assert!(holds(
        list,
        "!principal.scopes.contains(\"secret\") && principal.scopes.contains(\"read\")",
        &narrow
    ));
}

#[test]
fn time_is_utc_and_turns_at_midnight() {
    let list = &rpc::LIST_PREBUILDS;
    let midnight = NOON - 12 * HOUR;
    for (at, weekday, hour) in [
        (NOON, "wednesday", 12),
        (midnight, "wednesday", 0),
        (midnight - 1, "tuesday", 23),
        (midnight + 3 * DAY - 1, "friday", 23),
        (midnight + 3 * DAY, "saturday", 0),
        (midnight + 4 * DAY + HOUR, "sunday", 1),
        (midnight + 5 * DAY, "monday", 0),
        (0, "thursday", 0),
    ] {
        let condition = format!("context.weekday == \"{weekday}\" && context.hour == {hour}");
        assert!(holds(list, &condition, &Asking::of(list).at(at)), "{condition}");
    }
    let condition = "context.time == datetime(\"2024-01-03T12:00:00Z\")";
    assert!(holds(list, condition, &Asking::of(list)));
    assert!(!holds(list, condition, &Asking::of(list).at(NOON + 1)));
}

#[test]
fn a_clock_gone_wild_is_still_a_time() {
    let list = &rpc::LIST_PREBUILDS;
    let before = Asking { now: SystemTime::UNIX_EPOCH - Duration::from_secs(1), ..Asking::of(list) };
    assert!(holds(list, "context.time == datetime(\"1970-01-01\")", &before));
    let after = Asking::of(list).at(400_000_000_000);
    assert!(holds(list, "context.time > datetime(\"9999-12-31\") && context.hour == 23", &after));
}

#[test]
fn addresses_are_in_ranges_of_their_kind() {
    let list = &rpc::LIST_PREBUILDS;
    for (peer, range, expected) in [
        ("10.1.2.3", "10.0.0.0/8", true),
        ("11.0.0.0", "10.0.0.0/8", false),
        ("10.255.255.255", "10.0.0.0/8", true),
        ("::ffff:10.1.2.3", "10.0.0.0/8", true),
        ("2001:db8::1", "2001:db8::/32", true),
        ("2001:db9::1", "2001:db8::/32", false),
        ("2001:db8::1", "10.0.0.0/8", false),
        ("10.1.2.3", "::/0", false),
        ("::1", "::1", true),
    ] {
        let condition =
            format!("context has client_address && context.client_address.isInRange(ip(\"{range}\"))");
        assert_eq!(holds(list, &condition, &Asking::of(list).from(peer)), expected, "{peer} in {range}");
    }
}

#[test]
fn objects_are_judged_by_what_they_are() {
    let elsewhere = "99999999-9999-4999-8999-999999999999";
    for (method, condition) in [
        (&rpc::DELETE_PREBUILD, format!("resource in Project::\"{PROJECT}\"")),
        (&rpc::DELETE_PREBUILD, format!("resource.project == Project::\"{PROJECT}\"")),
        (&rpc::CANCEL_PREBUILD, format!("resource.project in [Project::\"{PROJECT}\"]")),
        (&rpc::DELETE_WARM_POOL, format!("resource in Project::\"{PROJECT}\"")),
    ] {
        let asking = Asking::of(method);
        assert!(holds(method, &condition, &asking));
        let other = asking.with(|facts| elsewhere.clone_into(&mut facts.resource.as_mut().unwrap().project));
        assert!(!holds(method, &condition, &other));
    }
    let update = &rpc::UPDATE_WARM_POOL;
    for condition in [
        "resource in Org::\"acme\"",
        "resource.project in Org::\"acme\"",
        "resource has max_size && resource.max_size == 4 && resource has min_size && resource.min_size == 1",
        &format!(
            "resource has environment_class && resource.environment_class == EnvironmentClass::\"{CLASS}\""
        ),
    ] {
        assert!(holds(update, condition, &Asking::of(update)), "{condition}");
    }
}

#[test]
fn an_old_pool_is_as_large_as_it_is_desired() {
    let get = &rpc::DELETE_WARM_POOL;
    let old = Sizes { desired: Some(7), ..Sizes::default() };
    let asking = Asking::of(get).with(|facts| facts.resource.as_mut().unwrap().sizes = old);
    assert!(holds(get, "resource has max_size && resource.max_size == 7", &asking));
}

#[test]
fn ids_are_the_same_in_capitals() {
    let (create, delete) = (&rpc::CREATE_PREBUILD, &rpc::DELETE_PREBUILD);
    let id = "abcdefab-cdef-4bcd-8fab-cdefabcdefab";
    let shout = |facts: &mut Facts| {
        let loud = id.to_uppercase();
        facts.resource.as_mut().unwrap().project.clone_from(&loud);
        (facts.project, facts.class, facts.prebuild) = (Some(loud.clone()), Some(loud.clone()), Some(loud));
    };
    let asking = Asking::of(create).with(shout);
    assert!(holds(create, &format!("resource == Project::\"{id}\""), &asking));
    let class =
        format!("context has environment_class && context.environment_class == EnvironmentClass::\"{id}\"");
    assert!(holds(create, &class, &asking));
    let asking = Asking::of(delete).with(shout);
    assert!(holds(
        delete,
        &format!("resource == Prebuild::\"{id}\" && resource in Project::\"{id}\""),
        &asking
    ));
}

#[test]
fn what_is_absent_counts_as_what_upstream_takes() {
    let (create, list) = (&rpc::CREATE_PREBUILD, &rpc::LIST_WARM_POOLS);
    assert!(holds(create, "context.timeout_seconds > 1800 && !context.timeout_given", &Asking::of(create)));
    assert!(holds(list, "context.page_size == 25 && !context.page_size_given", &Asking::of(list)));
    for (seconds, nanos, expected) in [(1800, 0, false), (1800, 1, true), (1801, 0, true)] {
        let asking = Asking::of(create).with(|facts| facts.timeout = Some(Timeout { seconds, nanos }));
        assert_eq!(holds(create, "context.timeout_seconds > 1800", &asking), expected);
    }
    let asking = Asking::of(list).with(|facts| facts.filter.projects.push(PROJECT.to_owned()));
    let filter = format!("context.filter_projects == [Project::\"{PROJECT}\"]");
    assert!(holds(list, &filter, &asking));
}

#[test]
fn a_pool_grows_to_what_it_may_at_most() {
    let sizes = |desired, min, max| Sizes { desired, min, max };
    let (none, some) = (Sizes::default(), Some);
    let (create, update) = (&rpc::CREATE_WARM_POOL, &rpc::UPDATE_WARM_POOL);
    for (method, given, present, expected) in [
        (create, none, none, 20),
        (create, sizes(some(3), None, None), none, 3),
        (create, sizes(None, some(1), None), none, 20),
        (create, sizes(None, None, some(5)), none, 5),
        (create, sizes(some(9), None, some(5)), none, 9),
        (update, none, sizes(some(0), some(1), some(4)), 4),
        (update, sizes(None, None, some(2)), sizes(some(0), some(1), some(4)), 2),
        (update, sizes(some(6), None, None), sizes(some(3), None, None), 6),
        (update, none, sizes(some(3), None, None), 3),
    ] {
        let asking = Asking::of(method).with(|facts| {
            facts.sizes = given;
            facts.pool = facts.pool.take().filter(|_| method.name == update.name);
            facts.resource.as_mut().unwrap().sizes = present;
        });
        let condition = format!("context.largest_size == {expected}");
        assert!(holds(method, &condition, &asking), "{} {given:?} {present:?} {expected}", method.name);
    }
}

/// As wide and as deep as rules may be, on the stack of a thread.
#[test]
fn the_longest_rule_is_judged() {
    let list = &rpc::LIST_PREBUILDS;
    let sum = |terms| format!("{} > 0", vec!["1"; terms].join(" + "));
    let brackets = |depth, inner: &str| format!("{}{inner}{}", "(".repeat(depth), ")".repeat(depth));
    for condition in [
        sum(126),
        vec!["true"; 64].join(" && "),
        format!("{}true", "if 1 == 2 then false else ".repeat(8)),
        brackets(7, "true"),
        brackets(7, &sum(120)),
        (0..7).fold("true".to_owned(), |inner, _| format!("(true && 1 + 1 > 1 && {inner})")),
    ] {
        assert!(holds(list, &condition, &Asking::of(list)), "{condition}");
    }
}

#[test]
fn what_the_policy_has_written_the_caller_has_not_given() {
    let given = |attribute: &str| {
        rules(&format!(
            "@id(\"given\") forbid(principal, action == Action::\"CreatePrebuild\", resource) when {{ context.{attribute} }};"
        ))
    };
    let timed = |facts: &mut Facts| facts.timeout = Some(Timeout { seconds: 600, nanos: 0 });
    let caller = Asking::of(&rpc::CREATE_PREBUILD).with(timed);
    let policy = caller.clone().with(|facts| assert!(facts.written.insert("spec.timeout")));
    assert_eq!(caller.refused_by(&given("timeout_given")), ["rules.given"]);
    assert!(policy.refused_by(&given("timeout_given")).is_empty());
    let pages = rules(
        "@id(\"given\") forbid(principal, action == Action::\"ListPrebuilds\", resource) when { context.page_size_given };",
    );
    let caller = Asking::of(&rpc::LIST_PREBUILDS).with(|facts| facts.page_size = Some(10));
    let policy = caller.clone().with(|facts| assert!(facts.written.insert("pagination.page_size")));
    assert_eq!(caller.refused_by(&pages), ["rules.given"]);
    assert!(policy.refused_by(&pages).is_empty());
}
