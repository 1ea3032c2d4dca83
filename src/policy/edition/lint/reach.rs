//! Entries that nobody, or no call, is ever held to.

use super::{Caller, Known, Level, Tree};
use crate::{
    file::form::Misfit,
    policy::{
        applied::Methods,
        document::{Allow, Document, Entry, Limits, Selected},
        edition::Part,
    },
    rpc::{self, MethodSpec},
    rule::Mode,
};

/// What a limit is about, by a field of the request.
const KINDS: [(&str, &str); 4] = [
    ("limits.max_timeout", "spec.timeout"),
    ("limits.min_pool_size", "max_size"),
    ("limits.max_pool_size", "max_size"),
    ("limits.max_page_size", "pagination.page_size"),
];

/// A section for callers that no credential is for.
pub(super) fn callers(level: &Level<'_>, known: &Known, found: &mut Vec<Misfit>) {
    let Some(org) = level.org else { return };
    let is_of = |caller: &&Caller| {
        let is_subject = |own| caller.subject.as_ref().is_none_or(|subject| subject == own);
        caller.org == *org && level.subject.is_none_or(is_subject)
    };
    if !known.callers.iter().any(|caller| is_of(&caller)) {
        let who = if level.subject.is_some() { "subject" } else { "org" };
        let problem = format_args!("is for nobody: no credential of the config is this {who}'s");
        found.push(Misfit::new(level.at.trim_end_matches('.'), problem));
    }
}

/// Limits of methods that are not allowed anyway.
pub(super) fn methods(level: &Level<'_>, found: &mut Vec<Misfit>) {
    let Some(methods) = in_force(level) else { return };
    let part = level.part;
    let is_there = |index: usize| match index {
        0 => part.max_timeout.is_some(),
        1 => part.min_pool_size.is_some(),
        2 => part.max_pool_size.is_some(),
        _ => part.max_page_size.is_some(),
    };
    for (index, (name, field)) in KINDS.into_iter().enumerate() {
        if is_there(index) && !admits(&methods, |method| method.takes(field)) {
            let problem = "is about no call: limits.methods allows none that it could be about";
            found.push(Misfit::new(format_args!("{}{name}", level.at), problem));
        }
    }
    for (.., over, limit) in &part.rates {
        if !admits(&methods, |method| over.covers(method)) {
            let problem = "is about no call: limits.methods allows none that counts in it";
            found.push(Misfit::new(&limit.key, problem));
        }
    }
}

/// Costs of methods that nobody may call.
pub(super) fn costs(document: &Document, tree: &Tree, found: &mut Vec<Misfit>) {
    let common = tree.levels().into_iter().next();
    let Some(methods) = common.as_ref().and_then(in_force) else { return };
    for name in document.costs.keys() {
        if !admits(&methods, |method| method.name == name) {
            found.push(Misfit::new(
                format_args!("costs.{name}"),
                "is about no call: limits.methods denies it",
            ));
        }
    }
}

/// Words in lists of allowed methods that no credential is good for.
pub(super) fn words(document: &Document, known: &Known, found: &mut Vec<Misfit>) {
    let mut tell = |at: &str, limits: &Limits, is_of: &dyn Fn(&Caller) -> bool| {
        let Some(Entry { value: Selected { allow: Some(Allow::Only(words)), .. }, .. }) = &limits.methods
        else {
            return;
        };
        let callers: Vec<_> = known.callers.iter().filter(|caller| is_of(caller)).collect();
        for (index, word) in words.iter().enumerate() {
            let mut meant =
                rpc::methods().filter(|method| [method.class.as_str(), method.name].contains(&word.as_str()));
            let is_covered = meant.any(|method| callers.iter().any(|caller| caller.scopes.cover(method)));
            if !callers.is_empty() && !is_covered {
                let problem = format_args!("allows `{word}`, which no credential's scopes cover");
                found.push(Misfit::new(format_args!("{at}limits.methods.allow[{index}]"), problem));
            }
        }
    };
    tell("", &document.limits, &|_| true);
    for (org, written) in &document.orgs {
        tell(&format!("orgs.{org}."), &written.limits, &|caller| caller.org == *org);
        for (subject, written) in &written.subjects {
            let is_of = |caller: &Caller| {
                caller.org == *org && caller.subject.as_ref().is_none_or(|own| own == subject)
            };
            tell(&format!("orgs.{org}.subjects.{subject}."), &written.limits, &is_of);
        }
    }
}

/// The methods that all callers of a section are held to, unless some have other ones.
fn in_force(level: &Level<'_>) -> Option<Methods> {
    let is_other = |part: &&Part| part.methods.as_ref().is_some_and(|limit| limit.stance.mode != Mode::Off);
    if level.narrower.iter().any(is_other) {
        return None;
    }
    let mut limits = level.parts().filter_map(|part| part.methods.as_ref());
    // One that is in force for a share of the calls may allow those more.
    let enforced = limits.find(|limit| limit.stance.mode == Mode::Enforce);
    enforced.filter(|limit| limit.is_always_in_force()).map(|limit| limit.value.clone())
}

fn admits(methods: &Methods, is_meant: impl Fn(&MethodSpec) -> bool) -> bool {
    rpc::methods().any(|method| is_meant(method) && methods.admits(method))
}
