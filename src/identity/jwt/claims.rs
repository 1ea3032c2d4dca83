//! What a token says, once its signature is good, and what becomes of it by the issuer's entry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Config, Refusal, json::Members};
use crate::{
    call::{Identity, OrgId, Scope, Scopes, SubjectId},
    identity::Orgs,
};

/// The last second of the year 9999. A later time is a mistake, such as one in milliseconds.
const LAST: f64 = 253_402_300_799.0;

/// When a token is good. Judged at every use, also of what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    expires: Duration,
    not_before: Option<Duration>,
    issued: Option<Duration>,
}

impl Times {
    /// A time that is there is one: `null` is none, and refused.
    pub(super) fn of(claims: &Members) -> Result<Self, Refusal> {
        let time = |name: &str, refusal| match claims.get(name) {
            None => Ok(None),
            Some(value) => time(value).map(Some).ok_or(refusal),
        };
        Ok(Self {
            expires: time("exp", Refusal::Expiry)?.ok_or(Refusal::Expiry)?,
            not_before: time("nbf", Refusal::NotBefore)?,
            issued: time("iat", Refusal::IssuedAt)?,
        })
    }

    pub(super) fn check(self, config: &Config, now: SystemTime) -> Result<(), Refusal> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let later = now.saturating_add(config.leeway);
        if now >= self.expires.saturating_add(config.leeway) {
            return Err(Refusal::Expired);
        }
        if self.not_before.is_some_and(|time| time > later) {
            return Err(Refusal::Early);
        }
        if self.issued.is_some_and(|time| time > later) {
            return Err(Refusal::IssuedAhead);
        }
        let Some(age) = config.max_age else { return Ok(()) };
        let issued = self.issued.ok_or(Refusal::IssuedAt)?;
        let is_old = now >= issued.saturating_add(age).saturating_add(config.leeway);
        if is_old { Err(Refusal::Old) } else { Ok(()) }
    }
}

/// A NumericDate (RFC 7519, section 2): seconds, also in parts.
fn time(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=LAST).contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Who that is. Times are judged apart.
pub(super) fn identity(config: &Config, orgs: &Orgs, claims: &Members) -> Result<Identity, Refusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
        return Err(Refusal::Issuer);
    }
    audience(config, claims)?;
    Ok(Identity {
        subject: subject(config, claims)?,
        org: org(config, orgs, claims)?,
        credential: config.id.clone(),
        scopes: scopes(config, claims)?,
        passed: None,
    })
}

/// The token must be meant for this gateway: one for another service of the issuer's is not (RFC 8725, section 3.9).
fn audience(config: &Config, claims: &Members) -> Result<(), Refusal> {
    let named = match claims.get("aud") {
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        Some(Value::Array(several)) => several,
        _ => return Err(Refusal::Audience),
    };
    let named: Option<Vec<&str>> = named.iter().map(Value::as_str).collect();
    let named = named.ok_or(Refusal::Audience)?;
    let is_ours = config.audiences.iter().any(|audience| named.contains(&audience.as_str()));
    if is_ours { Ok(()) } else { Err(Refusal::Audience) }
}

/// It stands in logs and records, but for spaces within the bounds that a configured one has.
fn subject(config: &Config, claims: &Members) -> Result<SubjectId, Refusal> {
    let subject = config.subject_claim.of(claims).and_then(Value::as_str).map(SubjectId::from);
    subject.filter(SubjectId::is_printable).ok_or(Refusal::Subject)
}

fn org(config: &Config, orgs: &Orgs, claims: &Members) -> Result<OrgId, Refusal> {
    let Some(path) = &config.org_claim else {
        return config.org.clone().ok_or(Refusal::Org);
    };
    let value = path.of(claims).and_then(Value::as_str).ok_or(Refusal::Org)?;
    match &config.orgs {
        Some(table) => table.get(value).cloned().ok_or(Refusal::Org),
        None => orgs.get(&OrgId::from(value)).cloned().ok_or(Refusal::Org),
    }
}

/// Those of the entry that the token has, too. Names that are no scopes here are other services'.
fn scopes(config: &Config, claims: &Members) -> Result<Scopes, Refusal> {
    let allowed = Scopes::new(&config.scopes);
    let Some(path) = &config.scope_claim else { return Ok(allowed) };
    let names: Vec<&str> = match path.of(claims) {
        None => Vec::new(),
        Some(Value::String(words)) => words.split(' ').collect(),
        Some(Value::Array(items)) => {
            let names: Option<_> = items.iter().map(Value::as_str).collect();
            names.ok_or(Refusal::Scope)?
        }
        Some(_) => return Err(Refusal::Scope),
    };
    let granted: Vec<Scope> =
        names.into_iter().filter_map(|name| Scope::try_from(name.to_owned()).ok()).collect();
    Ok(allowed.within(&Scopes::new(&granted)))
}
