//! Bounds of values that their own types do not have.

use std::time::Duration;

use super::{Config, ConfigError};
use crate::{
    call::{CredentialId, Scope, SubjectId},
    rule::Rate,
};

/// Requests of this API are small; more than this cannot be meant.
const MAX_REQUEST: usize = 4 << 20;
/// A call that takes longer is a mistake, and time that far ahead need not be reckoned with.
const MAX_DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// Longer waits for one exchange with upstream are a mistake.
const MAX_UPSTREAM: Duration = Duration::from_secs(3600);
/// Each look reads the file; one so often costs next to nothing.
const MIN_RELOAD: Duration = Duration::from_millis(10);
/// A key that leaked must not work for longer.
const MAX_RELOAD: Duration = Duration::from_secs(60);
/// Each count is two lists upstream, from every replica.
const MIN_RECONCILE: Duration = Duration::from_secs(1);
/// A slot that is free, or work that was made past the gateway, must not stay unseen for longer.
const MAX_RECONCILE: Duration = Duration::from_secs(10 * 60);
/// The buckets count whole nanoseconds between calls: up to here a rate is exact to a thousandth.
const MAX_RATE: u32 = 1_000_000;
/// An id is a metric label and a part of log lines.
const MAX_ID: usize = 64;

/// What an id must be.
pub(super) const ID: &str = "must be 1 to 64 of A-Z a-z 0-9 . _ -";

/// Everything but the listener, the callers and the orgs.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let Config { budgets, cors, deadline, limits, requests, upstream, .. } = config;
    let to = |max: Duration| move |time: Duration| !time.is_zero() && time <= max;
    let (call, exchange) = (to(MAX_DEADLINE), to(MAX_UPSTREAM));
    // Mapped addresses (::ffff:127.0.0.1) are what they map to.
    let is_loopback = config.listen.ip().to_canonical().is_loopback();
    let checks = [
        (
            config.tls.is_some() || config.server.plaintext || is_loopback,
            "listen",
            "must be a loopback address, unless there is [tls] or server.plaintext = true",
        ),
        (
            config.tls.is_none() || !config.server.plaintext,
            "server.plaintext",
            "must not be true with [tls]: nobody can speak plaintext then",
        ),
        (
            config.admin != config.listen || config.admin.port() == 0,
            "admin",
            "must be another address than listen",
        ),
        (call(deadline.default), "deadline.default", "must be above 0 and at most 24h"),
        (call(deadline.max), "deadline.max", "must be above 0 and at most 24h"),
        (deadline.max >= deadline.default, "deadline.max", "must be at least deadline.default"),
        (
            (MIN_RECONCILE..=MAX_RECONCILE).contains(&budgets.reconcile_interval),
            "budgets.reconcile_interval",
            "must be from 1s to 10min",
        ),
        (limits.in_flight > 0, "limits.in_flight", "must be at least 1"),
        ((1..=MAX_REQUEST).contains(&requests.max_bytes), "requests.max_bytes", "must be from 1 to 4194304"),
        (call(requests.read_timeout), "requests.read_timeout", "must be above 0 and at most 24h"),
        (cors.is_plain(), "cors.origins", "must have \"*\" alone or not at all"),
        (exchange(upstream.connect_timeout), "upstream.connect_timeout", "must be above 0 and at most 1h"),
        (exchange(upstream.mutation_timeout), "upstream.mutation_timeout", "must be above 0 and at most 1h"),
        (exchange(upstream.idle_timeout), "upstream.idle_timeout", "must be above 0 and at most 1h"),
        (exchange(upstream.health_interval), "upstream.health_interval", "must be above 0 and at most 1h"),
        (upstream.max_response_bytes > 0, "upstream.max_response_bytes", "must be at least 1"),
    ];
    if let Some((_, key, problem)) = checks.into_iter().find(|(good, ..)| !good) {
        return Err(ConfigError::new(key, problem));
    }
    if let Some(index) = requests.path_prefixes.iter().position(|prefix| !is_path_prefix(prefix)) {
        let key = format_args!("requests.path_prefixes[{index}]");
        return Err(ConfigError::new(key, "must be a path like `/api`: no slash at its end, no query"));
    }
    check_reloads(config)?;
    check_rate("limits.refusals", limits.refusals)
}

/// How often files are looked at.
fn check_reloads(config: &Config) -> Result<(), ConfigError> {
    let intervals = [
        ("identity.reload_interval", config.identity.reload_interval),
        ("policy.reload_interval", config.policy.reload_interval),
        ("upstream.reload_interval", config.upstream.reload_interval),
    ];
    match intervals.into_iter().find(|(_, interval)| !(MIN_RELOAD..=MAX_RELOAD).contains(interval)) {
        Some((key, _)) => Err(ConfigError::new(key, "must be from 10ms to 1min")),
        None => Ok(()),
    }
}

/// What a base URL has behind its host, in the characters that need no escape (RFC 3986, section 3.3).
fn is_path_prefix(prefix: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    prefix.strip_prefix('/').is_some_and(|path| {
        path.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(is_plain))
    })
}

/// A rate that the buckets can keep.
fn check_rate(key: &str, rate: Rate) -> Result<(), ConfigError> {
    let fields = [("per_second", rate.calls), ("burst", rate.burst)];
    match fields.into_iter().find(|(_, value)| value.get() > MAX_RATE) {
        Some((name, _)) => {
            Err(ConfigError::new(format_args!("{key}.{name}"), format_args!("must be at most {MAX_RATE}")))
        }
        None => Ok(()),
    }
}

/// The names by which a caller stands in logs and records.
pub(super) fn check_caller(
    id: &CredentialId,
    subject: &SubjectId,
    scopes: &[Scope],
) -> Result<(), (&'static str, &'static str)> {
    if !is_id(id.as_str()) {
        return Err(("id", ID));
    }
    if !subject.is_plain() {
        return Err(("subject", "must be 1 to 255 printable ASCII characters without spaces"));
    }
    if scopes.is_empty() {
        return Err(("scopes", "must name at least one scope, or be left out for all"));
    }
    Ok(())
}

pub(super) fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
