//! The issuers of tokens, held against the rest of the config, and their keys as far as they are there.

use std::time::Duration;

use super::{Config, ConfigError, bounds};
use crate::identity::{
    Orgs,
    jwks::{Fetch, Jwks, JwksFile, Pace, SetupError, Url},
    jwt::{self, Issuers},
};

const JWT: &str = "identity.jwt";

/// Clocks that differ by more are broken.
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);
/// As often as a load balancer looks; more would be an attack on the issuer.
const MIN_PACE: Duration = Duration::from_millis(100);
/// A new key must not wait for longer.
const MAX_MIN_PACE: Duration = Duration::from_secs(3600);
/// A key that was taken out of the set must not work for longer.
const MAX_PACE: Duration = Duration::from_secs(24 * 3600);
/// Far longer than the URLs that issuers and audiences are.
const MAX_NAME: usize = 1024;
/// Far longer than any media type.
const MAX_TYPE: usize = 128;

/// The issuers, and how their keys are kept fresh.
#[derive(Debug, Default)]
pub struct Tokens {
    pub issuers: Issuers,
    pub files: Vec<JwksFile>,
    pub fetches: Vec<Fetched>,
}

/// Keys that are fetched.
#[derive(Debug)]
pub struct Fetched {
    pub jwks: Jwks,
    pub fetch: Fetch,
    pub pace: Pace,
}

/// What is wrong with an entry: the name of its key, and the problem.
type Wrong = (&'static str, String);

pub(super) fn resolve(config: &Config) -> Result<Tokens, ConfigError> {
    let orgs: Orgs = config.orgs.iter().map(|org| org.id.clone()).collect();
    let all = &config.identity.jwt;
    let (mut tokens, mut entries) = (Tokens::default(), Vec::new());
    for (index, entry) in all.iter().enumerate() {
        let key = |name: &str| format!("{JWT}[{index}].{name}");
        let wrong = |(name, problem): Wrong| ConfigError::new(key(name), problem);
        check(entry).map_err(wrong)?;
        check_orgs(entry, &orgs).map_err(wrong)?;
        if all[..index].iter().any(|other| other.issuer == entry.issuer) {
            return Err(ConfigError::new(key("issuer"), format_args!("`{}` is used twice", entry.issuer)));
        }
        let jwks = source(entry, &mut tokens, &key)?;
        entries.push((entry.clone(), jwks));
    }
    tokens.issuers = Issuers::new(entries, orgs);
    Ok(tokens)
}

/// The entry by itself.
fn check(entry: &jwt::Config) -> Result<(), Wrong> {
    let is_name =
        |name: &str| (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let is_type =
        |typ: &String| (1..=MAX_TYPE).contains(&typ.len()) && typ.bytes().all(|byte| byte.is_ascii_graphic());
    let name = "must be 1 to 1024 printable ASCII characters without spaces";
    let pace = (entry.jwks_min_interval, entry.jwks_max_interval);
    let audiences = &entry.audiences;
    let checks = [
        (bounds::is_id(entry.id.as_str()), "id", bounds::ID),
        (is_name(&entry.issuer), "issuer", name),
        (!audiences.is_empty(), "audiences", "must name at least one audience"),
        (audiences.iter().all(|audience| is_name(audience)), "audiences", name),
        (!entry.algorithms.is_empty(), "algorithms", "must name at least one algorithm"),
        (
            !entry.types.is_empty() || entry.untyped,
            "types",
            "must name at least one type, unless untyped = true",
        ),
        (
            entry.types.iter().all(is_type),
            "types",
            "must be 1 to 128 printable ASCII characters without spaces",
        ),
        ((MIN_PACE..=MAX_MIN_PACE).contains(&pace.0), "jwks_min_interval", "must be from 100ms to 1h"),
        (pace.1 <= MAX_PACE, "jwks_max_interval", "must be at most 24h"),
        (pace.1 >= pace.0, "jwks_max_interval", "must be at least jwks_min_interval"),
        (!entry.scopes.is_empty(), "scopes", "must name at least one scope, or be left out for all"),
        (entry.leeway <= MAX_LEEWAY, "leeway", "must be at most 5min"),
        (entry.max_age != Some(Duration::ZERO), "max_age", "must be above 0"),
    ];
    match checks.into_iter().find(|(is_good, ..)| !is_good) {
        Some((_, name, problem)) => Err((name, problem.to_owned())),
        None => Ok(()),
    }
}

fn check_orgs(entry: &jwt::Config, orgs: &Orgs) -> Result<(), Wrong> {
    match (&entry.org, &entry.org_claim, &entry.orgs) {
        (None, None, _) => Err(("org", "is required, unless there is an org_claim".to_owned())),
        (Some(_), Some(_), _) => Err(("org_claim", "must not stand beside org".to_owned())),
        (Some(_), None, Some(_)) => Err(("orgs", "must stand beside org_claim".to_owned())),
        (Some(org), None, None) if !orgs.contains(org) => {
            Err(("org", format!("`{org}` is not one of [[orgs]]")))
        }
        (None, Some(_), Some(table)) if table.is_empty() => {
            Err(("orgs", "must name at least one value, or be left out".to_owned()))
        }
        (None, Some(_), Some(table)) => match table.values().find(|org| !orgs.contains(*org)) {
            Some(org) => Err(("orgs", format!("`{org}` is not one of [[orgs]]"))),
            None => Ok(()),
        },
        (Some(_), None, None) | (None, Some(_), None) => Ok(()),
    }
}

/// Where the entry's keys come from.
fn source(
    entry: &jwt::Config,
    tokens: &mut Tokens,
    key: &dyn Fn(&str) -> String,
) -> Result<Jwks, ConfigError> {
    let id = entry.id.as_str();
    match (&entry.jwks_url, &entry.jwks_file) {
        (None, None) => Err(ConfigError::new(key("jwks_url"), "is required, unless there is a jwks_file")),
        (Some(_), Some(_)) => Err(ConfigError::new(key("jwks_file"), "must not stand beside jwks_url")),
        (None, Some(_)) if entry.ca_file.is_some() => {
            Err(ConfigError::new(key("ca_file"), "must stand beside a jwks_url with https"))
        }
        (None, Some(path)) => {
            let name = key("jwks_file");
            let file =
                JwksFile::read(name.clone(), id, path).map_err(|error| ConfigError::new(name, error))?;
            let jwks = file.jwks().clone();
            tokens.files.push(file);
            Ok(jwks)
        }
        (Some(url), None) => {
            let url = Url::parse(url).map_err(|error| ConfigError::new(key("jwks_url"), error))?;
            if entry.ca_file.is_some() && !url.is_https() {
                return Err(ConfigError::new(key("ca_file"), "must stand beside a jwks_url with https"));
            }
            let fetch = Fetch::new(url, entry.ca_file.as_deref()).map_err(|error| {
                let name = match &error {
                    SetupError::CaFile { .. } | SetupError::NoCertificate(_) => "ca_file",
                    SetupError::PlatformRoots(_) | SetupError::Tls(_) => "jwks_url",
                };
                ConfigError::new(key(name), error)
            })?;
            let (jwks, pace) =
                (Jwks::fetched(id), Pace { min: entry.jwks_min_interval, max: entry.jwks_max_interval });
            tokens.fetches.push(Fetched { jwks: jwks.clone(), fetch, pace });
            Ok(jwks)
        }
    }
}
