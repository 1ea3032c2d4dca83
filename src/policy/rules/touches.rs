//! What of a call a rule looks at.

use cedar_policy::{Policy, ResourceConstraint};
use serde_json::Value;

use super::unknown::FilterOf;

/// What a rule looks at and a call may not say. Rather too much than too little: what is not known then is a failure of
/// the rule, where it would else be a way around it.
#[derive(Clone, Debug)]
pub(super) struct Touches {
    /// More of the resource than its type and id.
    pub(super) object: bool,
    pub(super) sizes: bool,
    pub(super) class: bool,
    pub(super) address: bool,
    pub(super) filters: Vec<&'static FilterOf>,
}

impl Touches {
    /// By the names in the rule's JSON form, wherever they stand. What has no such form may look at anything.
    pub(super) fn of(policy: &Policy) -> Self {
        let json = policy.to_json().ok();
        let conditions = json.as_ref().map(|json| json.get("conditions").unwrap_or(&Value::Null));
        let names = |wanted: &[&str]| conditions.is_none_or(|conditions| is_named(conditions, wanted));
        let is_within =
            matches!(policy.resource_constraint(), ResourceConstraint::In(_) | ResourceConstraint::IsIn(..));
        Self {
            // What the sizes of a pool are after an update depends on the pool.
            object: is_within || names(&["resource", "min_size", "max_size", "largest_size"]),
            sizes: names(&["min_size", "max_size", "desired_size", "largest_size"]),
            class: names(&["environment_class", "EnvironmentClass"]),
            address: names(&["client_address"]),
            filters: FilterOf::named(|name| names(&[name])),
        }
    }

    /// Whether the other one looks at all of it, too.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let Self { object, sizes, class, address, filters } = self;
        let pairs = [
            (*object, other.object),
            (*sizes, other.sizes),
            (*class, other.class),
            (*address, other.address),
        ];
        let names = |filter: &&FilterOf| other.filters.iter().any(|known| known.name == filter.name);
        pairs.into_iter().all(|(own, theirs)| !own || theirs) && filters.iter().all(names)
    }

    /// What a call by id does not say itself.
    pub(super) fn is_looked_up(&self) -> bool {
        self.object || self.class
    }
}

/// As deep as a rule may nest, which is bounded.
fn is_named(json: &Value, wanted: &[&str]) -> bool {
    match json {
        Value::String(text) => wanted.contains(&text.as_str()),
        Value::Array(values) => values.iter().any(|value| is_named(value, wanted)),
        Value::Object(values) => {
            values.iter().any(|(key, value)| wanted.contains(&key.as_str()) || is_named(value, wanted))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
