//! The policy file as it is written: all that operators tune, in one text.
//!
//! ```toml
//! [limits]
//! max_timeout = "1h"
//! max_pool_size = { value = 5, mode = "warn" }
//! [orgs.acme.limits]
//! max_timeout = "2h"
//! ```

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::Deserialize;

use super::rules::Otherwise;
use crate::{
    call::{OrgId, SubjectId},
    file::form::{self, Misfit},
    rule::Rate,
};

mod entry;
mod selected;
mod tables;

pub use entry::{Entry, Span};
pub use selected::{Allow, Selected};
pub use tables::Creates;

/// The file. What stands on top is every org's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// The author's own name of this state of the file, shown beside its version: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub revision: Option<String>,
    pub limits: Limits,
    pub rates: Rates,
    /// What calls of a method take of each rate, by the method's name: at least 1. Default: 1.
    pub costs: BTreeMap<String, NonZeroU32>,
    pub budgets: Budgets,
    pub rules: Rules,
    /// What stands over it, by the org's id.
    pub orgs: BTreeMap<OrgId, Org>,
}

/// `[orgs.ID]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Org {
    pub limits: Limits,
    pub rates: Rates,
    pub budgets: Budgets,
    /// What stands over that, by the subject.
    pub subjects: BTreeMap<SubjectId, Subject>,
}

/// `[orgs.ID.subjects.NAME]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Subject {
    pub limits: Limits,
    pub rates: SubjectRates,
}

/// `[limits]`: tighter than the API's own, never wider.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Methods that may be called, by name or by class (`read`, `mutate`, `secret`).
    pub methods: Option<Entry<Selected>>,
    /// Of a prebuild's timeout, 1 s to 2 h. A request without one counts as 60 min, or as `default_timeout`.
    pub max_timeout: Option<Entry<Span>>,
    /// Of a warm pool's `min_size`, 0 to 20.
    pub min_pool_size: Option<Entry<i64>>,
    /// Of every size of a warm pool, 0 to 20.
    pub max_pool_size: Option<Entry<i64>>,
    /// Of a list's page, 1 to 100. A request without one counts as 25.
    pub max_page_size: Option<Entry<i64>>,
    /// Projects that calls may be about, by id; at most 25 in `allow`. With mode `warn` or `enforce` for all calls
    /// (`share` 1), as lists are narrowed by it.
    pub projects: Option<Entry<Selected>>,
    /// Environment classes that prebuilds and warm pools may have, by id; `share` as of `projects`.
    pub environment_classes: Option<Entry<Selected>>,
    /// Calls of the org in flight, at least 1; not of a subject. Default: a quarter of the gateway's `limits.in_flight`.
    pub in_flight: Option<Entry<i64>>,
    /// Written into a request for a prebuild that has no timeout, 1 s to 2 h. Default: upstream's own, 60 min.
    pub default_timeout: Option<Span>,
    /// Written into a request for a prebuild that names no environment class: the class by the project, both by id.
    pub default_environment_classes: BTreeMap<String, String>,
}

/// `[rates]`: requests in time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Of all callers of an org together.
    pub org: RateSet,
    /// Of each subject of an org.
    pub subject: RateSet,
}

/// `[orgs.ID.subjects.NAME.rates]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubjectRates {
    pub subject: RateSet,
}

/// What is counted apart. Every call counts in `all`, and in one of the others.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateSet {
    /// Default, of an org: 50 per second, bursts of 100.
    pub all: Option<Entry<Rate>>,
    pub read: Option<Entry<Rate>>,
    /// What changes something or returns a secret, and is not `expensive`.
    pub mutate: Option<Entry<Rate>>,
    /// What starts machines: `CreatePrebuild`, `CreateWarmPool`, `UpdateWarmPool`.
    pub expensive: Option<Entry<Rate>>,
}

/// `[budgets]`: what may be outstanding upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// Over all projects of an org.
    pub org: BudgetSet,
    /// Of each project.
    pub project: BudgetSet,
}

/// What is counted there.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetSet {
    /// Prebuilds that have not ended, 0 to 10000.
    pub running_prebuilds: Option<Entry<i64>>,
    /// Sum of `max_size` over all warm pools, 0 to 1000000.
    pub warm_instances: Option<Entry<i64>>,
    /// Creations of prebuilds in any stretch of a length, 0 to 10000.
    pub creates: Option<Entry<Creates>>,
}

/// `[rules]`: rules in Cedar.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Relative to the directory of the policy file, and below it; at most 32.
    pub files: Vec<String>,
    /// What becomes of a call that no rule permits or forbids.
    pub default: Otherwise,
}

impl Document {
    /// # Errors
    /// The text is not TOML, or not of this form.
    pub fn parse(text: &str) -> Result<Self, Misfit> {
        // A policy holds no secrets.
        form::read(text, |_| None)
    }
}
