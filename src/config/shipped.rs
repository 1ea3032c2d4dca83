//! Where the audit log is shipped to.

use super::{ConfigError, Env, secret};
use crate::{
    audit::{self, ship::Target},
    file::{Credential, is_inside},
};

pub(super) fn resolve(audit: &audit::Config, env: Env<'_>) -> Result<Vec<Target>, ConfigError> {
    let secrets = |source: &Credential| secret::read(source, env);
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
