//! The rules in `deploy/`, each on a call that it is for and on one that it is not.

use super::*;

const EXAMPLE: &str = include_str!("../../../../deploy/policy/rules.example.cedar");
const LARGE: &str = "5a6b7c8d-9e0f-4a1b-8c2d-3e4f5a6b7c8d";
const NIGHTLY: &str = "1b2c3d4e-5f60-4718-a92b-3c4d5e6f7081";
const HOUR: u64 = 60 * 60;

/// All of it in force.
fn example() -> Rules {
    rules(EXAMPLE)
}

/// The broken ones in any mode: the example shows roll-outs, too.
fn broken(asking: &Asking) -> Vec<String> {
    let rulings = example().judge(&asking.question()).into_iter();
    rulings.filter(Ruling::is_broken).map(|ruling| ruling.rule.to_string()).collect()
}

#[test]
fn the_example_has_what_is_tested_here() {
    let rules = example();
    let ids: Vec<_> = rules.ids().map(RuleId::as_str).collect();
    assert_eq!(
        ids,
        [
            "rules.no-night-builds",
            "rules.log-tokens-from-the-office",
            "rules.large-class-is-for-short-builds",
            "rules.small-pools-in-the-nightly-project",
            "rules.only-the-janitor-deletes"
        ]
    );
}

#[test]
fn at_night_only_ci_builds() {
    let midnight = NOON - 12 * HOUR;
    for (by, hour, expected) in
        [("ada", 3, true), ("ada", 6, false), ("ada", 21, false), ("ada", 22, true), ("ci-main", 3, false)]
    {
        let asking = Asking::of(&rpc::CREATE_PREBUILD).by(by).at(midnight + hour * HOUR);
        assert_eq!(broken(&asking) == ["rules.no-night-builds"], expected, "{by} at {hour}");
    }
}

#[test]
fn log_tokens_are_made_in_the_office() {
    for (from, expected) in [
        ("10.20.0.1", false),
        ("10.21.0.1", true),
        ("2001:db8:20::1", false),
        ("2001:db8:21::1", true),
        ("::ffff:10.20.0.1", false),
    ] {
        let asking = Asking::of(&rpc::CREATE_PREBUILD_LOGS_TOKEN).from(from);
        assert_eq!(broken(&asking) == ["rules.log-tokens-from-the-office"], expected, "{from}");
    }
}

#[test]
fn the_large_class_is_for_short_builds() {
    for (class, seconds, expected) in [
        (Some(LARGE), Some(1800), false),
        (Some(LARGE), Some(1801), true),
        (Some(LARGE), None, true),
        (Some(CLASS), None, false),
        (None, Some(600), true),
    ] {
        let asking = Asking::of(&rpc::CREATE_PREBUILD).with(|facts| {
            facts.class = class.map(str::to_owned);
            facts.timeout = seconds.map(|seconds| Timeout { seconds, nanos: 0 });
        });
        assert_eq!(
            broken(&asking) == ["rules.large-class-is-for-short-builds"],
            expected,
            "{class:?} {seconds:?}"
        );
    }
}

#[test]
fn pools_of_the_nightly_project_stay_small() {
    for (method, project, max, expected) in [
        (&rpc::CREATE_WARM_POOL, NIGHTLY, Some(3), false),
        (&rpc::CREATE_WARM_POOL, NIGHTLY, Some(4), true),
        (&rpc::CREATE_WARM_POOL, NIGHTLY, None, true),
        (&rpc::CREATE_WARM_POOL, PROJECT, None, false),
        (&rpc::UPDATE_WARM_POOL, NIGHTLY, Some(4), true),
        (&rpc::UPDATE_WARM_POOL, NIGHTLY, Some(2), false),
        (&rpc::UPDATE_WARM_POOL, PROJECT, Some(4), false),
    ] {
        let asking = Asking::of(method).with(|facts| {
            facts.project = Some(project.to_owned());
            facts.sizes.max = max;
            project.clone_into(&mut facts.resource.as_mut().unwrap().project);
        });
        let is_broken = broken(&asking) == ["rules.small-pools-in-the-nightly-project"];
        assert_eq!(is_broken, expected, "{} {project} {max:?}", method.name);
    }
}

#[test]
fn only_the_janitor_deletes() {
    for method in [&rpc::DELETE_PREBUILD, &rpc::DELETE_WARM_POOL] {
        assert_eq!(broken(&Asking::of(method)), ["rules.only-the-janitor-deletes"]);
        assert!(broken(&Asking::of(method).by("janitor")).is_empty());
        // Another org has no such rule.
        let other = Asking { identity: identity("globex", "ci"), ..Asking::of(method) };
        assert!(broken(&other).is_empty());
    }
}
