//! The policy of a configuration: what it says, what it can hardly mean, and whether its tests pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use uuid::Uuid;

use super::super::{
    EX_CONFIG, Failure,
    cases::{Cases, beside},
    complain, print,
    trial::Bench,
};
use crate::{
    call::{OrgId, Scopes},
    config::{Config, ConfigError, PolicyFile, Resolved},
    policy::{Caller, Edition, Held, Holders, Known, Policy, Section, rules::Otherwise},
    rule::Mode,
    upstream,
};

/// Says all of it; nothing, where no policy is named.
pub(super) async fn check(resolved: Resolved, strict: bool, tests: bool) -> Result<(), Failure> {
    let Some(file) = &resolved.policy_file else {
        return match tests {
            true => Err(Failure::config("policy.file: names no policy to be tested")),
            false => Ok(()),
        };
    };
    print(shown(&resolved, file))?;
    let lints = file.lints(&known(&resolved)).map_err(Failure::config)?;
    warn(file, &lints, strict)?;
    if tests { test(resolved).await } else { Ok(()) }
}

fn warn(file: &PolicyFile, lints: &[ConfigError], strict: bool) -> Result<(), Failure> {
    let path = file.path().display();
    for lint in lints {
        complain(format_args!("warning: {path}: {lint}\n"));
    }
    match lints.len() {
        count @ 1.. if strict => {
            Err(Failure { message: format!("{path}: {count} warnings"), code: EX_CONFIG })
        }
        _ => Ok(()),
    }
}

async fn test(resolved: Resolved) -> Result<(), Failure> {
    let Some(file) = &resolved.policy_file else { return Ok(()) };
    let path = beside(file.path());
    let cases = Cases::load(&path).map_err(|error| Failure::new(error.to_string()))?;
    let bench = Bench::new(Policy::new(resolved.policy), &resolved.config);
    let failures = cases.run(&bench).await;
    let path = path.display();
    for failure in &failures {
        complain(format_args!("{path}: {failure}\n"));
    }
    match failures.len() {
        0 => print(format_args!("{path}: {} cases pass\n", cases.len())),
        count => Err(Failure::new(format!("{path}: {count} expectations of {} cases failed", cases.len()))),
    }
}

/// What a policy says: a line for each entry, by whom it is for.
fn shown(resolved: &Resolved, file: &PolicyFile) -> String {
    let edition = &resolved.policy;
    let revision = edition.revision().map(|revision| format!(" ({revision})")).unwrap_or_default();
    let counted = match (&resolved.redis, resolved.config.limits.replicas) {
        (Some(_), Some(replicas)) => format!("shared by {replicas} replicas"),
        _ => "of each replica by itself".to_owned(),
    };
    let path = file.path().display();
    let mut text = format!("policy {}{revision} of {path}; rates {counted}\n", edition.version());
    let (sections, rules) = (edition.sections(), rules(edition));
    let width = sections.iter().flat_map(|section| &section.lines).map(|line| line.rule.len());
    let width = width.chain(rules.iter().map(|(_, rule, _)| rule.len())).max().unwrap_or_default();
    for Section { of, lines } in &sections {
        let whose = match of {
            Holders::EveryOrg => "every org".to_owned(),
            Holders::Org(org) => format!("org {org}"),
            Holders::Subject(org, subject) => format!("org {org}, subject {subject}"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {whose}");
        for line in lines {
            let _ = writeln!(text, "    {:<7}  {:<width$}  {}", line.mode, line.rule, line.text);
        }
    }
    if !rules.is_empty() {
        text += "  rules\n";
    }
    for (mode, rule, share) in rules {
        let line = format!("    {mode:<7}  {rule:<width$}  {share}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for (org, held) in held(&resolved.config).into_iter().flatten() {
        let _ = writeln!(
            text,
            "  org {org} holds {} projects and {} environment classes",
            held.projects.len(),
            held.classes.len()
        );
    }
    text
}

/// Mode, name and share of each rule in Cedar.
fn rules(edition: &Edition) -> Vec<(&'static str, String, String)> {
    let told = edition.rules().stances().map(|(rule, stance)| {
        let share = match stance.share.is_whole() {
            true => String::new(),
            false => format!("for {} of the calls", stance.share),
        };
        (stance.mode.as_str(), rule.to_string(), share)
    });
    let otherwise = (edition.rules().otherwise() == Otherwise::Forbid).then(|| {
        (Mode::Enforce.as_str(), "rules.default".to_owned(), "a rule must permit the call".to_owned())
    });
    told.chain(otherwise).collect()
}

/// Who may call, and what the orgs hold.
fn known(resolved: &Resolved) -> Known {
    let (config, callers) = (&resolved.config, &resolved.callers);
    let keys = callers.keys.all().into_iter().map(|key| &key.identity);
    let identities = keys.chain(callers.certificates.all().iter().map(|(identity, _)| identity));
    let mut known: Vec<_> = identities
        .map(|identity| Caller {
            org: identity.org.clone(),
            subject: Some(identity.subject.clone()),
            scopes: identity.scopes.clone(),
        })
        .collect();
    let all = || config.orgs.iter().map(|org| org.id.clone()).collect::<Vec<_>>();
    let mut anybody = |orgs: Vec<OrgId>, scopes: Scopes| {
        known.extend(orgs.into_iter().map(|org| Caller { org, subject: None, scopes: scopes.clone() }));
    };
    for issuer in &config.identity.jwt {
        let orgs = match (&issuer.org, &issuer.orgs) {
            (Some(org), _) => vec![org.clone()],
            (None, Some(table)) => table.values().cloned().collect(),
            (None, None) => all(),
        };
        anybody(orgs, Scopes::new(&issuer.scopes));
    }
    if config.identity.upstream_tokens.enabled {
        anybody(all(), Scopes::new(&config.identity.upstream_tokens.scopes));
    }
    let replicas = resolved.redis.as_ref().and(config.limits.replicas);
    Known { stricter: config.validation.stricter, callers: known, replicas, holdings: held(config) }
}

fn held(config: &Config) -> Option<BTreeMap<OrgId, Held>> {
    let ids = |ids: &[String]| ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect::<BTreeSet<_>>();
    (config.tenancy == upstream::Mode::Strict).then(|| {
        let held = config.orgs.iter().map(|org| {
            let held = Held { projects: ids(&org.projects), classes: ids(&org.environment_classes) };
            (org.id.clone(), held)
        });
        held.collect()
    })
}
