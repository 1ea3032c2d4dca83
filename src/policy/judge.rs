//! Judges a call by the typed limits: pure functions of what the effective request states.
//!
//! What is absent counts as the most that upstream may make of it: it is never laxer than what is present.

use std::{borrow::Cow, time::Duration};

use super::{
    applied::Limits,
    bounds::{DEFAULT_PAGE_SIZE, DEFAULT_TIMEOUT, MAX_POOL_SIZE, MIN_POOL_SIZE},
};
use crate::{
    rpc::{Facts, MethodSpec, Object},
    rule::{Applied, Need, Outcome, Ruling, Selection},
};

#[cfg(test)]
mod tests;

/// Proto paths of what the limits are about; whether a limit is about a method follows from its request.
const TIMEOUT: &str = "spec.timeout";
const MIN_SIZE: &str = "min_size";
const MAX_SIZE: &str = "max_size";
const DESIRED_SIZE: &str = "desired_size";
const PAGE_SIZE: &str = "pagination.page_size";
const PROJECT: &str = "project_id";
const CLASS: &str = "environment_class_id";
/// Ids that a bound names; of more it says how many there are.
const MAX_NAMED: usize = 4;

/// In what a limit is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Breach {
    outcome: Outcome,
    field: &'static str,
    bound: Cow<'static, str>,
}

/// The sizes that a pool would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effective {
    pub(super) min: i32,
    pub(super) max: i32,
    /// What it may grow to.
    pub(super) largest: i32,
}

/// One kind of thing that a selection lets through.
#[derive(Clone, Copy)]
struct Selected<'c> {
    /// The request's own field.
    field: &'static str,
    stated: Option<&'c str>,
    of: fn(&Object) -> &str,
    one: &'static str,
    many: &'static str,
}

/// Whether the method may be called at all, which no look-up is needed for.
pub fn method(method: &MethodSpec, limits: &Limits) -> Vec<Ruling> {
    let mut rulings = Vec::new();
    each(&mut rulings, &limits.methods, |methods| match methods.admits(method) {
        true => Ok(()),
        false => Err(Breach::of("", "the method is not allowed")),
    });
    rulings
}

/// Whose and what the object is that the call is about: a ruling for every limit on it. Whoever is refused for it learns
/// nothing more of the object.
pub fn object(method: &'static MethodSpec, facts: &Facts, limits: &Limits) -> Vec<Ruling> {
    let mut rulings = Vec::new();
    for (selected, limits) in selections(facts, limits) {
        if selected.is_of_object(method) {
            each(&mut rulings, limits, |selection| selected.object(facts, selection));
        }
    }
    rulings
}

/// What the request states, and what it would make of the object: a ruling for every other limit that the method is
/// about.
pub fn request(method: &'static MethodSpec, facts: &Facts, limits: &Limits) -> Vec<Ruling> {
    let mut rulings = Vec::new();
    if method.takes(TIMEOUT) {
        each(&mut rulings, &limits.max_timeout, |max| timeout(facts, *max));
    }
    if method.takes(MAX_SIZE) {
        each(&mut rulings, &limits.min_pool_size, |min| min_size(facts, *min));
        each(&mut rulings, &limits.max_pool_size, |max| max_size(facts, *max));
    }
    for (selected, limits) in selections(facts, limits) {
        if method.takes(selected.field) {
            each(&mut rulings, limits, |selection| selected.request(selection));
        } else if method.paged().is_some() {
            // Of a list no more than that is shown.
            each(&mut rulings, limits, |_| Ok(()));
        }
    }
    if method.takes(PAGE_SIZE) {
        each(&mut rulings, &limits.max_page_size, |max| page_size(facts, *max));
    }
    rulings
}

/// Whether a limit cannot be judged without the object that the call is about.
pub fn needs_object(method: &'static MethodSpec, facts: &Facts, limits: &Limits) -> Need {
    if method.lookup.is_none() {
        return Need::Not;
    }
    let selecting =
        selections(facts, limits).into_iter().filter(|(selected, _)| !method.takes(selected.field));
    let selecting = selecting.flat_map(|(_, limits)| limits).filter(|limit| !limit.value.is_all());
    let selecting = selecting.map(|limit| Need::of(limit.is_enforced()));
    let (min, max) = facts.sizes.bounds();
    let lacks_sizes = method.takes(MAX_SIZE) && (min.is_none() || max.is_none());
    let sizing = limits.min_pool_size.iter().chain(&limits.max_pool_size).filter(|_| lacks_sizes);
    selecting.chain(sizing.map(|limit| Need::of(limit.is_enforced()))).max().unwrap_or_default()
}

fn each<T>(rulings: &mut Vec<Ruling>, limits: &[Applied<T>], judge: impl Fn(&T) -> Result<(), Breach>) {
    rulings.extend(limits.iter().map(|limit| match judge(&limit.value) {
        Ok(()) => limit.ruling(Outcome::Kept),
        Err(Breach { outcome, field: "", bound }) => limit.ruling(outcome).within(bound),
        Err(Breach { outcome, field, bound }) => limit.ruling(outcome).on(field).within(bound),
    }));
}

fn selections<'c>(facts: &'c Facts, limits: &'c Limits) -> [(Selected<'c>, &'c [Applied<Selection>]); 2] {
    let projects = Selected {
        field: PROJECT,
        stated: facts.project.as_deref(),
        of: |object| &object.project,
        one: "project",
        many: "projects",
    };
    let classes = Selected {
        field: CLASS,
        stated: facts.class.as_deref(),
        of: |object| &object.class,
        one: "class",
        many: "classes",
    };
    [(projects, &limits.projects), (classes, &limits.environment_classes)]
}

fn timeout(facts: &Facts, max: Duration) -> Result<(), Breach> {
    let is_within = match facts.timeout {
        Some(timeout) => timeout.length().is_some_and(|length| length <= max),
        None => DEFAULT_TIMEOUT <= max,
    };
    let absent = || match facts.timeout {
        Some(_) => String::new(),
        None => format!("; absent is {}s", DEFAULT_TIMEOUT.as_secs()),
    };
    match is_within {
        true => Ok(()),
        false => Err(Breach::of(TIMEOUT, format!("must be at most {}s{}", max.as_secs_f64(), absent()))),
    }
}

/// The sizes that the pool would have. What neither the request nor the pool says may be anything.
pub(super) fn effective(facts: &Facts) -> Effective {
    let (min, max) = facts.sizes.bounds();
    let present = facts.resource.as_ref().map(|pool| pool.sizes.bounds());
    let (present_min, present_max) = present.unwrap_or_default();
    let min = min.or(present_min).unwrap_or(MIN_POOL_SIZE);
    let max = max.or(present_max).unwrap_or(MAX_POOL_SIZE);
    Effective { min, max, largest: max.max(min).max(facts.sizes.desired.unwrap_or(max)) }
}

fn min_size(facts: &Facts, bound: i32) -> Result<(), Breach> {
    let min = effective(facts).min;
    let sets_both = facts.sizes.min.is_none() && facts.sizes.max.is_none() && facts.sizes.desired.is_some();
    let field = if sets_both { DESIRED_SIZE } else { MIN_SIZE };
    let is_known = is_known(facts, facts.sizes.bounds().0);
    if min >= bound {
        Ok(())
    } else {
        Err(Breach::of(field, format!("must be at least {bound}")).known(is_known))
    }
}

fn max_size(facts: &Facts, bound: i32) -> Result<(), Breach> {
    if effective(facts).largest <= bound {
        return Ok(());
    }
    let given =
        [(MAX_SIZE, facts.sizes.max), (DESIRED_SIZE, facts.sizes.desired), (MIN_SIZE, facts.sizes.min)];
    let above = given.into_iter().find(|(_, size)| size.is_some_and(|size| size > bound));
    let field = above.map_or(MAX_SIZE, |(field, _)| field);
    let is_known = above.is_some() || is_known(facts, facts.sizes.bounds().1);
    Err(Breach::of(field, format!("must be at most {bound}")).known(is_known))
}

/// Whether a bound that the pool would have is more than the most that it may be.
fn is_known(facts: &Facts, given: Option<i32>) -> bool {
    given.is_some() || facts.pool.is_none() || facts.resource.as_ref().is_some_and(Object::is_pool)
}

fn page_size(facts: &Facts, max: i32) -> Result<(), Breach> {
    match facts.page_size.unwrap_or(DEFAULT_PAGE_SIZE) <= max {
        true => Ok(()),
        false => Err(Breach::of(PAGE_SIZE, format!("must be at most {max}"))),
    }
}

impl Breach {
    fn of(field: &'static str, bound: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome: Outcome::Broken, field, bound: bound.into() }
    }

    fn known(self, is_known: bool) -> Self {
        if is_known { self } else { Self { outcome: Outcome::Failed, ..self } }
    }
}

impl Selected<'_> {
    /// The request names the object, and nothing of what it is.
    fn is_of_object(self, method: &'static MethodSpec) -> bool {
        !method.takes(self.field) && method.paged().is_none() && method.lookup.is_some()
    }

    /// Whoever names nothing leaves it to upstream, which may choose anything.
    fn request(self, selection: &Selection) -> Result<(), Breach> {
        match self.stated {
            Some(id) if selection.admits(id) => Ok(()),
            Some(_) => Err(Breach::of(self.field, self.bound(selection))),
            None if selection.is_all() => Ok(()),
            None => Err(Breach::of(self.field, format!("name the {}", self.one))),
        }
    }

    fn object(self, facts: &Facts, selection: &Selection) -> Result<(), Breach> {
        let field = if facts.pool.is_some() { "warm_pool_id" } else { "prebuild_id" };
        match &facts.resource {
            Some(object) if selection.admits((self.of)(object)) => Ok(()),
            None if selection.is_all() => Ok(()),
            resource => {
                let outcome = if resource.is_some() { Outcome::Broken } else { Outcome::Failed };
                Err(Breach { outcome, ..Breach::of(field, self.bound(selection)) })
            }
        }
    }

    fn bound(self, selection: &Selection) -> String {
        let allow = selection.allow.as_ref().map(|allow| allow.difference(&selection.deny));
        match allow {
            Some(allowed) if allowed.clone().count() <= MAX_NAMED => {
                let names: Vec<_> = allowed.map(ToString::to_string).collect();
                format!("{} must be allowed: {}", self.one, names.join(", "))
            }
            Some(allowed) => format!("{} must be one of the {} allowed", self.one, allowed.count()),
            None => format!("{} must be none of the {} denied {}", self.one, selection.deny.len(), self.many),
        }
    }
}
