//! What of a value from outside stands in a record: an id, or nothing that could be anything else.

use uuid::Uuid;

use crate::rpc::{Facts, Filter, Object};

/// Values from outside are cut to this many characters; a UUID has 36.
const MAX_VALUE: usize = 64;
/// So are rules to this many: `rules.` and an id of the policy's, of at most 64.
const MAX_RULE: usize = 70;
/// Ids of one filter in a record: as many as validation allows.
const MAX_FILTER_IDS: usize = 25;
/// Stands for an id that is none.
const NO_ID: &str = "invalid";

/// An id, if it is one: what a caller types in its place may be anything, also a secret.
pub(in crate::audit) fn id(id: &str) -> String {
    if Uuid::try_parse(id).is_ok() { cut(id) } else { NO_ID.to_owned() }
}

/// At most [`MAX_VALUE`] characters of a value from outside.
pub(super) fn cut(value: &str) -> String {
    value.chars().take(MAX_VALUE).collect()
}

pub(super) fn rule(rule: &str) -> String {
    rule.chars().take(MAX_RULE).collect()
}

/// Whether [`facts`] leaves ids out.
pub(super) fn are_cut(facts: &Facts) -> bool {
    let Filter { projects, classes, creators, executors, phases, triggers } = &facts.filter;
    let ids = [projects, classes, creators, executors];
    let longest = ids.map(Vec::len).into_iter().chain([phases.len(), triggers.len()]).max();
    longest > Some(MAX_FILTER_IDS)
}

/// Validation bounds what is allowed, but a reject record is written for what is not.
pub(super) fn facts(facts: &Facts) -> Facts {
    let one = |value: &Option<String>| value.as_deref().map(id);
    let ids = |ids: &[String]| ids.iter().take(MAX_FILTER_IDS).map(|value| id(value)).collect();
    Facts {
        project: one(&facts.project),
        class: one(&facts.class),
        prebuild: one(&facts.prebuild),
        pool: one(&facts.pool),
        filter: Filter {
            projects: ids(&facts.filter.projects),
            classes: ids(&facts.filter.classes),
            creators: ids(&facts.filter.creators),
            executors: ids(&facts.filter.executors),
            phases: facts.filter.phases.iter().take(MAX_FILTER_IDS).copied().collect(),
            triggers: facts.filter.triggers.iter().take(MAX_FILTER_IDS).copied().collect(),
        },
        page_token: None,
        resource: facts.resource.as_ref().map(object),
        spec: facts.spec,
        timeout: facts.timeout,
        desired_phase: facts.desired_phase,
        sizes: facts.sizes,
        page_size: facts.page_size,
        written: facts.written.clone(),
    }
}

/// An object as upstream showed it, which may say anything in place of an id.
pub(super) fn object(object: &Object) -> Object {
    let one = |value: &str| if value.is_empty() { String::new() } else { id(value) };
    Object {
        id: one(&object.id),
        organization: one(&object.organization),
        project: one(&object.project),
        class: one(&object.class),
        sizes: object.sizes,
        ..Object::default()
    }
}
