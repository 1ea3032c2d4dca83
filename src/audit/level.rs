//! How much records tell, by method and org: the levels of Kubernetes' audit policy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    call::OrgId,
    rpc::{self, Class, MethodSpec},
};

#[cfg(test)]
mod tests;

/// How much the records of a call tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// There is no record. For reads alone.
    None,
    /// Who calls, from where, what policy sees, and what became of it.
    #[default]
    Metadata,
    /// Also the request message, redacted.
    Request,
    /// Also the answer's message, redacted.
    RequestResponse,
}

/// `[audit.level]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Levels {
    /// Of what nothing more is said.
    pub default: Level,
    /// By method (`ListPrebuilds`) or class (`read`, `mutate`, `secret`); a method's own counts more.
    pub methods: BTreeMap<String, Level>,
    /// By org; what is said of the org counts more than what is said of all.
    pub orgs: BTreeMap<OrgId, OrgLevels>,
}

/// `[audit.level.orgs.<org>]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrgLevels {
    pub default: Option<Level>,
    pub methods: BTreeMap<String, Level>,
}

/// A level that cannot be: by its key below `audit.level`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit.level.{key}: {problem}")]
pub struct Invalid {
    pub key: String,
    pub problem: &'static str,
}

const UNKNOWN_METHOD: &str =
    "must be `read`, `mutate`, `secret` or the name of a method, like `CreatePrebuild`";
const UNKNOWN_ORG: &str = "is the id of no org";
const NEVER_NONE: &str = "must not be `none`: only reads may leave no record";

impl Levels {
    /// The level of a call.
    pub fn of(&self, org: &OrgId, method: &MethodSpec) -> Level {
        let own = self.orgs.get(org);
        let level = own
            .and_then(|own| named(&own.methods, method).or(own.default))
            .or_else(|| named(&self.methods, method))
            .unwrap_or(self.default);
        // Checked at start, too: what has an effect has a record.
        if method.class == Class::Read { level } else { level.max(Level::Metadata) }
    }

    /// # Errors
    /// A method or org that is not there, or `none` for what is not a read.
    pub fn check(&self, mut is_org: impl FnMut(&OrgId) -> bool) -> Result<(), Invalid> {
        check("", Some(self.default), &self.methods)?;
        for (org, own) in &self.orgs {
            let key = format!("orgs.{org}");
            if !is_org(org) {
                return Err(Invalid { key, problem: UNKNOWN_ORG });
            }
            check(&format!("{key}."), own.default, &own.methods)?;
        }
        Ok(())
    }
}

fn named(levels: &BTreeMap<String, Level>, method: &MethodSpec) -> Option<Level> {
    levels.get(method.name).or_else(|| levels.get(method.class.as_str())).copied()
}

fn check(within: &str, default: Option<Level>, methods: &BTreeMap<String, Level>) -> Result<(), Invalid> {
    let invalid = |key: &str, problem| Err(Invalid { key: format!("{within}{key}"), problem });
    if default == Some(Level::None) {
        return invalid("default", NEVER_NONE);
    }
    for (name, level) in methods {
        let key = format!("methods.{name}");
        match class(name) {
            None => return invalid(&key, UNKNOWN_METHOD),
            Some(Class::Mutate | Class::Secret) if *level == Level::None => return invalid(&key, NEVER_NONE),
            Some(Class::Read | Class::Mutate | Class::Secret) => {}
        }
    }
    Ok(())
}

/// The class of a method, or of methods.
fn class(name: &str) -> Option<Class> {
    let by_class = Class::ALL.into_iter().find(|class| class.as_str() == name);
    by_class.or_else(|| rpc::methods().find(|method| method.name == name).map(|method| method.class))
}
