//! The API keys: those in the config, and those in a file of their own, which is read again while the gateway runs.

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    Config, ConfigError, Identity, bounds,
    ids::{self, Ids},
    read,
};
use crate::{
    call::OrgId,
    file::{self, Access},
    identity::api_key::{self, KeyError, Keys},
};

const API_KEYS: &str = "identity.api_keys";
/// The key of the config that names the file.
pub const KEYS_FILE: &str = "identity.keys_file";

/// The file of [`KEYS_FILE`], with all that its content is held against.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// What it held when the config was resolved.
    first: String,
    /// The keys of the config itself.
    written: Vec<api_key::Config>,
    /// All ids in the config.
    ids: Ids,
    orgs: Vec<OrgId>,
}

/// The content: as in the config, so that an entry can stand in either.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    identity: Listed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Required, so that an empty or cut-off file is not taken for one that bars everybody.
    api_keys: Vec<api_key::Config>,
}

/// All keys, and the file that some of them are from.
pub(super) fn resolve(config: &Config, ids: Ids) -> Result<(Keys, Option<KeyFile>), ConfigError> {
    let orgs: Vec<_> = config.orgs.iter().map(|org| org.id.clone()).collect();
    let written = &config.identity.api_keys;
    each_is_sound(written)?;
    each_is_of(&orgs, written)?;
    // A mistake of the config's own is told as such, whatever the file holds.
    let keys = Keys::new(written).map_err(|error| duplicate(&error, 0))?;
    let Some(path) = &config.identity.keys_file else {
        let Identity { jwt, certificates, upstream_tokens, .. } = &config.identity;
        let is_only_way = jwt.is_empty() && certificates.is_empty() && !upstream_tokens.enabled;
        if written.is_empty() && is_only_way {
            return Err(ConfigError::new(API_KEYS, "must name at least one key, or nobody can call"));
        }
        return Ok((keys, None));
    };
    let written = written.clone();
    let mut file = KeyFile { path: path.clone(), first: String::new(), written, ids, orgs };
    file.first = file.read()?;
    Ok((file.keys(&file.first)?, Some(file)))
}

/// The entries of a key file, each good by itself.
///
/// # Errors
/// The first entry that is not, by its key.
pub fn entries(text: &str) -> Result<Vec<api_key::Config>, ConfigError> {
    let Content { identity: Listed { api_keys } } = read(text)?;
    each_is_sound(&api_keys)?;
    Ok(api_keys)
}

impl KeyFile {
    /// What the file held at start.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// What the file holds now.
    ///
    /// # Errors
    /// It cannot be read, or others can read it, or its group write it.
    pub fn read(&self) -> Result<String, ConfigError> {
        file::read_text(&self.path, Access::Closed).map_err(|fault| self.problem(format_args!(" {fault}")))
    }

    /// All keys, where the file holds this.
    ///
    /// # Errors
    /// The first entry that cannot be served with, also in view of those in the config.
    pub fn keys(&self, text: &str) -> Result<Keys, ConfigError> {
        let within = |error: ConfigError| self.problem(format_args!(": {error}"));
        let listed = entries(text).map_err(within)?;
        each_is_of(&self.orgs, &listed).map_err(within)?;
        if let Some(index) = listed.iter().position(|key| self.ids.contains(&key.id)) {
            return Err(within(of_entry(index, "id", ids::twice(&listed[index].id))));
        }
        Keys::new(self.written.iter().chain(&listed))
            .map_err(|error| within(duplicate(&error, self.written.len())))
    }

    fn problem(&self, problem: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(KEYS_FILE, format_args!("`{}`{problem}", self.path.display()))
    }
}

fn each_is_sound(keys: &[api_key::Config]) -> Result<(), ConfigError> {
    for (index, key) in keys.iter().enumerate() {
        bounds::check_caller(&key.id, &key.subject, &key.scopes)
            .map_err(|(name, problem)| of_entry(index, name, problem))?;
    }
    Ok(())
}

fn each_is_of(orgs: &[OrgId], keys: &[api_key::Config]) -> Result<(), ConfigError> {
    match keys.iter().enumerate().find(|(_, key)| !orgs.contains(&key.org)) {
        Some((index, key)) => {
            Err(of_entry(index, "org", format_args!("`{}` is not one of [[orgs]]", key.org)))
        }
        None => Ok(()),
    }
}

/// The entry that stands second, where this many others come before those of its own list.
fn duplicate(error: &KeyError, others: usize) -> ConfigError {
    let (index, name) = match error {
        KeyError::DuplicateId { index, .. } => (index, "id"),
        KeyError::Duplicate { index, .. } => (index, "sha256"),
    };
    of_entry(index.saturating_sub(others), name, error)
}

fn of_entry(index: usize, name: &str, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(format_args!("{API_KEYS}[{index}].{name}"), problem)
}
