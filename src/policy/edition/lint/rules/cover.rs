//! Rules that make no difference beside another one.

use cedar_policy::{EntityUid, PrincipalConstraint, ResourceConstraint};
use serde_json::Value;

use super::{kind, org_of};
use crate::{
    policy::rules::{Otherwise, Written},
    rule::Mode,
};

/// What of a call a head asks for.
#[derive(Debug)]
enum Head {
    Anything,
    This(EntityUid),
    /// It, or what is in it.
    Within(EntityUid),
}

/// Why it makes none.
pub(super) fn problem(rule: &Written<'_>, all: &[Written<'_>], otherwise: Otherwise) -> Option<String> {
    let is_enforced = rule.stance().mode == Mode::Enforce;
    if rule.is_permit() && is_enforced && otherwise == Otherwise::Permit {
        return Some("permits only what passes anyway: rules.default is \"permit\"".to_owned());
    }
    let own = all.iter().position(|other| other.id() == rule.id());
    let others = all.iter().enumerate().filter(|(index, _)| Some(*index) != own);
    let others = others.filter(|(_, other)| other.is_always_in_force() && is_over(other, rule));
    let mut found = others.filter_map(|(index, other)| {
        let problem = beside(rule, other, own.is_some_and(|own| index < own))?;
        let (id, place) = (other.id(), other.place());
        Some(format!("{problem} of rule `{id}` ({place})"))
    });
    found.next()
}

/// What the rule is beside one that is in force for all calls that it may be about.
fn beside(rule: &Written<'_>, other: &Written<'_>, is_earlier: bool) -> Option<&'static str> {
    let (own, theirs) = (conditions(rule), conditions(other));
    let is_same = own == theirs && is_over(rule, other) && rule.is_permit() == other.is_permit();
    if is_same && rule.is_always_in_force() {
        // It is enough to be told of one of the two.
        return is_earlier.then_some("makes no difference: it is a copy");
    }
    let is_part = theirs.iter().all(|condition| own.contains(condition));
    match (rule.is_permit(), other.is_permit()) {
        // It must not fail either where the other is kept: what comes first is evaluated first.
        (false, false) => {
            let is_part =
                own.starts_with(&theirs) && (theirs.is_empty() || rule.looks_no_further_than(other));
            is_part.then_some("is never broken by itself: it is a part")
        }
        (true, false) => is_part.then_some("never permits a call: it is a part"),
        // One that is only looked at may be meant to take the other's place.
        (true, true) => (is_part && rule.stance().mode == Mode::Enforce)
            .then_some("permits nothing by itself: it is a part"),
        (false, true) => None,
    }
}

/// In their order; all of them have to hold.
fn conditions(rule: &Written<'_>) -> Vec<Value> {
    let json = rule.policy().to_json().ok();
    let conditions = json.as_ref().and_then(|json| json.get("conditions")?.as_array().cloned());
    // What has no such form is like nothing else.
    conditions.unwrap_or_else(|| vec![Value::String(rule.id().to_owned())])
}

/// Whether the one's head means all that the other's may mean.
fn is_over(rule: &Written<'_>, other: &Written<'_>) -> bool {
    rule.methods().is_superset(other.methods())
        && principal(rule).is_over(&principal(other))
        && resource(rule).is_over(&resource(other))
}

fn principal(rule: &Written<'_>) -> Head {
    match rule.policy().principal_constraint() {
        // There is but one type.
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Head::Anything,
        PrincipalConstraint::Eq(uid) => Head::This(uid),
        PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => Head::Within(uid),
    }
}

fn resource(rule: &Written<'_>) -> Head {
    match rule.policy().resource_constraint() {
        // The type follows from the method.
        ResourceConstraint::Any | ResourceConstraint::Is(_) => Head::Anything,
        ResourceConstraint::Eq(uid) => Head::This(uid),
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Head::Within(uid),
    }
}

impl Head {
    fn is_over(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anything, _) => true,
            (Self::This(uid), Self::This(other)) => uid == other,
            (Self::Within(uid), Self::This(other) | Self::Within(other)) => {
                let is_of_org =
                    kind(uid) == "org" && kind(other) == "subject" && org_of(uid) == org_of(other);
                uid == other || is_of_org
            }
            (Self::This(_) | Self::Within(_), _) => false,
        }
    }
}
