//! Rules in Cedar that can hardly be meant. What is said of one is so whatever is called: what only might be is not said.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, PrincipalConstraint, ResourceConstraint};
use uuid::Uuid;

use super::{Caller, Held, Known, Part, Tree};
use crate::{
    call::OrgId,
    file::form::Misfit,
    policy::rules::{Otherwise, Rules, Written},
    rpc::{self, MethodSpec},
    rule::Mode,
};

mod bounds;
mod cover;

/// All that is found about them, rule by rule.
pub(super) fn all(rules: &Rules, tree: &Tree, known: &Known, found: &mut Vec<Misfit>) {
    let written: Vec<_> = rules.written().collect();
    for rule in &written {
        if rule.stance().mode == Mode::Off {
            let is_of_use = rule.stance().share.is_whole();
            found.extend((!is_of_use).then(|| misfit(rule, "`@share` is of no use with mode \"off\"")));
            continue;
        }
        if let Some(problem) = unreachable(rule, tree, known) {
            found.push(misfit(rule, &problem));
            continue;
        }
        let problems = strangers(rule, known)
            .into_iter()
            .chain(cover::problem(rule, &written, rules.otherwise()))
            .chain(bounds::problems(rule.policy(), known.stricter));
        found.extend(problems.map(|problem| misfit(rule, &problem)));
    }
    let permits = |rule: &Written<'_>| rule.is_permit() && rule.stance().mode == Mode::Enforce;
    if rules.otherwise() == Otherwise::Forbid && !written.iter().any(permits) {
        found.push(Misfit::new("rules.default", "refuses every call: no rule in force permits any"));
    }
}

fn misfit(rule: &Written<'_>, problem: &str) -> Misfit {
    Misfit::new(rule.place(), format_args!("rule `{}`: {problem}", rule.id()))
}

/// A rule that says nothing of any call that comes as far as the rules.
fn unreachable(rule: &Written<'_>, tree: &Tree, known: &Known) -> Option<String> {
    let named = principal(rule);
    let meant: Vec<&Caller> =
        known.callers.iter().filter(|caller| named.as_ref().is_none_or(|uid| is(caller, uid))).collect();
    if let Some(uid) = named.filter(|_| meant.is_empty()) {
        return Some(format!("is for nobody: no credential of the config is this {}'s", kind(&uid)));
    }
    let resource = resource(rule).filter(|uid| kind(uid) == "org");
    let near = |caller: &&&Caller| resource.as_ref().is_none_or(|org| is(caller, org));
    let callers: Vec<&Caller> = meant.iter().filter(near).copied().collect();
    if let Some(org) = resource.filter(|_| callers.is_empty() && !meant.is_empty()) {
        return Some(format!("is about no call: none of its callers is of {org}"));
    }
    let methods: Vec<&MethodSpec> =
        rpc::methods().filter(|method| rule.methods().contains(method.name)).collect();
    let any = |may: &dyn Fn(&Caller, &MethodSpec) -> bool| {
        callers.iter().any(|caller| methods.iter().any(|method| may(caller, method)))
    };
    let (limited, scoped) = (
        any(&|caller, method| tree.allows(caller, method)),
        any(&|caller, method| caller.scopes.cover(method)),
    );
    let both = any(&|caller, method| tree.allows(caller, method) && caller.scopes.cover(method));
    let problem = match (limited, scoped) {
        _ if both || callers.is_empty() => return None,
        (false, _) => "limits.methods allows none of its methods",
        (true, false) => "no credential's scopes cover any of its methods",
        (true, true) => "limits.methods and the scopes of credentials leave none of its methods",
    };
    Some(format!("is about no call: {problem}"))
}

/// What it names and nobody is or holds.
fn strangers(rule: &Written<'_>, known: &Known) -> Vec<String> {
    let nobody = |uid: &&EntityUid| !known.callers.iter().any(|caller| is(caller, uid));
    let mut problems: Vec<String> = rule
        .callers()
        .iter()
        .filter(nobody)
        .map(|uid| format!("names {uid}, and no credential of the config is this {}'s", kind(uid)))
        .collect();
    let org = principal(rule).map(|uid| org_of(&uid));
    let holders = known.holdings.iter().flatten();
    let holders = holders.filter(|(holder, _)| org.as_ref().is_none_or(|org| org == *holder));
    let holders: Vec<&Held> = holders.map(|(_, held)| held).collect();
    let whose = org.as_ref().map_or("any org".to_owned(), |org| format!("the org {org}"));
    let literals = if known.holdings.is_some() { rule.policy().entity_literals() } else { Vec::new() };
    for uid in literals {
        let Ok(id) = Uuid::try_parse(uid.id().unescaped()) else { continue };
        let (kind, pick): (_, fn(&Held) -> &BTreeSet<Uuid>) = match uid.type_name().to_string().as_str() {
            "Project" => ("project", |held| &held.projects),
            "EnvironmentClass" => ("environment class", |held| &held.classes),
            _ => continue,
        };
        if !holders.iter().any(|held| pick(held).contains(&id)) {
            problems.push(format!("names the {kind} {id}, which is none of {whose}"));
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

/// Whom the head names.
fn principal(rule: &Written<'_>) -> Option<EntityUid> {
    match rule.policy().principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    }
}

/// What the head names.
fn resource(rule: &Written<'_>) -> Option<EntityUid> {
    match rule.policy().resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    }
}

/// Of those that rules name callers by there are two.
fn kind(uid: &EntityUid) -> &'static str {
    match uid.type_name().to_string().as_str() {
        "Subject" => "subject",
        "Org" => "org",
        _ => "object",
    }
}

/// Whether a call of that caller may be one of a subject's or of an org's.
fn is(caller: &Caller, uid: &EntityUid) -> bool {
    let subject = match (kind(uid), uid.id().unescaped().split_once('/')) {
        ("subject", Some((_, subject))) => Some(subject),
        ("subject", None) => return false,
        _ => None,
    };
    let is_subject = |own: &str| caller.subject.as_ref().is_none_or(|subject| subject.as_str() == own);
    caller.org == org_of(uid) && subject.is_none_or(is_subject)
}

fn org_of(uid: &EntityUid) -> OrgId {
    let id: &str = uid.id().unescaped();
    match kind(uid) {
        "subject" => id.split_once('/').map_or(id, |(org, _)| org).into(),
        _ => id.into(),
    }
}

impl Tree {
    /// Whether limits of methods let any call of the method pass.
    fn allows(&self, caller: &Caller, method: &MethodSpec) -> bool {
        let branch = self.orgs.iter().find(|branch| branch.org == caller.org);
        let subjects = branch.iter().flat_map(|branch| &branch.subjects);
        let own = subjects.filter(|(subject, _)| caller.subject.as_ref().is_none_or(|own| own == subject));
        let own: Vec<&Part> = own.map(|(_, part)| part).collect();
        // Whoever may be anybody may also be somebody of whom nothing is said.
        let is_unsaid = own.is_empty() || caller.subject.is_none();
        let broader: Vec<&Part> = branch.map(|branch| &branch.part).into_iter().chain(&self.common).collect();
        let chains = own.into_iter().map(Some).chain(is_unsaid.then_some(None));
        let mut chains = chains.map(|part| part.into_iter().chain(broader.iter().copied()));
        chains.any(|parts| admits(parts, method))
    }
}

/// By any of the entries that may be in force; `parts` begin with the narrowest.
fn admits<'p>(parts: impl Iterator<Item = &'p Part>, method: &MethodSpec) -> bool {
    for limit in parts.filter_map(|part| part.methods.as_ref()) {
        if limit.stance.mode == Mode::Enforce && limit.value.admits(method) {
            return true;
        }
        if limit.is_always_in_force() {
            return false;
        }
    }
    true
}
