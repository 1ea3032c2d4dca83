//! Every limit, just within and just beyond it, present and absent.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{method, needs_object};
use crate::{
    policy::applied::{Limits, Methods},
    rpc::{
        CANCEL_PREBUILD, CREATE_PREBUILD, CREATE_PREBUILD_LOGS_TOKEN, CREATE_WARM_POOL, DELETE_PREBUILD,
        DELETE_WARM_POOL, Facts, GET_AUTHENTICATED_IDENTITY, GET_PREBUILD, GET_WARM_POOL, LIST_PREBUILDS,
        LIST_WARM_POOLS, MethodSpec, Object, Sizes, Timeout, UPDATE_WARM_POOL, methods,
    },
    rule::{Applied, Mode, Need, Outcome, Ruling, Selection},
};

mod absence;

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

/// Calls that name an object and nothing of what it is.
const BY_ID: [&MethodSpec; 7] = [
    &GET_PREBUILD,
    &CANCEL_PREBUILD,
    &DELETE_PREBUILD,
    &CREATE_PREBUILD_LOGS_TOKEN,
    &UPDATE_WARM_POOL,
    &GET_WARM_POOL,
    &DELETE_WARM_POOL,
];

/// All that is judged of a call.
fn request(method: &'static MethodSpec, facts: &Facts, limits: &Limits) -> Vec<Ruling> {
    let stated = super::request(method, facts, limits);
    stated.into_iter().chain(super::object(method, facts, limits)).collect()
}

fn enforced<T>(name: &str, value: T) -> Vec<Applied<T>> {
    let rule = format!("limits.{name}").as_str().into();
    vec![Applied { rule, mode: Mode::Enforce, candidate: false, value, link: None }]
}

fn only(ids: &[Uuid]) -> Selection {
    Selection { allow: Some(Arc::new(ids.iter().copied().collect())), deny: Arc::default() }
}

fn none_of(ids: &[Uuid]) -> Selection {
    Selection { allow: None, deny: Arc::new(ids.iter().copied().collect()) }
}

fn max_timeout(seconds: u64) -> Limits {
    Limits { max_timeout: enforced("max_timeout", Duration::from_secs(seconds)), ..Limits::default() }
}

fn pool_sizes(min: i32, max: i32) -> Limits {
    Limits {
        min_pool_size: enforced("min_pool_size", min),
        max_pool_size: enforced("max_pool_size", max),
        ..Limits::default()
    }
}

fn projects(selection: Selection) -> Limits {
    Limits { projects: enforced("projects", selection), ..Limits::default() }
}

fn classes(selection: Selection) -> Limits {
    Limits { environment_classes: enforced("environment_classes", selection), ..Limits::default() }
}

fn sizes(desired: Option<i32>, min: Option<i32>, max: Option<i32>) -> Sizes {
    Sizes { desired, min, max }
}

fn object(project: &str, class: &str) -> Option<Object> {
    Some(Object { project: project.to_owned(), class: class.to_owned(), ..Object::default() })
}

/// What refuses: rule, field and bound.
fn broken(rulings: &[Ruling]) -> Vec<(&str, &str, &str)> {
    rulings
        .iter()
        .filter(|ruling| ruling.refuses())
        .map(|ruling| {
            let field = ruling.field.as_deref().unwrap_or_default();
            (ruling.rule.as_str(), field, ruling.bound.as_deref().unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_method_is_allowed_or_not() {
    let allow =
        Methods { allow: Some(Arc::new(["GetPrebuild", "CancelPrebuild"].into())), deny: Arc::default() };
    let deny = Methods { allow: None, deny: Arc::new(["CancelPrebuild"].into()) };
    for (methods, of, is_kept) in [
        (&allow, &GET_PREBUILD, true),
        (&allow, &CANCEL_PREBUILD, true),
        (&allow, &DELETE_PREBUILD, false),
        (&deny, &DELETE_PREBUILD, true),
        (&deny, &CANCEL_PREBUILD, false),
    ] {
        let limits = Limits { methods: enforced("methods", methods.clone()), ..Limits::default() };
        let rulings = method(of, &limits);
        assert_eq!(rulings.len(), 1);
        let expected =
            if is_kept { vec![] } else { vec![("limits.methods", "", "the method is not allowed")] };
        assert_eq!(broken(&rulings), expected, "{}", of.name);
        assert_eq!(rulings[0].field, None);
    }
}

#[test]
fn a_timeout_is_judged_to_the_nanosecond_and_absent_is_an_hour() {
    let at = |timeout: Option<(i64, i32)>, max| {
        let timeout = timeout.map(|(seconds, nanos)| Timeout { seconds, nanos });
        let facts = Facts { spec: true, timeout, ..Facts::default() };
        request(&CREATE_PREBUILD, &facts, &max_timeout(max))
    };
    for (timeout, max) in [(Some((60, 0)), 60), (Some((59, 999_999_999)), 60), (None, 3600), (None, 7200)] {
        let rulings = at(timeout, max);
        assert_eq!((rulings.len(), rulings[0].outcome), (1, Outcome::Kept), "{timeout:?} {max}");
    }
    let broken_by = |timeout, max| at(timeout, max).remove(0);
    for timeout in [(60, 1), (61, 0), (i64::MAX, 999_999_999), (-1, 0), (0, -1)] {
        let ruling = broken_by(Some(timeout), 60);
        assert_eq!(broken(&[ruling]), [("limits.max_timeout", "spec.timeout", "must be at most 60s")]);
    }
    let absent = broken_by(None, 3599);
    assert_eq!(absent.bound.unwrap(), "must be at most 3599s; absent is 3600s");
}

#[test]
fn sizes_of_a_new_pool_are_judged_as_upstream_takes_them() {
    const MAX: (&str, &str) = ("max_size", "must be at most 5");
    const MIN: (&str, &str) = ("min_size", "must be at least 1");
    for (given, expected) in [
        (sizes(None, Some(1), Some(5)), vec![]),
        (sizes(Some(3), Some(1), Some(5)), vec![]),
        (sizes(Some(3), None, None), vec![]),
        (sizes(None, Some(0), Some(5)), vec![MIN]),
        (sizes(None, Some(1), Some(6)), vec![MAX]),
        (sizes(None, Some(1), None), vec![MAX]),
        (sizes(Some(3), Some(1), None), vec![MAX]),
        (sizes(None, None, Some(5)), vec![MIN]),
        (sizes(None, None, None), vec![MIN, MAX]),
        (sizes(Some(6), None, None), vec![("desired_size", "must be at most 5")]),
        (sizes(None, Some(7), Some(8)), vec![MAX]),
        (sizes(None, Some(7), None), vec![("min_size", "must be at most 5")]),
    ] {
        let facts = Facts { sizes: given, ..Facts::default() };
        let rulings = request(&CREATE_WARM_POOL, &facts, &pool_sizes(1, 5));
        assert_eq!(rulings.len(), 2);
        let found: Vec<_> = broken(&rulings).into_iter().map(|(_, field, bound)| (field, bound)).collect();
        assert_eq!(found, expected, "{given:?}");
    }
    let facts = Facts { sizes: sizes(Some(0), None, None), ..Facts::default() };
    let rulings = request(&CREATE_WARM_POOL, &facts, &pool_sizes(1, 5));
    assert_eq!(broken(&rulings), [("limits.min_pool_size", "desired_size", "must be at least 1")]);
}

#[test]
fn sizes_of_a_changed_pool_are_its_own_where_the_request_has_none() {
    let present = |sizes| Some(Object { sizes, ..Object::default() });
    let (small, large) = (sizes(Some(0), Some(1), Some(5)), sizes(Some(0), Some(0), Some(9)));
    let old = sizes(Some(4), None, None);
    for (given, pool, expected) in [
        (sizes(None, None, None), present(small), vec![]),
        (sizes(None, None, None), present(large), vec!["min_size", "max_size"]),
        (sizes(None, None, None), None, vec!["min_size", "max_size"]),
        (sizes(None, Some(1), None), present(small), vec![]),
        (sizes(None, Some(1), None), present(large), vec!["max_size"]),
        (sizes(None, None, Some(5)), present(large), vec!["min_size"]),
        (sizes(None, None, Some(5)), present(old), vec![]),
        (sizes(None, Some(1), None), present(sizes(None, Some(1), None)), vec!["max_size"]),
        (sizes(None, Some(1), Some(5)), present(large), vec![]),
        (sizes(Some(5), None, None), present(large), vec![]),
        (sizes(Some(6), None, None), present(small), vec!["desired_size"]),
    ] {
        let facts = Facts { sizes: given, resource: pool, ..Facts::default() };
        let rulings = request(&UPDATE_WARM_POOL, &facts, &pool_sizes(1, 5));
        let found: Vec<_> = broken(&rulings).into_iter().map(|(_, field, _)| field).collect();
        assert_eq!(found, expected, "{facts:?}");
    }
}

#[test]
fn a_creation_is_judged_by_what_it_names() {
    let of = |project: Option<Uuid>, class: Option<Uuid>| Facts {
        project: project.map(|id| id.to_string()),
        class: class.map(|id| id.to_string().to_uppercase()),
        ..Facts::default()
    };
    let (project, class) = ("project_id", "environment_class_id");
    for create in [&CREATE_PREBUILD, &CREATE_WARM_POOL] {
        for (facts, limits, expected) in [
            (of(Some(A), None), projects(only(&[A])), None),
            (
                of(Some(B), None),
                projects(only(&[A])),
                Some((project, format!("project must be allowed: {A}"))),
            ),
            (of(Some(A), None), projects(none_of(&[B])), None),
            (
                of(Some(B), None),
                projects(none_of(&[B])),
                Some((project, "project must be none of the 1 denied projects".to_owned())),
            ),
            (of(None, None), projects(none_of(&[B])), Some((project, "name the project".to_owned()))),
            (of(Some(A), Some(A)), classes(only(&[A])), None),
            (of(Some(A), Some(B)), classes(only(&[A])), Some((class, format!("class must be allowed: {A}")))),
            (of(Some(A), None), classes(only(&[A])), Some((class, "name the class".to_owned()))),
            (of(Some(A), None), classes(none_of(&[B])), Some((class, "name the class".to_owned()))),
            (of(Some(A), None), classes(Selection::default()), None),
        ] {
            let rulings = request(create, &facts, &limits);
            assert_eq!(rulings.len(), 1);
            let found = broken(&rulings).first().map(|(_, field, bound)| (*field, (*bound).to_owned()));
            assert_eq!(found, expected, "{facts:?} {limits:?}");
            assert_eq!(needs_object(create, &facts, &limits), Need::Not);
        }
    }
}

#[test]
fn what_is_allowed_and_denied_is_denied() {
    let both = Selection { deny: Arc::new([B].into()), ..only(&[A, B]) };
    let facts = Facts { project: Some(B.to_string()), ..Facts::default() };
    let rulings = request(&CREATE_PREBUILD, &facts, &projects(both));
    assert_eq!(rulings[0].bound.as_deref(), Some(format!("project must be allowed: {A}").as_str()));
    let many: Vec<_> = (20..25).map(Uuid::from_u128).collect();
    let rulings = request(&CREATE_PREBUILD, &facts, &projects(only(&many)));
    assert_eq!(rulings[0].bound.as_deref(), Some("project must be one of the 5 allowed"));
}

#[test]
fn a_call_by_id_is_judged_by_the_object() {
    let (a, b) = (A.to_string(), B.to_string());
    for by_id in BY_ID {
        for limits in [projects(only(&[A])), projects(none_of(&[B]))] {
            for (resource, expected) in [
                (object(&a.to_uppercase(), &b), Outcome::Kept),
                (object(&b, &a), Outcome::Broken),
                (object("", &a), Outcome::Broken),
                (None, Outcome::Failed),
            ] {
                let facts = Facts { prebuild: Some(b.clone()), resource, ..Facts::default() };
                let rulings = request(by_id, &facts, &limits);
                assert_eq!((rulings.len(), rulings[0].outcome), (1, expected), "{} {facts:?}", by_id.name);
                assert_eq!(rulings[0].refuses(), expected != Outcome::Kept);
                assert_eq!(needs_object(by_id, &facts, &limits), Need::Required);
            }
        }
        for (class, expected) in [(&*a, Outcome::Kept), (&b, Outcome::Broken), ("", Outcome::Broken)] {
            let facts = Facts { pool: Some(b.clone()), resource: object(&b, class), ..Facts::default() };
            let rulings = request(by_id, &facts, &classes(only(&[A])));
            assert_eq!((rulings.len(), rulings[0].outcome), (1, expected), "{}", by_id.name);
            let field = rulings[0].field.as_deref();
            assert_eq!(field, (expected != Outcome::Kept).then_some("warm_pool_id"));
        }
        let facts = Facts { prebuild: Some(a.clone()), ..Facts::default() };
        for exempt in [projects(Selection::default()), classes(Selection::default())] {
            assert_eq!(request(by_id, &facts, &exempt)[0].outcome, Outcome::Kept);
            assert_eq!(needs_object(by_id, &facts, &exempt), Need::Not);
        }
    }
}

#[test]
fn a_list_keeps_a_selection_and_is_judged_by_its_page() {
    for list in [&LIST_PREBUILDS, &LIST_WARM_POOLS] {
        for limits in [projects(only(&[A])), classes(only(&[A]))] {
            let rulings = request(list, &Facts::default(), &limits);
            assert_eq!((rulings.len(), rulings[0].outcome), (1, Outcome::Kept));
            assert_eq!(needs_object(list, &Facts::default(), &limits), Need::Not);
        }
        for (size, max, is_kept) in
            [(Some(10), 10, true), (Some(11), 10, false), (None, 25, true), (None, 24, false)]
        {
            let limits = Limits { max_page_size: enforced("max_page_size", max), ..Limits::default() };
            let rulings = request(list, &Facts { page_size: size, ..Facts::default() }, &limits);
            let bound = format!("must be at most {max}");
            let expected = vec![("limits.max_page_size", "pagination.page_size", bound.as_str())];
            assert_eq!(broken(&rulings), if is_kept { vec![] } else { expected });
        }
    }
}

#[test]
fn the_object_is_needed_for_sizes_that_are_not_said() {
    for (given, needed) in [
        (sizes(None, None, None), true),
        (sizes(None, Some(1), None), true),
        (sizes(Some(1), None, Some(1)), true),
        (sizes(Some(1), None, None), false),
        (sizes(None, Some(1), Some(1)), false),
    ] {
        let facts = Facts { sizes: given, ..Facts::default() };
        let need = if needed { Need::Required } else { Need::Not };
        assert_eq!(needs_object(&UPDATE_WARM_POOL, &facts, &pool_sizes(0, 5)), need, "{given:?}");
        assert_eq!(needs_object(&UPDATE_WARM_POOL, &facts, &max_timeout(60)), Need::Not);
        assert_eq!(needs_object(&CREATE_WARM_POOL, &facts, &pool_sizes(0, 5)), Need::Not);
        assert_eq!(needs_object(&DELETE_WARM_POOL, &facts, &pool_sizes(0, 5)), Need::Not);
    }
}

#[test]
fn a_limit_has_a_word_only_where_it_is_about_the_method() {
    let all = Limits {
        projects: enforced("projects", only(&[A])),
        environment_classes: enforced("environment_classes", only(&[A])),
        max_page_size: enforced("max_page_size", 1),
        max_timeout: enforced("max_timeout", Duration::from_secs(1)),
        ..pool_sizes(1, 1)
    };
    for row in methods() {
        let names: Vec<_> = request(row, &Facts::default(), &all)
            .iter()
            .map(|ruling| ruling.rule.as_str().trim_start_matches("limits.").to_owned())
            .collect();
        let expected: &[&str] = match row.name {
            "CreatePrebuild" => &["max_timeout", "projects", "environment_classes"],
            "CreateWarmPool" | "UpdateWarmPool" => {
                &["min_pool_size", "max_pool_size", "projects", "environment_classes"]
            }
            "ListPrebuilds" | "ListWarmPools" => &["projects", "environment_classes", "max_page_size"],
            "GetAuthenticatedIdentity" => &[],
            _ => &["projects", "environment_classes"],
        };
        assert_eq!(names, expected, "{}", row.name);
    }
    assert!(request(&GET_AUTHENTICATED_IDENTITY, &Facts::default(), &all).is_empty());
}

#[test]
fn what_is_only_looked_at_refuses_nothing() {
    let mut limits = max_timeout(60);
    for (mode, candidate) in [(Mode::Audit, false), (Mode::Warn, false), (Mode::Audit, true)] {
        (limits.max_timeout[0].mode, limits.max_timeout[0].candidate) = (mode, candidate);
        let rulings = request(&CREATE_PREBUILD, &Facts::default(), &limits);
        assert!(rulings[0].is_broken() && !rulings[0].refuses());
    }
}
