//! The rules of the API: pure functions of a call's facts, every violation at once.

use std::{borrow::Cow, fmt::Display};

use tonic_types::pb;
use uuid::Uuid;

use super::{
    Stricter,
    bounds::{
        MAX_FILTER_IDS, MAX_FILTER_PHASES, MAX_FILTER_TRIGGERS, MAX_PAGE_SIZE, MAX_POOL_SIZE, MAX_TIMEOUT,
        STRICTER_MIN_POOL_SIZE, STRICTER_MIN_TIMEOUT,
    },
};
use crate::{
    error::{Error, Reason},
    proto::gitpod::v1::{PrebuildPhase, prebuild_metadata::PrebuildTrigger},
    rpc::{Facts, Filter, MethodSpec, Required, Sizes, Timeout},
};

#[cfg(test)]
mod tests;

/// Nanoseconds of one second; a protobuf duration's `nanos` stays below it.
const NANOS: i32 = 1_000_000_000;
/// Details travel in a header, and gRPC clients take 8 KiB of headers by default.
const MAX_SHOWN: usize = 40;

/// Which kind of rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// A bound that only the official schema has.
    Stricter,
    /// A rule of the API itself.
    Guardrail,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub tier: Tier,
    /// The proto field path.
    pub field: Cow<'static, str>,
    /// Rule and bound, without the offending value.
    pub description: Cow<'static, str>,
}

/// All broken rules of one request; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} rules are broken", .0.len())]
pub struct Violations(Vec<Violation>);

/// Gathers violations.
#[derive(Debug)]
struct Check {
    stricter: Stricter,
    violations: Vec<Violation>,
}

/// What the message alone can show wrong.
///
/// # Errors
/// Every violation, in the order of the fields.
pub fn message(method: &MethodSpec, facts: &Facts, stricter: Stricter) -> Result<(), Violations> {
    let mut check = Check { stricter, violations: Vec::new() };
    check.required(method.requires, facts);
    check.ids(facts);
    if let Some(timeout) = facts.timeout {
        check.timeout(timeout);
    }
    if let Some(phase) = facts.desired_phase {
        check.defined("spec.desired_phase", PrebuildPhase::is_valid(phase));
    }
    check.sizes(facts.sizes);
    if let Some(size) = facts.page_size {
        check.range("pagination.page_size", size, MAX_PAGE_SIZE);
    }
    check.filter(&facts.filter);
    check.done()
}

/// What only shows beside the object that the call is about: one bound of a pool against the other one, present now.
///
/// # Errors
/// `min_size` and `max_size` would cross, or leave `desired_size` outside.
pub fn resolved(facts: &Facts) -> Result<(), Violations> {
    let mut check = Check { stricter: Stricter::Forward, violations: Vec::new() };
    // One bound that is changed is held against the present other one. Both, or a desired size alone, replace what was.
    if let Some(pool) = facts.resource.as_ref().filter(|_| facts.sizes.lack_one_bound()) {
        let (min, max) = pool.sizes.bounds();
        let sizes = Sizes {
            desired: facts.sizes.desired,
            min: facts.sizes.min.or(min),
            max: facts.sizes.max.or(max),
        };
        check.order(sizes, facts.sizes);
    }
    check.done()
}

impl Check {
    fn done(self) -> Result<(), Violations> {
        if self.violations.is_empty() { Ok(()) } else { Err(Violations(self.violations)) }
    }

    fn guardrail(&mut self, field: impl Into<Cow<'static, str>>, description: impl Into<Cow<'static, str>>) {
        self.violations.push(Violation {
            tier: Tier::Guardrail,
            field: field.into(),
            description: description.into(),
        });
    }

    fn stricter(&mut self, field: &'static str, description: impl Display) {
        if self.stricter == Stricter::Enforce {
            self.violations.push(Violation {
                tier: Tier::Stricter,
                field: field.into(),
                description: description.to_string().into(),
            });
        }
    }

    fn required(&mut self, required: &[Required], facts: &Facts) {
        for fact in required {
            let (field, present) = match fact {
                Required::Project => ("project_id", facts.project.is_some()),
                Required::Class => ("environment_class_id", facts.class.is_some()),
                Required::Prebuild => ("prebuild_id", facts.prebuild.is_some()),
                Required::Pool => ("warm_pool_id", facts.pool.is_some()),
                Required::Spec => ("spec", facts.spec),
            };
            if !present {
                self.guardrail(field, "is required");
            }
        }
    }

    fn ids(&mut self, facts: &Facts) {
        let ids = [
            ("project_id", &facts.project),
            ("environment_class_id", &facts.class),
            ("prebuild_id", &facts.prebuild),
            ("warm_pool_id", &facts.pool),
        ];
        for (field, id) in ids {
            if id.as_deref().is_some_and(|id| !is_uuid(id)) {
                self.guardrail(field, "must be a UUID");
            }
        }
    }

    /// Above 0 and at most 2 h, to the nanosecond. Seconds and nanos of different sign, or nanos of a second and more,
    /// are no duration at all (`google/protobuf/duration.proto`).
    fn timeout(&mut self, timeout: Timeout) {
        let Timeout { seconds, nanos } = timeout;
        let mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
        if mixed || !(-NANOS < nanos && nanos < NANOS) {
            self.guardrail("spec.timeout", "must be a valid duration");
            return;
        }
        let length = (seconds, i64::from(nanos));
        let at = |bound: std::time::Duration| (i64::try_from(bound.as_secs()).unwrap_or(i64::MAX), 0);
        if length <= (0, 0) {
            self.guardrail("spec.timeout", "must be above 0s");
        } else if length > at(MAX_TIMEOUT) {
            self.guardrail("spec.timeout", format!("must be at most {}s", MAX_TIMEOUT.as_secs()));
        } else if length < at(STRICTER_MIN_TIMEOUT) {
            self.stricter(
                "spec.timeout",
                format_args!("must be at least {}s", STRICTER_MIN_TIMEOUT.as_secs()),
            );
        }
    }

    /// Every size 0 to 20, min <= max, and a desired size beside a bound within it.
    fn sizes(&mut self, sizes: Sizes) {
        let fields = [("desired_size", sizes.desired), ("min_size", sizes.min), ("max_size", sizes.max)];
        for (field, size) in fields {
            let Some(size) = size else { continue };
            self.range(field, size, MAX_POOL_SIZE);
            if field != "min_size" && (0..STRICTER_MIN_POOL_SIZE).contains(&size) {
                self.stricter(field, format_args!("must be at least {STRICTER_MIN_POOL_SIZE}"));
            }
        }
        self.order(sizes, sizes);
    }

    /// `sizes` are the effective ones; the violation names a field that the request really has (`given`).
    fn order(&mut self, sizes: Sizes, given: Sizes) {
        let above = |low: Option<i32>, high: Option<i32>| low.zip(high).is_some_and(|(low, high)| low > high);
        if above(sizes.min, sizes.max) {
            match given.min {
                Some(_) => self.guardrail("min_size", "must be at most max_size"),
                None => self.guardrail("max_size", "must be at least min_size"),
            }
        }
        if above(sizes.min, sizes.desired) {
            self.guardrail("desired_size", "must be at least min_size");
        }
        if above(sizes.desired, sizes.max) {
            self.guardrail("desired_size", "must be at most max_size");
        }
    }

    fn filter(&mut self, filter: &Filter) {
        let ids = [
            ("filter.project_ids", &filter.projects),
            ("filter.environment_class_ids", &filter.classes),
            ("filter.creator_ids", &filter.creators),
            ("filter.executor_ids", &filter.executors),
        ];
        for (field, ids) in ids {
            self.count(field, ids.len(), MAX_FILTER_IDS);
            let within = ids.iter().take(MAX_FILTER_IDS).enumerate();
            for (index, _) in within.filter(|(_, id)| !is_uuid(id)) {
                self.guardrail(format!("{field}[{index}]"), "must be a UUID");
            }
        }
        self.values("filter.phases", &filter.phases, MAX_FILTER_PHASES, PrebuildPhase::is_valid);
        self.values("filter.triggered_by", &filter.triggers, MAX_FILTER_TRIGGERS, PrebuildTrigger::is_valid);
    }

    fn range(&mut self, field: &'static str, value: i32, max: i32) {
        if !(0..=max).contains(&value) {
            self.guardrail(field, format!("must be from 0 to {max}"));
        }
    }

    fn count(&mut self, field: &'static str, count: usize, max: usize) {
        if count > max {
            self.guardrail(field, format!("must have at most {max} items"));
        }
    }

    fn values(&mut self, field: &'static str, values: &[i32], max: usize, is_valid: fn(i32) -> bool) {
        self.count(field, values.len(), max);
        for (index, _) in values.iter().take(max).enumerate().filter(|(_, value)| !is_valid(**value)) {
            self.guardrail(format!("{field}[{index}]"), "must be a defined value");
        }
    }

    fn defined(&mut self, field: &'static str, valid: bool) {
        if !valid {
            self.guardrail(field, "must be a defined value");
        }
    }
}

/// The hyphenated form only: `Uuid` itself would also take braces, URNs and no hyphens, which upstream does not.
fn is_uuid(id: &str) -> bool {
    id.len() == 36 && Uuid::try_parse(id).is_ok()
}

impl Violations {
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }
}

impl Tier {
    fn reason(self) -> Reason {
        match self {
            Self::Stricter => Reason::StricterBound,
            Self::Guardrail => Reason::Guardrail,
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Stricter => "validation.stricter",
            Self::Guardrail => "validation.guardrails",
        }
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        // One guardrail among them makes it a guardrail refusal: fixing the stricter bounds alone would not help.
        let tier = violations.iter().map(|violation| violation.tier).max().unwrap_or(Tier::Guardrail);
        let mut field_violations: Vec<_> = violations.iter().take(MAX_SHOWN).map(Violation::detail).collect();
        if let Some(more @ 1..) = violations.0.len().checked_sub(MAX_SHOWN) {
            let description = format!("{more} more violations");
            field_violations.push(pb::bad_request::FieldViolation { description, ..Default::default() });
        }
        Self::refuse(tier.reason())
            .with_rule(tier.rule())
            .with_detail(&pb::BadRequest { field_violations })
            .with_source(violations)
    }
}

impl Violation {
    fn detail(&self) -> pb::bad_request::FieldViolation {
        pb::bad_request::FieldViolation {
            field: self.field.clone().into_owned(),
            description: self.description.clone().into_owned(),
            reason: self.tier.reason().as_str().to_owned(),
            ..Default::default()
        }
    }
}
