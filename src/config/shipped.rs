//! Where the audit log is shipped to.

use secrecy::SecretString;

use super::{ConfigError, Env};
use crate::{
    audit::{self, ship::Target},
    file::{self, Access, Credential, is_inside},
};

pub(super) fn resolve(audit: &audit::Config, env: Env<'_>) -> Result<Vec<Target>, ConfigError> {
    let secrets = |source: &Credential| secret(source, env);
    let mut targets = Vec::with_capacity(audit.ship.len());
    for (index, sink) in audit.ship.iter().enumerate() {
        let key = |name: &str| format!("audit.ship[{index}].{name}");
        if audit.ship[..index].iter().any(|other| other.name() == sink.name()) {
            return Err(ConfigError::new(key("name"), "stands twice: each sink has a position of its own"));
        }
        if let Some(path) = sink.path().filter(|path| is_inside(path, &audit.directory)) {
            let name = if matches!(sink, audit::ship::Config::File(_)) { "path" } else { "url" };
            let problem = format!("`{}` must not be in audit.directory", path.display());
            return Err(ConfigError::new(key(name), problem));
        }
        let target = sink.resolve(&secrets);
        targets.push(target.map_err(|invalid| ConfigError::new(key(invalid.key), invalid.problem))?);
    }
    Ok(targets)
}

/// What goes wrong is told without it.
fn secret(source: &Credential, env: Env<'_>) -> Result<SecretString, String> {
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
