//! Every bound, one below and one above.

use super::{Stricter, Tier, Violation, message, resolved};
use crate::{
    error::{Code, Error, Reason},
    rpc::{
        CREATE_PREBUILD, CREATE_WARM_POOL, Facts, Filter, GET_PREBUILD, LIST_PREBUILDS, MethodSpec, Object,
        Sizes, Timeout, UPDATE_WARM_POOL,
    },
};

const ID: &str = "07e03a28-65a5-4d98-b532-8ea67b188048";

fn create(timeout: Option<(i64, i32)>) -> Facts {
    Facts {
        project: Some(ID.into()),
        spec: true,
        timeout: timeout.map(|(seconds, nanos)| Timeout { seconds, nanos }),
        ..Facts::default()
    }
}

fn pool(desired: Option<i32>, min: Option<i32>, max: Option<i32>) -> Facts {
    Facts {
        project: Some(ID.into()),
        class: Some(ID.into()),
        sizes: Sizes { desired, min, max },
        ..Facts::default()
    }
}

fn fields(method: &MethodSpec, facts: &Facts, stricter: Stricter) -> Vec<(Tier, String)> {
    match message(method, facts, stricter) {
        Ok(()) => Vec::new(),
        Err(violations) => {
            violations.iter().map(|Violation { tier, field, .. }| (*tier, field.to_string())).collect()
        }
    }
}

fn guardrails(method: &MethodSpec, facts: &Facts) -> Vec<String> {
    let fields = fields(method, facts, Stricter::Forward);
    assert!(fields.iter().all(|(tier, _)| *tier == Tier::Guardrail));
    fields.into_iter().map(|(_, field)| field).collect()
}

#[test]
fn timeout() {
    for good in [(0, 1), (1, 0), (299, 0), (7199, 999_999_999), (7200, 0)] {
        assert_eq!(guardrails(&CREATE_PREBUILD, &create(Some(good))), [""; 0], "{good:?}");
    }
    for bad in [
        (0, 0),
        (-1, 0),
        (0, -1),
        (7200, 1),
        (7201, 0),
        (7201, -1),
        (1, -1),
        (-1, 1),
        (1, 1_000_000_000),
        (0, i32::MIN),
        (i64::MAX, 0),
        (i64::MIN, 0),
        (i64::MIN, i32::MIN),
    ] {
        assert_eq!(guardrails(&CREATE_PREBUILD, &create(Some(bad))), ["spec.timeout"], "{bad:?}");
    }
    assert_eq!(guardrails(&CREATE_PREBUILD, &create(None)), [""; 0]);
}

#[test]
fn timeout_of_the_stricter_tier() {
    let stricter = |timeout| fields(&CREATE_PREBUILD, &create(Some(timeout)), Stricter::Enforce);
    assert_eq!(stricter((299, 999_999_999)), [(Tier::Stricter, "spec.timeout".to_owned())]);
    assert_eq!(stricter((300, 0)), []);
}

#[test]
fn pool_sizes() {
    for size in [0, 1, 20] {
        assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(None, Some(size), Some(size))), [""; 0]);
        assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(Some(size), None, None)), [""; 0]);
    }
    for size in [-1, 21, i32::MIN, i32::MAX] {
        assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(None, Some(size), None)), ["min_size"]);
        assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(None, None, Some(size))), ["max_size"]);
        assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(Some(size), None, None)), ["desired_size"]);
    }
}

#[test]
fn pool_bounds_do_not_cross() {
    assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(None, Some(3), Some(3))), [""; 0]);
    assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(None, Some(4), Some(3))), ["min_size"]);
    assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(Some(2), Some(2), Some(4))), [""; 0]);
    assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(Some(4), Some(2), Some(4))), [""; 0]);
    assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(Some(1), Some(2), Some(4))), ["desired_size"]);
    assert_eq!(guardrails(&CREATE_WARM_POOL, &pool(Some(5), None, Some(4))), ["desired_size"]);
}

#[test]
fn pool_sizes_of_the_stricter_tier() {
    let stricter = |facts| fields(&CREATE_WARM_POOL, &facts, Stricter::Enforce);
    assert_eq!(stricter(pool(None, Some(0), Some(1))), []);
    assert_eq!(stricter(pool(None, Some(0), Some(0))), [(Tier::Stricter, "max_size".to_owned())]);
    assert_eq!(stricter(pool(Some(0), None, None)), [(Tier::Stricter, "desired_size".to_owned())]);
}

#[test]
fn one_bound_is_checked_against_the_present_other_one() {
    let update = |min, max, desired, present: Sizes| {
        resolved(&Facts {
            sizes: Sizes { desired, min, max },
            resource: Some(Object { sizes: present, ..Object::default() }),
            ..Facts::default()
        })
        .err()
        .map(|violations| violations.iter().map(|violation| violation.field.to_string()).collect::<Vec<_>>())
    };
    let present = Sizes { desired: None, min: Some(2), max: Some(5) };
    assert_eq!(update(Some(5), None, None, present), None);
    assert_eq!(update(Some(6), None, None, present), Some(vec!["min_size".to_owned()]));
    assert_eq!(update(None, Some(2), None, present), None);
    assert_eq!(update(None, Some(1), None, present), Some(vec!["max_size".to_owned()]));
    assert_eq!(update(Some(0), None, Some(6), present), Some(vec!["desired_size".to_owned()]));
    let old = Sizes { desired: Some(4), min: None, max: None };
    assert_eq!(update(Some(4), None, None, old), None);
    assert_eq!(update(Some(5), None, None, old), Some(vec!["min_size".to_owned()]));
    assert_eq!(update(None, Some(3), None, old), Some(vec!["max_size".to_owned()]));
}

#[test]
fn required_fields_and_uuids() {
    assert_eq!(guardrails(&CREATE_PREBUILD, &Facts::default()), ["project_id", "spec"]);
    assert_eq!(guardrails(&CREATE_WARM_POOL, &Facts::default()), ["project_id", "environment_class_id"]);
    assert_eq!(guardrails(&GET_PREBUILD, &Facts::default()), ["prebuild_id"]);
    assert_eq!(guardrails(&UPDATE_WARM_POOL, &Facts::default()), ["warm_pool_id"]);
    for bad in ["x", "", "{07e03a28-65a5-4d98-b532-8ea67b188048}", "07e03a2865a54d98b5328ea67b188048"] {
        let facts = Facts { class: Some(bad.into()), ..create(None) };
        assert_eq!(guardrails(&CREATE_PREBUILD, &facts), ["environment_class_id"], "{bad}");
    }
}

#[test]
fn pages_and_filters() {
    let page = |page_size| Facts { page_size: Some(page_size), ..Facts::default() };
    for good in [0, 1, 100] {
        assert_eq!(guardrails(&LIST_PREBUILDS, &page(good)), [""; 0]);
    }
    for bad in [-1, 101] {
        assert_eq!(guardrails(&LIST_PREBUILDS, &page(bad)), ["pagination.page_size"]);
    }
    let filter = |filter| Facts { filter, ..Facts::default() };
    let projects = |count| filter(Filter { projects: vec![ID.to_owned(); count], ..Filter::default() });
    assert_eq!(guardrails(&LIST_PREBUILDS, &projects(25)), [""; 0]);
    assert_eq!(guardrails(&LIST_PREBUILDS, &projects(26)), ["filter.project_ids"]);
    let phases = |phases| filter(Filter { phases, ..Filter::default() });
    assert_eq!(guardrails(&LIST_PREBUILDS, &phases(vec![10; 10])), [""; 0]);
    assert_eq!(guardrails(&LIST_PREBUILDS, &phases(vec![10; 11])), ["filter.phases"]);
    assert_eq!(guardrails(&LIST_PREBUILDS, &phases(vec![10, 11])), ["filter.phases[1]"]);
    let triggers = |triggers| filter(Filter { triggers, ..Filter::default() });
    assert_eq!(guardrails(&LIST_PREBUILDS, &triggers(vec![1; 5])), [""; 0]);
    assert_eq!(guardrails(&LIST_PREBUILDS, &triggers(vec![1; 6])), ["filter.triggered_by"]);
    assert_eq!(guardrails(&LIST_PREBUILDS, &triggers(vec![3])), ["filter.triggered_by[0]"]);
}

#[test]
fn every_violation_at_once_and_the_graver_tier_names_the_refusal() {
    let facts = Facts { sizes: Sizes { desired: Some(0), min: Some(21), max: Some(3) }, ..Facts::default() };
    let violations = message(&CREATE_WARM_POOL, &facts, Stricter::Enforce).unwrap_err();
    let named: Vec<_> = violations.iter().map(|violation| violation.field.as_ref()).collect();
    assert_eq!(
        named,
        ["project_id", "environment_class_id", "desired_size", "min_size", "min_size", "desired_size"]
    );
    let error = Error::from(violations);
    assert_eq!((error.code, error.reason), (Code::InvalidArgument, Some(Reason::Guardrail)));

    let stricter = message(&CREATE_PREBUILD, &create(Some((10, 0))), Stricter::Enforce).unwrap_err();
    assert_eq!(Error::from(stricter).reason, Some(Reason::StricterBound));
}
