//! The policy: read from a file of its own, which is read again while the gateway runs.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError};
use crate::{
    file::form::Misfit,
    policy::{Edition, Ground, Known, Texts, lints},
};

/// The key of the config that names the file.
pub const POLICY_FILE: &str = "policy.file";

/// The file of [`POLICY_FILE`], with all that its content is held against.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    path: PathBuf,
    ground: Ground,
    /// What it held, and those that it names, when the config was resolved.
    first: Texts,
}

/// The first edition, and the file that it is from. Without a file what is built in is in force.
pub(super) fn resolve(config: &Config) -> Result<(Edition, Option<PolicyFile>), ConfigError> {
    let ground = ground(config);
    let Some(path) = &config.policy.file else {
        let edition = Edition::built_in(&ground)?;
        return Ok((edition, None));
    };
    let mut file = PolicyFile { path: path.clone(), ground, first: Texts::default() };
    file.first = file.read()?;
    Ok((file.edition(&file.first)?, Some(file)))
}

fn ground(config: &Config) -> Ground {
    Ground {
        orgs: config.orgs.iter().map(|org| org.id.clone()).collect(),
        in_flight: config.limits.in_flight,
        stricter: config.validation.stricter,
    }
}

impl Config {
    /// The policy that a file holds, as if this config named it. Nothing else of the config is looked at: neither its
    /// credentials nor its keys have to be there. May block.
    ///
    /// # Errors
    /// The file cannot be read, or the first key that cannot be meant.
    pub fn policy_of(&self, path: &Path) -> Result<Edition, ConfigError> {
        let file = PolicyFile { path: path.to_owned(), ground: ground(self), first: Texts::default() };
        file.edition(&file.read()?)
    }
}

impl PolicyFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says and can hardly be meant.
    ///
    /// # Errors
    /// It cannot be meant at all.
    pub fn lints(&self, known: &Known) -> Result<Vec<Misfit>, ConfigError> {
        lints(&self.first, &self.ground, known).map_err(|misfit| self.problem(misfit))
    }

    /// What it held at start, and those that it names.
    pub fn first(&self) -> &Texts {
        &self.first
    }

    /// What it holds now, and those that it names. May block.
    ///
    /// # Errors
    /// One of them cannot be read, or others may write it.
    pub fn read(&self) -> Result<Texts, ConfigError> {
        Texts::read(&self.path).map_err(|misfit| self.problem(misfit))
    }

    /// The policy, where they hold this.
    ///
    /// # Errors
    /// The first key that cannot be meant.
    pub fn edition(&self, texts: &Texts) -> Result<Edition, ConfigError> {
        Edition::of(texts, &self.ground).map_err(|misfit| self.problem(misfit))
    }

    fn problem(&self, misfit: ConfigError) -> ConfigError {
        let path = self.path.display();
        match misfit {
            // Of the file itself.
            ConfigError { key, problem } if key.is_empty() => {
                ConfigError::new(POLICY_FILE, format_args!("`{path}` {problem}"))
            }
            of_key => ConfigError::new(POLICY_FILE, format_args!("`{path}`: {of_key}")),
        }
    }
}
