//! A rule as it is written, for whoever weighs rules against each other.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy};

use super::{Rules, rule::Rule};
use crate::{
    rpc::{self, MethodSpec},
    rule::{Mode, Stance},
};

/// The rule, and what it may say anything of.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Written<'r> {
    rule: &'r Rule,
    methods: BTreeSet<&'static str>,
}

impl Rules {
    /// In their order.
    pub(in crate::policy) fn written(&self) -> impl Iterator<Item = Written<'_>> {
        self.rules.iter().enumerate().map(|(index, rule)| {
            let is_of = |method: &&MethodSpec| {
                self.plans.get(method.path).is_some_and(|plan| plan.rules.contains(&index))
            };
            Written { rule, methods: rpc::methods().filter(is_of).map(|method| method.name).collect() }
        })
    }
}

impl<'r> Written<'r> {
    /// Without what all rules' ids begin with.
    pub(in crate::policy) fn id(&self) -> &'r str {
        self.rule.policy.id().as_ref()
    }

    /// The file and the line.
    pub(in crate::policy) fn place(&self) -> &'r str {
        &self.rule.place
    }

    pub(in crate::policy) fn policy(&self) -> &'r Policy {
        &self.rule.policy
    }

    pub(in crate::policy) fn stance(&self) -> Stance {
        self.rule.stance
    }

    pub(in crate::policy) fn is_permit(&self) -> bool {
        self.rule.is_permit()
    }

    pub(in crate::policy) fn is_always_in_force(&self) -> bool {
        self.stance().mode == Mode::Enforce && self.stance().share.is_whole()
    }

    /// The orgs and subjects that it names, in its head or elsewhere.
    pub(in crate::policy) fn callers(&self) -> &'r [EntityUid] {
        &self.rule.callers
    }

    /// By their names.
    pub(in crate::policy) fn methods(&self) -> &BTreeSet<&'static str> {
        &self.methods
    }

    /// Whether everything that it looks at, and that may be unknown, the other one looks at, too.
    pub(in crate::policy) fn looks_no_further_than(&self, other: &Self) -> bool {
        self.rule.touches.is_within(&other.rule.touches)
    }
}
