//! The organisations and their upstream credentials.

use std::{fs, path::PathBuf};

use http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, Env, bounds, kind};
use crate::{call::OrgId, limit::Rate, upstream::Credentials};

/// One entry of `[[orgs]]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Org {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub id: OrgId,
    /// The token that upstream knows this org by.
    pub credential: Credential,
    /// What upstream calls the org, a UUID, and the only organization whose objects its callers are shown. Otherwise
    /// upstream is asked, at start or when a call first needs it.
    #[serde(default)]
    pub upstream_organization_id: Option<String>,
    /// A rate of its own in place of `limits.requests`.
    #[serde(default)]
    pub requests: Option<Rate>,
}

/// Where a secret is. The config itself never holds one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Credential {
    /// A file that holds the token and nothing else but white space around it.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// Reads every org's credential.
pub(super) fn credentials(orgs: &[Org], env: Env<'_>) -> Result<Credentials, ConfigError> {
    if orgs.is_empty() {
        return Err(ConfigError::new("orgs", "must name at least one organisation"));
    }
    let mut credentials = Vec::with_capacity(orgs.len());
    for (index, org) in orgs.iter().enumerate() {
        let key = |name: &str| format!("orgs[{index}].{name}");
        if !bounds::is_id(org.id.as_str()) {
            return Err(ConfigError::new(key("id"), bounds::ID));
        }
        if orgs[..index].iter().any(|earlier| earlier.id == org.id) {
            return Err(ConfigError::new(key("id"), format_args!("`{}` is used twice", org.id)));
        }
        if org.upstream_organization_id.as_deref().is_some_and(|id| !bounds::is_id(id)) {
            return Err(ConfigError::new(key("upstream_organization_id"), bounds::ID));
        }
        if let Some(rate) = org.requests {
            bounds::check_rate(&key("requests"), rate)?;
        }
        let value =
            org.credential.read(env).map_err(|problem| ConfigError::new(key("credential"), problem))?;
        credentials.push((org.id.clone(), value));
    }
    Ok(Credentials::new(credentials))
}

impl Credential {
    /// The `authorization` value. What goes wrong is told without the secret.
    fn read(&self, env: Env<'_>) -> Result<HeaderValue, String> {
        let token = match self {
            Self::File(path) => fs::read_to_string(path)
                .map_err(|error| format!("`{}` cannot be read: {}", path.display(), kind(&error)))?,
            Self::Env(name) => {
                env(name).ok_or_else(|| format!("environment variable `{name}` is not set"))?
            }
        };
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be one word of printable ASCII".to_owned());
        }
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        Ok(value)
    }
}
