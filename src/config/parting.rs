//! What parts the orgs from one another upstream, and the key of the page tokens that go with it.

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::{Config, ConfigError, Credential, Env, Org};
use crate::{
    call::OrgId,
    file::{self, Access},
    upstream::{Holding, Mode, PageKey, Parting},
};

const STRICT_ONLY: &str = "only counts with tenancy = \"strict\"";

/// `[pages]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// Seals page tokens: at least 32 bytes, the same on every replica. White space around it does not count.
    pub key: Credential,
}

pub(super) fn resolve(config: &Config, env: Env<'_>) -> Result<Parting, ConfigError> {
    match config.tenancy {
        Mode::Organization => {
            unused(config)?;
            Ok(Parting::ByOrganization)
        }
        Mode::Strict => {
            let holdings = holdings(&config.orgs)?;
            let Some(pages) = &config.pages else {
                return Err(ConfigError::new("pages.key", "is required with tenancy = \"strict\""));
            };
            let key = page_key(&pages.key, env).map_err(|problem| ConfigError::new("pages.key", problem))?;
            Ok(Parting::ByProject { holdings: holdings.into(), key })
        }
    }
}

/// What is written has to mean something.
fn unused(config: &Config) -> Result<(), ConfigError> {
    for (index, org) in config.orgs.iter().enumerate() {
        let lists = [("projects", &org.projects), ("environment_classes", &org.environment_classes)];
        if let Some((name, _)) = lists.into_iter().find(|(_, ids)| !ids.is_empty()) {
            return Err(ConfigError::new(format_args!("orgs[{index}].{name}"), STRICT_ONLY));
        }
    }
    match config.pages {
        Some(_) => Err(ConfigError::new("pages", STRICT_ONLY)),
        None => Ok(()),
    }
}

fn holdings(orgs: &[Org]) -> Result<HashMap<OrgId, Holding>, ConfigError> {
    let mut holdings = HashMap::with_capacity(orgs.len());
    let mut taken: HashMap<Uuid, &OrgId> = HashMap::new();
    for (index, org) in orgs.iter().enumerate() {
        let key = |name: &str| format!("orgs[{index}].{name}");
        let projects = ids(&key("projects"), &org.projects)?;
        if projects.is_empty() {
            return Err(ConfigError::new(key("projects"), "must name at least one project"));
        }
        for project in &projects {
            if let Some(other) = taken.insert(*project, &org.id) {
                let problem = format_args!("`{project}` is a project of `{other}` already");
                return Err(ConfigError::new(key("projects"), problem));
            }
        }
        let classes = ids(&key("environment_classes"), &org.environment_classes)?;
        holdings.insert(org.id.clone(), Holding { projects, classes });
    }
    Ok(holdings)
}

/// Each once: two spellings of one id are a mistake.
fn ids(key: &str, texts: &[String]) -> Result<BTreeSet<Uuid>, ConfigError> {
    let mut ids = BTreeSet::new();
    for (index, text) in texts.iter().enumerate() {
        let id = Uuid::try_parse(text)
            .map_err(|_| ConfigError::new(format_args!("{key}[{index}]"), "must be a UUID"))?;
        if !ids.insert(id) {
            return Err(ConfigError::new(
                format_args!("{key}[{index}]"),
                format_args!("`{id}` stands twice"),
            ));
        }
    }
    Ok(ids)
}

/// What goes wrong is told without the key.
fn page_key(source: &Credential, env: Env<'_>) -> Result<PageKey, String> {
    let text = match source {
        Credential::File(path) => {
            file::read_text(path, Access::Closed).map_err(|fault| format!("`{}` {fault}", path.display()))?
        }
        Credential::Env(name) => {
            env(name).ok_or_else(|| format!("environment variable `{name}` is not set"))?
        }
    };
    PageKey::new(text.trim().as_bytes().to_vec()).map_err(|error| error.to_string())
}
