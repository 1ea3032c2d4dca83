//! What `[audit]` says beyond its own words: bounds, orgs, and files.

use std::{path::Path, time::Duration};

use super::{Config, ConfigError};
use crate::{
    audit::{self, hash::Keys, key::SigningKey},
    call::OrgId,
    file::{self, Access, is_inside},
    policy,
};

/// A segment of the audit log is read whole at start.
const MIN_SEGMENT: u64 = 1 << 20;
const MAX_SEGMENT: u64 = 256 << 20;
const MIN_SEGMENT_AGE: Duration = Duration::from_secs(60);
const MAX_SEGMENT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// What nobody has seen yet must not be gone.
const MIN_KEPT: Duration = Duration::from_secs(24 * 3600);

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    check_bounds(&config.audit)?;
    let is_org = |id: &OrgId| config.orgs.iter().any(|org| org.id == *id);
    config
        .audit
        .level
        .check(is_org)
        .map_err(|invalid| ConfigError::new(format_args!("audit.level.{}", invalid.key), invalid.problem))?;
    let keys = config.audit.hash_keys.as_ref().map(|named| Keys::read(&named.file));
    keys.transpose().map_err(|error| ConfigError::new("audit.hash_keys", error))?;
    match &config.audit.signing_key {
        Some(named) => check_signing_key(&named.file),
        None => Ok(()),
    }
}

/// A day must fit, so that what was done yesterday is there when somebody comes to ask: of the records that all orgs
/// can make at the rates of the policy. Where the config does not say how much is kept, it is that much.
pub(super) fn keep_a_day(audit: &mut audit::Config, policy: &policy::Edition) -> Result<(), ConfigError> {
    let needed = policy
        .sustained()
        .map(|calls| audit::Config::day(calls.reads, calls.changes))
        .fold(0, u64::saturating_add);
    let kept = *audit.keep_bytes.get_or_insert_with(|| audit::Config::kept_by_default(needed));
    if kept < needed {
        let problem = format_args!(
            "must be at least {needed}: a day of records at the rates of the policy (1.5 KiB each, two of a change)"
        );
        return Err(ConfigError::new("audit.keep_bytes", problem));
    }
    Ok(())
}

fn check_signing_key(path: &Path) -> Result<(), ConfigError> {
    let problem = |what: &dyn std::fmt::Display| {
        ConfigError::new("audit.signing_key", format_args!("`{}` {what}", path.display()))
    };
    let pem = file::read(path, Access::Closed).map_err(|fault| problem(&fault))?;
    SigningKey::from_pem(&pem).map(drop).map_err(|error| problem(&error))
}

/// Where the audit log is, and how much of it is kept.
fn check_bounds(audit: &audit::Config) -> Result<(), ConfigError> {
    let checkpoints = audit.checkpoints.as_deref();
    let checks = [
        (!audit.directory.as_os_str().is_empty(), "audit.directory", "must not be empty"),
        (
            audit.has_instance(),
            "audit.instance",
            "must be 1 to 200 of A-Z a-z 0-9 . _ -, and not begin with .",
        ),
        (
            audit.has_origin(),
            "audit.origin",
            "must be 1 to 50 characters, and no white space, control character or `+` among them",
        ),
        (
            !checkpoints.is_some_and(|path| is_inside(path, &audit.directory)),
            "audit.checkpoints",
            "must not be in audit.directory: who can write there could replace it, too",
        ),
        (
            checkpoints.is_none_or(|path| path.is_dir() || !path.exists()),
            "audit.checkpoints",
            "must be a directory: each log has a file of its own in it",
        ),
        (
            (MIN_SEGMENT..=MAX_SEGMENT).contains(&audit.segment_bytes),
            "audit.segment_bytes",
            "must be from 1048576 to 268435456",
        ),
        (
            (MIN_SEGMENT_AGE..=MAX_SEGMENT_AGE).contains(&audit.segment_age),
            "audit.segment_age",
            "must be from 1min to 30d",
        ),
        (
            audit.keep_bytes.is_none_or(|bytes| bytes >= 4 * audit.segment_bytes),
            "audit.keep_bytes",
            "must be at least four times audit.segment_bytes",
        ),
        (audit.keep_age >= MIN_KEPT, "audit.keep_age", "must be at least 1d"),
    ];
    match checks.into_iter().find(|(good, ..)| !good) {
        Some((_, key, problem)) => Err(ConfigError::new(key, problem)),
        None => Ok(()),
    }
}
