//! `[identity.upstream_tokens]`: what its own types do not check.

use std::time::Duration;

use super::{Config, ConfigError};
use crate::upstream::{Mode, same};

/// A token that was revoked must not work for longer.
const MAX_TTL: Duration = Duration::from_secs(10 * 60);

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let tokens = &config.identity.upstream_tokens;
    let (ttl, refused) = (tokens.ttl, tokens.refused_ttl);
    let checks = [
        (!ttl.is_zero() && ttl <= MAX_TTL, "ttl", "must be above 0 and at most 10min"),
        (!refused.is_zero() && refused < ttl, "refused_ttl", "must be above 0 and below ttl"),
        (!tokens.scopes.is_empty(), "scopes", "must name at least one scope, or be left out for all"),
    ];
    if let Some((_, name, problem)) = checks.into_iter().find(|(good, ..)| !good) {
        return Err(ConfigError::new(format_args!("identity.upstream_tokens.{name}"), problem));
    }
    if tokens.enabled { each_org_is_another(config) } else { Ok(()) }
}

/// The organization of a token tells the org. Where two orgs may turn out to be one organization, it has to be written:
/// a token would be of whichever upstream is asked for first.
fn each_org_is_another(config: &Config) -> Result<(), ConfigError> {
    let missing = config.orgs.iter().position(|org| org.upstream_organization_id.is_none());
    if let Some(index) = missing.filter(|_| config.tenancy == Mode::Strict) {
        return Err(ConfigError::new(
            format_args!("orgs[{index}].upstream_organization_id"),
            "is required with tenancy = \"strict\" and identity.upstream_tokens",
        ));
    }
    let ids = config.orgs.iter().enumerate();
    let ids: Vec<_> =
        ids.filter_map(|(index, org)| Some((index, org.upstream_organization_id.as_deref()?))).collect();
    for (at, (index, id)) in ids.iter().enumerate() {
        if let Some((earlier, _)) = ids[..at].iter().find(|(_, other)| same(other, id)) {
            return Err(ConfigError::new(
                format_args!("orgs[{index}].upstream_organization_id"),
                format_args!(
                    "is that of orgs[{earlier}], too: identity.upstream_tokens could not tell them apart"
                ),
            ));
        }
    }
    Ok(())
}
