//! The ids of credentials: each names one, of whatever kind and wherever it stands, or the audit log would name two by it.

use std::collections::HashSet;

use super::{Config, ConfigError};
use crate::call::CredentialId;

/// Those that stand in the config itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids(HashSet<CredentialId>);

impl Ids {
    /// # Errors
    /// An id stands twice.
    pub(super) fn of(config: &Config) -> Result<Self, ConfigError> {
        let identity = &config.identity;
        let keys = identity.api_keys.iter().map(|entry| &entry.id).enumerate();
        let certificates = identity.certificates.iter().map(|entry| &entry.id).enumerate();
        let issuers = identity.jwt.iter().map(|entry| &entry.id).enumerate();
        let all = keys
            .map(|(index, id)| ("api_keys", index, id))
            .chain(certificates.map(|(index, id)| ("certificates", index, id)))
            .chain(issuers.map(|(index, id)| ("jwt", index, id)));
        let mut ids = HashSet::new();
        for (kind, index, id) in all {
            if !ids.insert(id.clone()) {
                return Err(ConfigError::new(format_args!("identity.{kind}[{index}].id"), twice(id)));
            }
        }
        Ok(Self(ids))
    }

    pub(super) fn contains(&self, id: &CredentialId) -> bool {
        self.0.contains(id)
    }
}

pub(super) fn twice(id: &CredentialId) -> String {
    format!("id `{id}` is used twice")
}
