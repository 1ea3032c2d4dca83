//! The organisations and their upstream credentials.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, Env, bounds};
use crate::{
    call::{NotAToken, OrgId, Token},
    file::{self, Access, Credential},
    identity::api_key::is_marked,
    upstream::{Credentials, Mode, same},
};

/// Two orgs would see each other's objects.
const SHARED: &str = "which orgs share only with tenancy = \"strict\"";

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
    /// Of `tenancy = "strict"`, one or more: the ids of the projects that are this org's, and no other's.
    #[serde(default)]
    pub projects: Vec<String>,
    /// Of `tenancy = "strict"`: the ids of the environment classes that creations of this org may name.
    #[serde(default)]
    pub environment_classes: Vec<String>,
}

/// A file with an org's credential, read again while the gateway runs.
#[derive(Clone, Debug)]
pub struct CredentialFile {
    pub org: OrgId,
    /// Of the config: `orgs[0].credential`.
    pub key: String,
    /// What it held when the config was resolved.
    pub first: Token,
    path: PathBuf,
}

/// What is there is no org's credential.
#[derive(Debug, thiserror::Error)]
enum NotACredential {
    #[error(transparent)]
    Text(#[from] NotAToken),
    /// It would go upstream.
    #[error("is an API key of the gateway's, not a token of upstream's")]
    Key,
}

/// What the orgs are known by upstream at start, and where some of it may change.
pub(super) type Held = (Credentials, Vec<CredentialFile>);

/// Reads every org's credential.
pub(super) fn credentials(orgs: &[Org], mode: Mode, env: Env<'_>) -> Result<Held, ConfigError> {
    if orgs.is_empty() {
        return Err(ConfigError::new("orgs", "must name at least one organisation"));
    }
    let (mut credentials, mut files) = (Vec::with_capacity(orgs.len()), Vec::new());
    for (index, org) in orgs.iter().enumerate() {
        check(index, org, &orgs[..index], mode)?;
        let key = format!("orgs[{index}].credential");
        let token = match &org.credential {
            Credential::File(path) => {
                let first = read(&key, path)?;
                files.push(CredentialFile {
                    org: org.id.clone(),
                    key: key.clone(),
                    first: first.clone(),
                    path: path.clone(),
                });
                first
            }
            Credential::Env(name) => {
                let unset = || format!("environment variable `{name}` is not set");
                let text = env(name).ok_or_else(|| ConfigError::new(&key, unset()))?;
                token(&text).map_err(|error| ConfigError::new(&key, error))?
            }
        };
        let sharing = credentials.iter().find(|(_, other)| *other == token && mode == Mode::Organization);
        if let Some((other, _)) = sharing {
            return Err(ConfigError::new(key, format_args!("is the one of `{other}`, {SHARED}")));
        }
        credentials.push((org.id.clone(), token));
    }
    Ok((Credentials::new(credentials), files))
}

/// Everything of an org but its credential.
fn check(index: usize, org: &Org, earlier: &[Org], mode: Mode) -> Result<(), ConfigError> {
    let key = |name: &str| format!("orgs[{index}].{name}");
    if !bounds::is_id(org.id.as_str()) {
        return Err(ConfigError::new(key("id"), bounds::ID));
    }
    if earlier.iter().any(|earlier| earlier.id == org.id) {
        return Err(ConfigError::new(key("id"), format_args!("`{}` is used twice", org.id)));
    }
    if org.upstream_organization_id.as_deref().is_some_and(|id| !bounds::is_id(id)) {
        return Err(ConfigError::new(key("upstream_organization_id"), bounds::ID));
    }
    if let Some(Org { id, .. }) =
        earlier.iter().find(|other| mode == Mode::Organization && are_one(other, org))
    {
        let problem = format_args!("is the one of `{id}`, {SHARED}");
        return Err(ConfigError::new(key("upstream_organization_id"), problem));
    }
    Ok(())
}

/// Whether the config says that both are one organization upstream.
fn are_one(one: &Org, other: &Org) -> bool {
    let ids = one.upstream_organization_id.as_deref().zip(other.upstream_organization_id.as_deref());
    ids.is_some_and(|(one, other)| same(one, other))
}

/// The token is never shown, whatever is wrong with it.
fn token(text: &str) -> Result<Token, NotACredential> {
    let text = text.trim();
    if is_marked(text) {
        return Err(NotACredential::Key);
    }
    Ok(Token::new(text)?)
}

impl CredentialFile {
    /// What the file holds now. May block.
    ///
    /// # Errors
    /// It cannot be read, others can read it, or it holds no token.
    pub fn read(&self) -> Result<Token, ConfigError> {
        read(&self.key, &self.path)
    }
}

fn read(key: &str, path: &Path) -> Result<Token, ConfigError> {
    let text = file::read_text(path, Access::Closed)
        .map_err(|fault| ConfigError::new(key, format_args!("`{}` {fault}", path.display())))?;
    token(&text).map_err(|error| ConfigError::new(key, error))
}
