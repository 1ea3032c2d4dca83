//! `check`: what is wrong with a configuration, before it runs.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use humantime::format_duration;

use super::{Failure, env, print};
use crate::{
    config::{Config, Resolved},
    identity::{
        api_key::{Key, Keys},
        certificate::Certificates,
        jwks::Jwks,
        jwt::{self, Issuers},
    },
    policy::{document::Document, rules},
    upstream::Client,
};

mod policy;

#[derive(Debug, clap::Args)]
#[group(required = true)]
pub(super) struct Args {
    /// The configuration to check, with the files and environment variables that it names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a schema: the JSON Schema of the configuration or of the policy file, or the Cedar schema of rules.
    #[arg(long, value_name = "OF", num_args = 0..=1, default_missing_value = "config")]
    schema: Option<Form>,
    /// What the policy can hardly mean is an error, too.
    #[arg(long, requires = "config")]
    strict: bool,
    /// Run the policy's tests, which are next to it: policy.test.toml for policy.toml.
    #[arg(long, requires = "config")]
    test: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Form {
    Config,
    Policy,
    Cedar,
}

pub(super) async fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(form) = args.schema {
        print(format_args!("{}\n", form.schema()?.trim_end()))?;
    }
    if let Some(path) = &args.config {
        let resolved = Config::load(path).and_then(|config| config.resolve(&env)).map_err(Failure::config)?;
        let config = &resolved.config;
        Client::new(&config.upstream, resolved.way.base.clone(), resolved.way.credentials.clone())
            .map_err(|error| Failure::config(format!("{}: {error}", error.key())))?;
        print(summary(path, &resolved))?;
        policy::check(resolved, args.strict, args.test).await?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Form {
    fn schema(self) -> Result<String, Failure> {
        let schema = match self {
            Self::Config => schemars::schema_for!(Config),
            Self::Policy => schemars::schema_for!(Document),
            Self::Cedar => return Ok(rules::schema()),
        };
        serde_json::to_string_pretty(&schema).map_err(|error| Failure::new(error.to_string()))
    }
}

/// That it is good, and who may call.
fn summary(path: &Path, resolved: &Resolved) -> String {
    let config = &resolved.config;
    let (orgs, keys) = (config.orgs.len(), resolved.callers.keys.len());
    let (path, url) = (path.display(), &config.upstream.base_url);
    let callers =
        callers(&resolved.callers.keys, SystemTime::now()) + &certified(&resolved.callers.certificates);
    let issuers = issuers(&resolved.callers.tokens.issuers);
    let tokens = upstream_tokens(config);
    let certificates = match resolved.callers.certificates.all().len() {
        0 => String::new(),
        count => format!(", {count} certificates"),
    };
    format!("{path}: ok ({orgs} orgs, {keys} keys{certificates}, upstream {url})\n{callers}{issuers}{tokens}")
}

/// Who may call what, for which org and until when: a line for each key, which it names and does not show.
fn callers(keys: &Keys, now: SystemTime) -> String {
    let mut text = String::new();
    for key in keys.all() {
        let Key { identity, expires } = key;
        let scopes: Vec<_> = identity.scopes.names().collect();
        let until = match expires {
            None => "does not expire".to_owned(),
            Some(time) if key.is_valid(now) => format!("expires {time}"),
            Some(time) => format!("expired {time}"),
        };
        let (org, subject, id, scopes) =
            (&identity.org, &identity.subject, &identity.credential, scopes.join(", "));
        // Writing to a string does not fail.
        let _ = writeln!(text, "  org {org}, subject {subject}, key {id}: {scopes}; {until}");
    }
    text
}

/// Whose tokens of upstream's own are taken, and what for: a line for each org.
fn upstream_tokens(config: &Config) -> String {
    let tokens = &config.identity.upstream_tokens;
    let mut text = String::new();
    for org in config.orgs.iter().filter(|_| tokens.enabled) {
        let id = org.upstream_organization_id.as_deref().unwrap_or("as upstream says at start");
        let scopes: Vec<_> = tokens.scopes.iter().map(|scope| scope.as_str()).collect();
        let (org, scopes, ttl) = (&org.id, scopes.join(", "), format_duration(tokens.ttl));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  org {org}, upstream tokens of its organization ({id}): {scopes}; for {ttl} each"
        );
    }
    text
}

/// The same of client certificates: a line for each entry, with the name that it is for.
fn certified(certificates: &Certificates) -> String {
    let mut text = String::new();
    for (identity, name) in certificates.all() {
        let scopes: Vec<_> = identity.scopes.names().collect();
        let (org, subject, id, scopes) =
            (&identity.org, &identity.subject, &identity.credential, scopes.join(", "));
        // Writing to a string does not fail.
        let _ = writeln!(text, "  org {org}, subject {subject}, certificate {id} of {name}: {scopes}");
    }
    text
}

/// Whose tokens say who calls, and what they are held to: two lines for each issuer.
fn issuers(issuers: &Issuers) -> String {
    let mut text = String::new();
    for (config, jwks) in issuers.entries() {
        let scopes: Vec<_> = config.scopes.iter().map(|scope| scope.as_str()).collect();
        let and = config.scope_claim.iter().map(|path| format!(" and by its claim {path}"));
        let algorithms: Vec<_> = config.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  org {}, subject by claim {}, tokens {} of {} for {}: {}{}; {}; {}",
            org(config),
            config.subject_claim,
            config.id,
            config.issuer,
            config.audiences.join(" or "),
            scopes.join(", "),
            and.collect::<String>(),
            algorithms.join(", "),
            keys(config, jwks),
        );
        let _ = writeln!(text, "    {}", judged(config));
    }
    text
}

/// Which types of tokens, and which times.
fn judged(config: &jwt::Config) -> String {
    let untyped = config.untyped.then_some("none");
    let types: Vec<_> = config.types.iter().map(String::as_str).chain(untyped).collect();
    let age =
        config.max_age.map_or("until exp".to_owned(), |age| format!("at most {}", format_duration(age)));
    let pace = match config.jwks_url {
        Some(_) => {
            let (min, max) = (config.jwks_min_interval, config.jwks_max_interval);
            format!("; keys again after {} to {}", format_duration(min), format_duration(max))
        }
        None => String::new(),
    };
    format!("typ {}; leeway {}; age {age}{pace}", types.join(" or "), format_duration(config.leeway))
}

fn org(config: &jwt::Config) -> String {
    match (&config.org, &config.org_claim, &config.orgs) {
        (Some(org), _, _) => org.to_string(),
        (None, Some(path), None) => format!("by claim {path}"),
        (None, Some(path), Some(table)) => {
            let values: Vec<_> = table.iter().map(|(value, org)| format!("{value:?} is {org}")).collect();
            format!("by claim {path} ({})", values.join(", "))
        }
        (None, None, _) => String::new(),
    }
}

fn keys(config: &jwt::Config, jwks: &Jwks) -> String {
    match (&config.jwks_url, &config.jwks_file) {
        (Some(url), _) => format!("keys fetched from {url}"),
        (None, Some(path)) => {
            let count = jwks.keys().map_or(0, |keys| keys.len());
            format!("{count} keys in {}", path.display())
        }
        (None, None) => String::new(),
    }
}
