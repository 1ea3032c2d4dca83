//! The entries for client certificates, held against the rest of the config.

use super::{Config, ConfigError, bounds};
use crate::identity::certificate::{CertificateError, Certificates};

const CERTIFICATES: &str = "identity.certificates";

pub(super) fn resolve(config: &Config) -> Result<Certificates, ConfigError> {
    let entries = &config.identity.certificates;
    if !entries.is_empty() && config.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
        return Err(ConfigError::new(CERTIFICATES, "would never match: there is no tls.client_ca"));
    }
    for (index, entry) in entries.iter().enumerate() {
        bounds::check_caller(&entry.id, &entry.subject, &entry.scopes)
            .map_err(|(name, problem)| of_entry(index, name, problem))?;
        if !config.orgs.iter().any(|org| org.id == entry.org) {
            return Err(of_entry(index, "org", format_args!("`{}` is not one of [[orgs]]", entry.org)));
        }
    }
    Certificates::new(entries).map_err(|error| match &error {
        CertificateError::DuplicateId { index, .. } => of_entry(*index, "id", &error),
        CertificateError::Duplicate { index, key, .. } => of_entry(*index, key, &error),
        CertificateError::NotOneName { index } => {
            ConfigError::new(format_args!("{CERTIFICATES}[{index}]"), &error)
        }
    })
}

fn of_entry(index: usize, name: &str, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(format_args!("{CERTIFICATES}[{index}].{name}"), problem)
}
