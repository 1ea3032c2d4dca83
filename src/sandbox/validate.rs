//! What the real service declares of its requests, the bounds that only the official schema has included.
//!
//! Numbers stand here a second time on purpose: a wrong bound in the gateway must not be wrong here too.

use uuid::Uuid;

use super::{
    message::{
        CreatePrebuild, CreateWarmPool, Empty, ListPrebuilds, ListWarmPools, OnePrebuild, OneWarmPool,
        Pagination, UpdateWarmPool,
    },
    refusal::Violations,
    scalar::{Enum, Int32, Object, Open, Span},
};

/// Ids in one list of a filter.
const MAX_IDS: usize = 25;
const MAX_PHASES: usize = 10;
const MAX_TRIGGERS: usize = 5;
const MAX_PAGE: i32 = 100;
const MAX_POOL: i32 = 20;
const TIMEOUT: (Span, Span) = (Span::seconds(300), Span::seconds(7200));

/// Which rules the sandbox holds requests to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// What the real service declares.
    #[default]
    Official,
    /// None: what a gateway does not catch happens.
    None,
}

/// A request that can say what is wrong with it.
pub(super) trait Check {
    fn check(&self, found: &mut Violations);
}

impl Check for CreatePrebuild {
    fn check(&self, found: &mut Violations) {
        required_uuid(found, "project_id", self.project_id.as_deref());
        if let Some(class) = &self.environment_class_id {
            required_uuid(found, "environment_class_id", Some(class));
        }
        let Some(Object(spec)) = &self.spec else {
            return found.add("spec", "value is required");
        };
        if spec.timeout.is_some_and(|timeout| timeout < TIMEOUT.0 || timeout > TIMEOUT.1) {
            found.add("spec.timeout", "value must be at least 300s and at most 7200s");
        }
        if let Some(Open::Undefined(_)) = spec.desired_phase {
            found.add("spec.desired_phase", "value must be one of the defined enum values");
        }
    }
}

impl Check for OnePrebuild {
    fn check(&self, found: &mut Violations) {
        required_uuid(found, "prebuild_id", self.prebuild_id.as_deref());
    }
}

impl Check for ListPrebuilds {
    fn check(&self, found: &mut Violations) {
        page(found, self.pagination.as_ref());
        let Some(Object(filter)) = &self.filter else { return };
        ids(found, "filter.project_ids", filter.project_ids.as_deref());
        defined(found, "filter.phases", filter.phases.as_deref(), MAX_PHASES);
        defined(found, "filter.triggered_by", filter.triggered_by.as_deref(), MAX_TRIGGERS);
        ids(found, "filter.creator_ids", filter.creator_ids.as_deref());
        ids(found, "filter.executor_ids", filter.executor_ids.as_deref());
    }
}

impl Check for CreateWarmPool {
    fn check(&self, found: &mut Violations) {
        required_uuid(found, "project_id", self.project_id.as_deref());
        required_uuid(found, "environment_class_id", self.environment_class_id.as_deref());
        // No presence in this message: zero is unset.
        let desired = self.desired_size.filter(|Int32(size)| *size != 0);
        sizes(found, desired, self.min_size, self.max_size);
    }
}

impl Check for OneWarmPool {
    fn check(&self, found: &mut Violations) {
        required_uuid(found, "warm_pool_id", self.warm_pool_id.as_deref());
    }
}

impl Check for UpdateWarmPool {
    fn check(&self, found: &mut Violations) {
        required_uuid(found, "warm_pool_id", self.warm_pool_id.as_deref());
        sizes(found, self.desired_size, self.min_size, self.max_size);
    }
}

impl Check for ListWarmPools {
    fn check(&self, found: &mut Violations) {
        page(found, self.pagination.as_ref());
        let Some(Object(filter)) = &self.filter else { return };
        ids(found, "filter.project_ids", filter.project_ids.as_deref());
        ids(found, "filter.environment_class_ids", filter.environment_class_ids.as_deref());
    }
}

impl Check for Empty {
    fn check(&self, _: &mut Violations) {}
}

/// Whether a text is a UUID as the schema means it: hyphenated, nothing around it.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

fn required_uuid(found: &mut Violations, field: &str, id: Option<&str>) {
    match id.unwrap_or_default() {
        "" => found.add(field, "value is required"),
        id if !is_uuid(id) => found.add(field, "value must be a valid UUID"),
        _ => {}
    }
}

fn ids(found: &mut Violations, field: &str, ids: Option<&[String]>) {
    let ids = ids.unwrap_or_default();
    if ids.len() > MAX_IDS {
        return found.add(field, "value must contain no more than 25 item(s)");
    }
    for (index, _) in ids.iter().enumerate().filter(|(_, id)| !is_uuid(id)) {
        found.add(&format!("{field}[{index}]"), "value must be a valid UUID");
    }
}

fn defined<E: Enum>(found: &mut Violations, field: &str, values: Option<&[Open<E>]>, most: usize) {
    let values = values.unwrap_or_default();
    if values.len() > most {
        return found.add(field, format!("value must contain no more than {most} item(s)"));
    }
    for (index, value) in values.iter().enumerate() {
        if let Open::Undefined(_) = value {
            found.add(&format!("{field}[{index}]"), "value must be one of the defined enum values");
        }
    }
}

fn page(found: &mut Violations, pagination: Option<&Object<Pagination>>) {
    let size = pagination.and_then(|Object(pagination)| pagination.page_size);
    if size.is_some_and(|Int32(size)| !(0..=MAX_PAGE).contains(&size)) {
        found.add("pagination.page_size", "value must be at least 0 and at most 100");
    }
}

fn sizes(found: &mut Violations, desired: Option<Int32>, min: Option<Int32>, max: Option<Int32>) {
    let bounds = [("desired_size", desired, 1), ("min_size", min, 0), ("max_size", max, 1)];
    for (field, size, least) in bounds {
        if size.is_some_and(|Int32(size)| !(least..=MAX_POOL).contains(&size)) {
            found.add(field, format!("value must be at least {least} and at most {MAX_POOL}"));
        }
    }
    if let (Some(Int32(min)), Some(Int32(max))) = (min, max)
        && min > max
    {
        found.add("min_size", "value must be at most max_size");
    }
}
