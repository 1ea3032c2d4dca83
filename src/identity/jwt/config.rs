//! One entry of `[[identity.jwt]]`, as it is written.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{super::every_class, Algorithm, path::ClaimPath};
use crate::call::{CredentialId, OrgId, Scope};

/// Clocks that follow NTP differ by less.
const LEEWAY: Duration = Duration::from_secs(30);
/// Whoever makes up key ids causes no more load than this.
const JWKS_MIN_INTERVAL: Duration = Duration::from_secs(30);
/// A key that was taken out of the set stops working within it.
const JWKS_MAX_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// What issuers sign with today; all with SHA-256 or its like, so that a weaker way in has to be asked for.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EDDSA];
/// A token that says no more than that it is one, and an access token (RFC 9068).
const TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// An issuer of tokens, and what its tokens say of who calls.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the entry in the audit log.
    pub id: CredentialId,
    /// What `iss` is, exactly.
    pub issuer: String,
    /// One of them must be in `aud`; at least one.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are, as a JSON Web Key Set: https, or http to a loopback address.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// A file with them instead; it is read again when it changes.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// PEM file with the CA certificates to trust at `jwks_url` instead of the platform's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// From one fetch of `jwks_url` to the next at least, from 100ms to 1h: also for tokens whose keys are unknown.
    #[serde(with = "humantime_serde", default = "default_min_interval")]
    #[schemars(with = "String")]
    pub jwks_min_interval: Duration,
    /// And at most, up to 24h.
    #[serde(with = "humantime_serde", default = "default_max_interval")]
    #[schemars(with = "String")]
    pub jwks_max_interval: Duration,
    /// What tokens may be signed with.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// What `typ` may be, in any case and with or without `application/`.
    #[serde(default = "default_types")]
    pub types: Vec<String>,
    /// Whether tokens without `typ` are accepted, too.
    #[serde(default)]
    pub untyped: bool,
    /// Where the subject is: a dotted path or a JSON pointer.
    #[serde(default = "default_subject_claim")]
    pub subject_claim: ClaimPath,
    /// For which org all tokens are; one of `[[orgs]]`.
    #[serde(default)]
    pub org: Option<OrgId>,
    /// Where the org is instead: a dotted path or a JSON pointer.
    #[serde(default)]
    pub org_claim: Option<ClaimPath>,
    /// What the values of `org_claim` mean. Without it they are the ids of orgs themselves.
    #[serde(default)]
    pub orgs: Option<BTreeMap<String, OrgId>>,
    /// What may be called, as API keys have it. All by default.
    #[serde(default = "every_class")]
    pub scopes: Vec<Scope>,
    /// Where the token's own scopes are: only what stands in both may be called.
    #[serde(default)]
    pub scope_claim: Option<ClaimPath>,
    /// How far clocks may differ, at most 5min.
    #[serde(with = "humantime_serde", default = "default_leeway")]
    #[schemars(with = "String")]
    pub leeway: Duration,
    /// How old a token may be, by `iat`, above 0.
    #[serde(with = "humantime_serde", default)]
    #[schemars(with = "Option<String>")]
    pub max_age: Option<Duration>,
}

fn default_min_interval() -> Duration {
    JWKS_MIN_INTERVAL
}

fn default_max_interval() -> Duration {
    JWKS_MAX_INTERVAL
}

fn default_algorithms() -> Vec<Algorithm> {
    ALGORITHMS.to_vec()
}

fn default_types() -> Vec<String> {
    TYPES.map(str::to_owned).to_vec()
}

fn default_subject_claim() -> ClaimPath {
    ClaimPath::claim("sub")
}

fn default_leeway() -> Duration {
    LEEWAY
}
