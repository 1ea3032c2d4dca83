//! Facts as records have them: read back, and stated again, they are the same.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Facts, Filter, Object, Sizes, Timeout, request};
use crate::rpc::{self, MethodSpec};

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string()),
        Just("invalid".to_owned())
    ]
}

fn ids() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(id(), 0..4)
}

fn timeout() -> impl Strategy<Value = Timeout> {
    (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Timeout { seconds, nanos })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let size = || prop::option::of(any::<i32>());
    (size(), size(), size()).prop_map(|(desired, min, max)| Sizes { desired, min, max })
}

fn filter() -> impl Strategy<Value = Filter> {
    let numbers = || prop::collection::vec(any::<i32>(), 0..4);
    (ids(), ids(), ids(), ids(), numbers(), numbers()).prop_map(
        |(projects, classes, creators, executors, phases, triggers)| Filter {
            projects,
            classes,
            creators,
            executors,
            phases,
            triggers,
        },
    )
}

fn object() -> impl Strategy<Value = Object> {
    (id(), id(), id(), id(), sizes()).prop_map(|(id, organization, project, class, sizes)| Object {
        id,
        organization,
        project,
        class,
        sizes,
        ..Object::default()
    })
}

/// Any, whether a request could state all of them or not.
fn facts() -> impl Strategy<Value = Facts> {
    let ids = [(); 4].map(|()| prop::option::of(id()));
    let numbers = [(); 2].map(|()| prop::option::of(any::<i32>()));
    let written = prop::sample::subsequence(request::FILLED.to_vec(), 0..=3);
    let rest = (sizes(), filter(), prop::option::of(object()), written);
    (ids, any::<bool>(), prop::option::of(timeout()), numbers, rest).prop_map(
        |([project, class, prebuild, pool], spec, timeout, [desired_phase, page_size], rest)| {
            let (sizes, filter, resource, written) = rest;
            let written = written.into_iter().collect();
            Facts {
                project,
                class,
                prebuild,
                pool,
                spec,
                timeout,
                desired_phase,
                sizes,
                page_size,
                page_token: None,
                filter,
                resource,
                written,
            }
        },
    )
}

/// What a request of this method says of them.
fn stated(method: &MethodSpec, facts: &Facts) -> Facts {
    method.decode(&method.state(facts)).unwrap().1
}

/// Each of those that the method's request can state.
fn own(method: &MethodSpec, facts: Facts) -> Facts {
    let takes = |path: &str| method.takes(path);
    let spec = facts.spec && takes("spec");
    let zero_is_none = |number: Option<i32>| number.filter(|number| *number != 0);
    let is_create = method.name == "CreateWarmPool";
    let desired = if is_create { zero_is_none(facts.sizes.desired) } else { facts.sizes.desired };
    let ids = |path: &str, ids: Vec<String>| if takes(path) { ids } else { Vec::new() };
    let numbers = |path: &str, numbers: Vec<i32>| if takes(path) { numbers } else { Vec::new() };
    Facts {
        project: facts.project.filter(|_| takes("project_id")),
        class: facts.class.filter(|_| takes("environment_class_id")),
        prebuild: facts.prebuild.filter(|_| takes("prebuild_id")),
        pool: facts.pool.filter(|_| takes("warm_pool_id")),
        spec,
        timeout: facts.timeout.filter(|_| spec),
        desired_phase: zero_is_none(facts.desired_phase).filter(|_| spec),
        sizes: if takes("max_size") { Sizes { desired, ..facts.sizes } } else { Sizes::default() },
        page_size: zero_is_none(facts.page_size).filter(|_| takes("pagination.page_size")),
        filter: Filter {
            projects: ids("filter.project_ids", facts.filter.projects),
            classes: ids("filter.environment_class_ids", facts.filter.classes),
            creators: ids("filter.creator_ids", facts.filter.creators),
            executors: ids("filter.executor_ids", facts.filter.executors),
            phases: numbers("filter.phases", facts.filter.phases),
            triggers: numbers("filter.triggered_by", facts.filter.triggers),
        },
        ..Facts::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_of_a_record_are_read_back_as_they_were(facts in facts()) {
        let json = serde_json::to_string(&facts).unwrap();
        prop_assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    }

    /// Every request there is, of every method.
    #[test]
    fn a_request_that_is_made_of_facts_states_them(facts in facts()) {
        for method in rpc::methods() {
            let own = own(method, facts.clone());
            prop_assert_eq!(stated(method, &facts), own.clone(), "{}", method.name);
            prop_assert_eq!(stated(method, &own), own, "{}", method.name);
        }
    }
}

#[test]
fn what_was_written_is_not_what_was_said() {
    let (class, seconds) = (Some("c".to_owned()), Timeout { seconds: 60, nanos: 0 });
    let all = Facts { class, timeout: Some(seconds), page_size: Some(3), spec: true, ..Facts::default() };
    for (written, said) in [
        (&[][..], all.clone()),
        (&["environment_class_id"], Facts { class: None, ..all.clone() }),
        (&["spec.timeout"], Facts { timeout: None, ..all.clone() }),
        (&["pagination.page_size"], Facts { page_size: None, ..all.clone() }),
    ] {
        let written: BTreeSet<_> = written.iter().copied().collect();
        let facts = Facts { written, resource: Some(Object::default()), ..all.clone() };
        assert_eq!(facts.as_said(), said);
    }
}

#[test]
fn facts_that_are_not_known_here_are_not_read() {
    for json in [r#"{"novelty":1}"#, r#"{"written":["spec.novelty"]}"#, r#"{"sizes":{"most":1}}"#] {
        assert!(serde_json::from_str::<Facts>(json).is_err(), "{json}");
    }
}
