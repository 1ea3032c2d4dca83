//! The texts that a policy is read from: the policy file, and the rule files that it names.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Ground, document::Document};
use crate::{
    file::{self, Access, form::Misfit},
    rule::Version,
};

/// Rules by team or topic; each look reads all of them.
const MAX_RULE_FILES: usize = 32;

/// An operator who tightens a limit should not have to wait for it; each look reads a few files.
const DEFAULT_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// `[policy]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// The policy file. Anybody may read it, and the rule files that it names; only their owners may write them. All of
    /// them are read again when one changes, and taken as a whole or not at all.
    pub file: Option<PathBuf>,
    /// How often they are looked at. A change is taken once two looks in a row have seen it, so that no file is taken
    /// half written.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub reload_interval: Duration,
}

/// The texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    pub policy: String,
    /// By the names that the policy has for their files, in its order.
    pub rules: Vec<(String, String)>,
}

impl Default for Source {
    fn default() -> Self {
        Self { file: None, reload_interval: DEFAULT_RELOAD_INTERVAL }
    }
}

impl Texts {
    /// What the file holds now, and those that it names. May block.
    ///
    /// # Errors
    /// One cannot be read, or others may write it.
    pub fn read(path: &Path) -> Result<Self, Misfit> {
        let policy = file::read_text(path, Access::Guarded).map_err(|fault| Misfit::new("", fault))?;
        // What is wrong with the text is said when it is judged.
        let Ok(Document { rules, .. }) = Document::parse(&policy) else {
            return Ok(Self { policy, rules: Vec::new() });
        };
        check_names(&rules.files)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let texts = rules.files.into_iter().enumerate().map(|(index, name)| {
            let text = file::read_text(&directory.join(&name), Access::Guarded)
                .map_err(|fault| Misfit::new(key(index), format_args!("`{name}` {fault}")))?;
            Ok((name, text))
        });
        let rules = texts.collect::<Result<_, Misfit>>()?;
        Ok(Self { policy, rules })
    }

    /// Of all the texts: a rule file that changes by itself makes another policy. And of what the config says to calls of
    /// which they say nothing: of one version no two gateways judge differently.
    pub fn version(&self, ground: &Ground) -> Version {
        let built_in = format!("in_flight {}, {}", ground.built_in_flight(), ground.stricter.as_str());
        let rules = self.rules.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]);
        Version::of([self.policy.as_str()].into_iter().chain(rules).chain([built_in.as_str()]))
    }
}

/// Nothing outside of the policy's directory is read, and nothing twice.
fn check_names(names: &[String]) -> Result<(), Misfit> {
    if names.len() > MAX_RULE_FILES {
        return Err(Misfit::new("rules.files", format_args!("must name at most {MAX_RULE_FILES} files")));
    }
    for (index, name) in names.iter().enumerate() {
        let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !is_plain {
            let problem = "must be a plain relative path, like `rules/acme.cedar`";
            return Err(Misfit::new(key(index), problem));
        }
        if names[..index].contains(name) {
            return Err(Misfit::new(key(index), format_args!("`{name}` is named twice")));
        }
    }
    Ok(())
}

fn key(index: usize) -> String {
    format!("rules.files[{index}]")
}
