//! Secrets that the config names, where they are read once.

use secrecy::SecretString;

use super::Env;
use crate::file::{self, Access, Credential};

/// # Errors
/// What is wrong with it, told without it.
pub(super) fn read(source: &Credential, env: Env<'_>) -> Result<SecretString, String> {
    let text = match source {
        Credential::File(path) => {
            file::read_text(path, Access::Closed).map_err(|fault| format!("`{}` {fault}", path.display()))?
        }
        Credential::Env(name) => {
            env(name).ok_or_else(|| format!("environment variable `{name}` is not set"))?
        }
    };
    match text.trim() {
        "" => Err("must not be empty".to_owned()),
        secret => Ok(secret.into()),
    }
}
