//! Texts of which it is known what they may be: a rule that compares one with anything else would hold nobody.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

use super::values::{PROTOCOLS, WEEKDAYS};
use crate::{
    call::Scope,
    proto::gitpod::v1::{PrebuildPhase, prebuild_metadata::PrebuildTrigger},
    rpc::{self, Class},
};

/// Beyond every number that the API has for a phase or a trigger.
const NUMBERS: i32 = 1024;

/// What the rule compares such a text with that it can never be.
pub(super) fn unheard_of(policy: &Policy) -> Vec<String> {
    let mut problems = BTreeSet::new();
    if let Ok(json) = policy.to_json() {
        walk(json.get("conditions").unwrap_or(&Value::Null), &mut problems);
    }
    problems.into_iter().collect()
}

/// As deep as a rule may nest, which is bounded.
fn walk(json: &Value, problems: &mut BTreeSet<String>) {
    match json {
        Value::Array(values) => values.iter().for_each(|value| walk(value, problems)),
        Value::Object(values) => {
            if let (Some(left), Some(right)) = (values.get("left"), values.get("right")) {
                compare(left, right, problems);
                compare(right, left, problems);
            }
            values.values().for_each(|value| walk(value, problems));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn compare(attribute: &Value, with: &Value, problems: &mut BTreeSet<String>) {
    let Some(name) = attribute.pointer("/./attr").and_then(Value::as_str) else { return };
    let Some(known) = closed(name) else { return };
    let mut texts = Vec::new();
    literals(with, &mut texts);
    for text in texts.into_iter().filter(|text| !known.contains(text)) {
        problems.insert(format!("`{name}` is never {text:?}: there are {}", known.join(", ")));
    }
}

/// A text, or those of a set.
fn literals<'j>(json: &'j Value, texts: &mut Vec<&'j str>) {
    let Value::Object(node) = json else { return };
    let values = match (node.get("Value"), node.get("Set")) {
        (Some(Value::String(text)), _) => return texts.push(text),
        (Some(Value::Array(plain)), _) => return texts.extend(plain.iter().filter_map(Value::as_str)),
        (_, Some(Value::Array(values))) => values,
        _ => return,
    };
    values.iter().for_each(|value| literals(value, texts));
}

fn closed(attribute: &str) -> Option<Vec<&'static str>> {
    let numbers = || 1..NUMBERS;
    match attribute {
        "weekday" => Some(WEEKDAYS.to_vec()),
        "protocol" => Some(PROTOCOLS.to_vec()),
        "desired_phase" | "filter_phases" => {
            let phases = numbers().filter_map(|number| PrebuildPhase::try_from(number).ok());
            Some(phases.map(|phase| phase.as_str_name()).collect())
        }
        "filter_triggers" => {
            let triggers = numbers().filter_map(|number| PrebuildTrigger::try_from(number).ok());
            Some(triggers.map(|trigger| trigger.as_str_name()).collect())
        }
        "scopes" => {
            let classes = Class::ALL.iter().map(|class| class.as_str());
            let methods = rpc::methods().map(|method| method.name);
            Some(classes.chain([Scope::Explain.as_str()]).chain(methods).collect())
        }
        _ => None,
    }
}
