//! What `[audit]` says beyond its own words: of orgs, and of files.

use super::{Config, ConfigError};
use crate::{audit::hash::Keys, call::OrgId};

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let is_org = |id: &OrgId| config.orgs.iter().any(|org| org.id == *id);
    config
        .audit
        .level
        .check(is_org)
        .map_err(|invalid| ConfigError::new(format_args!("audit.level.{}", invalid.key), invalid.problem))?;
    let keys = config.audit.hash_keys.as_ref().map(|named| Keys::read(&named.file));
    keys.transpose().map_err(|error| ConfigError::new("audit.hash_keys", error))?;
    Ok(())
}
