//! What a rule looks at and a call does not say, or nobody knows: the rule fails. Absence is never a way around it.

use super::{Plan, Question, rule::Rule, schema::About};
use crate::{
    rpc::{Facts, Object},
    rule::Ruling,
};

/// The filters of lists: what of its facts, as rules name it, by its proto path, and what its caller is asked for. A
/// list without a filter shows more than one with any.
const FILTERS: [FilterOf; 6] = [
    FilterOf {
        name: "filter_projects",
        field: "filter.project_ids",
        asked: "name the projects: a rule looks at them",
        is_empty: |facts| facts.filter.projects.is_empty(),
    },
    FilterOf {
        name: "filter_environment_classes",
        field: "filter.environment_class_ids",
        asked: "name the classes: a rule looks at them",
        is_empty: |facts| facts.filter.classes.is_empty(),
    },
    FilterOf {
        name: "filter_creators",
        field: "filter.creator_ids",
        asked: "name the creators: a rule looks at them",
        is_empty: |facts| facts.filter.creators.is_empty(),
    },
    FilterOf {
        name: "filter_executors",
        field: "filter.executor_ids",
        asked: "name the executors: a rule looks at them",
        is_empty: |facts| facts.filter.executors.is_empty(),
    },
    FilterOf {
        name: "filter_phases",
        field: "filter.phases",
        asked: "name the phases: a rule looks at them",
        is_empty: |facts| facts.filter.phases.is_empty(),
    },
    FilterOf {
        name: "filter_triggers",
        field: "filter.triggered_by",
        asked: "name the triggers: a rule looks at them",
        is_empty: |facts| facts.filter.triggers.is_empty(),
    },
];

/// A filter of a list.
#[derive(Debug)]
pub(super) struct FilterOf {
    pub(super) name: &'static str,
    field: &'static str,
    asked: &'static str,
    is_empty: fn(&Facts) -> bool,
}

/// What is not known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unknown {
    Class,
    Filter(&'static FilterOf),
    Object,
    Address,
}

impl Plan {
    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute.name == name)
    }

    pub(super) fn unknown(&self, rule: &Rule, question: &Question<'_>) -> Option<Unknown> {
        let (touches, facts) = (&rule.touches, question.facts);
        if touches.address && question.peer.is_none() {
            return Some(Unknown::Address);
        }
        if touches.class && self.has("environment_class") && facts.class.is_none() {
            return Some(Unknown::Class);
        }
        let open = touches.filters.iter().find(|filter| self.has(filter.name) && (filter.is_empty)(facts));
        if let Some(filter) = open {
            return Some(Unknown::Filter(filter));
        }
        if !self.about.is_object() || !touches.is_looked_up() {
            return None;
        }
        let lacks = |object: &Object| {
            object.project.is_empty()
                || (touches.class && object.class.is_empty())
                || (touches.sizes && self.about == About::WarmPool && object.sizes.is_empty())
        };
        facts.resource.as_ref().is_none_or(lacks).then_some(Unknown::Object)
    }
}

impl FilterOf {
    /// Those of these that a rule names.
    pub(super) fn named(is_named: impl Fn(&str) -> bool) -> Vec<&'static Self> {
        FILTERS.iter().filter(|filter| is_named(filter.name)).collect()
    }
}

impl Unknown {
    pub(super) fn tell(self, ruling: Ruling) -> Ruling {
        match self {
            Self::Class => ruling.on("environment_class_id").within("must be given: a rule looks at it"),
            Self::Filter(filter) => ruling.on(filter.field).within(filter.asked),
            Self::Object | Self::Address => ruling,
        }
    }
}
