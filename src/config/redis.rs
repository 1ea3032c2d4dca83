//! The store that replicas share limits by, and how many replicas there are.

use secrecy::ExposeSecret as _;

use super::{ConfigError, Env, secret};
use crate::{
    limit,
    store::{Invalid, Server},
};

const SECTION: &str = "limits.redis";

/// More would leave each replica next to nothing while the store is away.
const MAX_REPLICAS: u32 = 1000;

pub(super) fn resolve(limits: &limit::Config, env: Env<'_>) -> Result<Option<Server>, ConfigError> {
    let replicas = |problem| Err(ConfigError::new("limits.replicas", problem));
    let redis = match (&limits.redis, limits.replicas) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return replicas("must stand beside [limits.redis]"),
        (Some(_), None) => return replicas("is required with [limits.redis]"),
        (Some(_), Some(count)) if count.get() > MAX_REPLICAS => return replicas("must be from 1 to 1000"),
        (Some(redis), Some(_)) => redis,
    };
    let key = |name: &str| format!("{SECTION}.{name}");
    let password = redis.password.as_ref().map(|source| secret::read(source, env)).transpose();
    let password = password.map_err(|problem| ConfigError::new(key("password"), problem))?;
    let wrong = |Invalid { key: name, problem }: Invalid| ConfigError::new(key(&name), problem);
    redis.resolve(password.as_ref().map(|password| password.expose_secret())).map(Some).map_err(wrong)
}
