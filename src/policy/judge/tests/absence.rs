//! Absence is never laxer than presence: a table of every field that a request may leave out. A field of the proto
//! without an entry fails.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json as value};

use super::{A, B, enforced, none_of, only, request};
use crate::{
    connect::json::{Duplicates, to_wire},
    policy::{Stricter, applied::Limits, validate},
    rpc::{Facts, Form, Kind, MessageSchema, MethodSpec, Object, Sizes, methods},
};

/// What leaving out a field means.
enum Absence {
    /// The call is refused, or there is nothing to judge before it is.
    Refused,
    /// It counts as each of these: what would be refused of them is refused of it.
    As(Vec<Value>),
    /// The bound of a new pool: it counts as this, but beside a desired size alone both are that one.
    Bound(Value),
    /// No limit has a word in it: with this value or without, the rulings are the same.
    Free(Value),
    /// Whatever it says, what a list shows is narrowed to what is allowed; that is the walk's.
    Shown,
}

use Absence::{As, Bound, Free, Refused, Shown};

/// By method and proto path.
fn entry(method: &str, path: &str) -> Option<Absence> {
    let id = || value!(A.to_string());
    Some(match (method, path) {
        (_, "project_id" | "prebuild_id" | "warm_pool_id" | "spec") => Refused,
        // Whatever the project's default is.
        ("CreatePrebuild", "environment_class_id") => As(vec![id(), value!(B.to_string())]),
        ("CreateWarmPool", "environment_class_id") => Refused,
        (_, "spec.timeout") => As(vec![value!("3600s")]),
        (_, "spec.spec_version") => Free(value!("7")),
        (_, "spec.desired_phase") => Free(value!("PREBUILD_PHASE_COMPLETED")),
        // Beside no bound it sets both; absent, each is as wide as it can be.
        ("CreateWarmPool", "desired_size") => As(vec![value!(1), value!(20)]),
        ("CreateWarmPool", "min_size") => Bound(value!(0)),
        ("CreateWarmPool", "max_size") => Bound(value!(20)),
        // As the pool is now.
        ("UpdateWarmPool", "desired_size") => As(vec![value!(PRESENT.0)]),
        ("UpdateWarmPool", "min_size") => As(vec![value!(PRESENT.0)]),
        ("UpdateWarmPool", "max_size") => As(vec![value!(PRESENT.1)]),
        (_, "pagination" | "filter") => Shown,
        (_, "pagination.page_size") => As(vec![value!(25)]),
        (_, "pagination.token") => Free(value!("raw")),
        (_, "filter.project_ids" | "filter.environment_class_ids") => Shown,
        (_, "filter.creator_ids" | "filter.executor_ids") => Free(value!([id()])),
        (_, "filter.phases") => Free(value!(["PREBUILD_PHASE_RUNNING"])),
        (_, "filter.triggered_by") => Free(value!(["PREBUILD_TRIGGER_MANUAL"])),
        _ => return None,
    })
}

/// The bounds of the pool that is updated: alike, so that a desired size is within them, too.
const PRESENT: (i32, i32) = (9, 9);

/// The paths of all fields of a message, with those of messages in it.
fn paths(method: &MethodSpec, message: &'static MessageSchema, under: &str, found: &mut Vec<String>) {
    for field in &message.fields {
        let path = format!("{under}{}", field.name);
        if let Kind::Message(index) = field.kind {
            let inner = (method.schema)().message_at(index);
            if inner.form == Form::Object {
                paths(method, inner, &format!("{path}."), found);
            }
        }
        found.push(path);
    }
}

/// A request that keeps the API's own rules, with every field but those that can be as they are when absent.
fn whole(method: &MethodSpec) -> Value {
    let id = A.to_string();
    match method.name {
        "CreatePrebuild" => {
            value!({"project_id": id, "environment_class_id": id, "spec": {"timeout": "60s"}})
        }
        "CreateWarmPool" => value!({"project_id": id, "environment_class_id": id}),
        "UpdateWarmPool" => value!({"warm_pool_id": id}),
        "ListPrebuilds" | "ListWarmPools" => value!({}),
        "GetAuthenticatedIdentity" => value!({}),
        name if name.contains("WarmPool") => value!({"warm_pool_id": id}),
        _ => value!({"prebuild_id": id}),
    }
}

/// With or without a value at a path.
fn with(mut request: Value, path: &str, there: Option<&Value>) -> Value {
    let mut at = &mut request;
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    for name in parents.split('.').filter(|name| !name.is_empty()) {
        at = at.as_object_mut().unwrap().entry(name).or_insert_with(|| value!({}));
    }
    match there {
        Some(there) => drop(at.as_object_mut().unwrap().insert(last.to_owned(), there.clone())),
        None => drop(at.as_object_mut().unwrap().remove(last)),
    }
    request
}

fn facts(method: &MethodSpec, request: &Value) -> Facts {
    let json = request.to_string();
    let (wire, _) =
        to_wire((method.schema)(), method.input().unwrap(), json.as_bytes(), Duplicates::Reject).unwrap();
    let (_, mut facts) = method.decode(&wire).unwrap();
    if facts.object().is_some() {
        let sizes = Sizes { desired: None, min: Some(PRESENT.0), max: Some(PRESENT.1) };
        let (project, class) = (A.to_string(), A.to_string());
        facts.resource = Some(Object { project, class, sizes, ..Object::default() });
    }
    facts
}

/// Limits of every kind, each at every bound that matters to the table.
fn limits() -> Vec<Limits> {
    let mut all = vec![Limits::default()];
    for bound in 0..=20 {
        let (min_pool_size, max_pool_size) = (enforced("min", bound), enforced("max", bound));
        all.push(Limits { min_pool_size, ..Limits::default() });
        all.push(Limits { max_pool_size, ..Limits::default() });
    }
    for bound in [1, 24, 25, 26, 100] {
        all.push(Limits { max_page_size: enforced("page", bound), ..Limits::default() });
    }
    for seconds in [1, 60, 3599, 3600, 3601, 7200] {
        let max_timeout = enforced("timeout", Duration::from_secs(seconds));
        all.push(Limits { max_timeout, ..Limits::default() });
    }
    for selection in [only(&[]), only(&[A]), only(&[A, B]), none_of(&[A]), none_of(&[B])] {
        all.push(Limits { projects: enforced("projects", selection.clone()), ..Limits::default() });
        all.push(Limits { environment_classes: enforced("classes", selection), ..Limits::default() });
    }
    all
}

/// The rules that refuse, and what the API itself says.
fn refused(method: &'static MethodSpec, request_json: &Value, limits: &Limits) -> bool {
    let facts = facts(method, request_json);
    validate::message(method, &facts, Stricter::Forward).is_err()
        || request(method, &facts, limits).iter().any(super::Ruling::refuses)
}

/// Requests to leave the field out of: the plain one, and those with other fields of the table beside it.
fn bases(method: &'static MethodSpec, all: &[String], path: &str) -> Vec<Value> {
    let mut bases = vec![whole(method)];
    for other in all.iter().filter(|other| *other != path && other.ends_with("_size")) {
        let values = match entry(method.name, other) {
            Some(As(values)) => values,
            Some(Bound(value)) => vec![value, value!(5)],
            _ => continue,
        };
        let more =
            bases.iter().flat_map(|base| values.iter().map(|value| with(base.clone(), other, Some(value))));
        let more: Vec<_> = more.collect();
        bases.extend(more);
    }
    bases
}

fn no_laxer(method: &'static MethodSpec, without: &Value, path: &str, value: &Value, limits: &Limits) {
    no_laxer_than(method, without, &with(without.clone(), path, Some(value)), limits);
}

/// What the API refuses is no way to leave something out.
fn no_laxer_than(method: &'static MethodSpec, without: &Value, with: &Value, limits: &Limits) {
    let is_possible = !refused(method, with, &Limits::default());
    let is_laxer = refused(method, with, limits) && !refused(method, without, limits);
    assert!(!(is_possible && is_laxer), "{}: {without} passes, {with} does not: {limits:?}", method.name);
}

fn check(method: &'static MethodSpec, all: &[String], path: &str) {
    let name = method.name;
    let absence =
        entry(name, path).unwrap_or_else(|| panic!("{name} has a new field {path}: what if it is absent?"));
    for base in bases(method, all, path) {
        let without = with(base.clone(), path, None);
        for limits in limits() {
            match &absence {
                Refused => assert!(refused(method, &without, &limits), "{name} without {path}"),
                As(values) => {
                    values.iter().for_each(|value| no_laxer(method, &without, path, value, &limits))
                }
                Bound(value) => {
                    let is_alone = without.get("min_size").or(without.get("max_size")).is_none();
                    match without.get("desired_size").filter(|_| is_alone) {
                        None => no_laxer(method, &without, path, value, &limits),
                        // It stands for both.
                        Some(desired) => {
                            let half = with(without.clone(), "min_size", Some(desired));
                            let both = with(half, "max_size", Some(desired));
                            no_laxer_than(method, &without, &both, &limits);
                        }
                    }
                }
                Free(value) => {
                    let with = facts(method, &with(base.clone(), path, Some(value)));
                    let rulings = request(method, &with, &limits);
                    assert_eq!(rulings, request(method, &facts(method, &without), &limits), "{name} {path}");
                }
                Shown => assert!(method.paged().is_some(), "{name} {path} is of a list"),
            }
        }
    }
}

#[test]
fn absence_is_never_laxer_than_presence() {
    let mut checked = BTreeMap::new();
    for method in methods() {
        let mut all = Vec::new();
        paths(method, method.input().unwrap(), "", &mut all);
        for path in &all {
            check(method, &all, path);
        }
        checked.insert(method.name, all.len());
    }
    assert_eq!(checked["CreatePrebuild"], 6);
    assert_eq!((checked["ListPrebuilds"], checked["UpdateWarmPool"]), (9, 4));
    assert_eq!(checked["GetAuthenticatedIdentity"], 0);
}

/// The table itself can fail.
#[test]
fn an_absent_class_would_be_laxer_if_it_were_let_through() {
    let create = &crate::rpc::CREATE_PREBUILD;
    let limits = Limits { environment_classes: enforced("classes", only(&[A])), ..Limits::default() };
    let without = with(whole(create), "environment_class_id", None);
    assert!(refused(create, &without, &limits) && !refused(create, &whole(create), &limits));
    assert!(!refused(create, &without, &Limits::default()));
}
