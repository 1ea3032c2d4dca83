//! How a call is refused that breaks rules: all of them at once, each so that its caller can act on it.

use std::collections::BTreeSet;

use prost::{Message, length_delimiter_len};
use tonic_types::pb;

use crate::{
    error::{Error, Reason},
    rule::{Outcome, Ruling},
};

#[cfg(test)]
mod tests;

/// Nobody reads more.
const MAX_SHOWN: usize = 16;
/// Bytes of violations. Details travel in a header: over gRPC all of them have 4 KiB, and what is more is left out whole.
const VIOLATIONS: usize = 5 << 9;
/// And of links: both leave some room for the names of their types.
const LINKS: usize = 5 << 8;

/// The refusal for those of the rulings that refuse; `None` if none does. Names the first of them as the error's rule.
pub fn refuse(rulings: &[Ruling]) -> Option<Error> {
    let refusing: Vec<_> = rulings.iter().filter(|ruling| ruling.refuses()).collect();
    let first = refusing.first()?;
    let shown = refusing.iter().take(MAX_SHOWN).map(|ruling| violation(ruling));
    let mut field_violations = within(VIOLATIONS, shown);
    if let Some(more @ 1..) = refusing.len().checked_sub(field_violations.len()) {
        let description = format!("{more} more rules are broken");
        field_violations.push(pb::bad_request::FieldViolation { description, ..Default::default() });
    }
    let error = Error::refuse(Reason::PolicyDenied)
        .with_rule(first.rule.as_str().to_owned())
        .with_detail(&pb::BadRequest { field_violations });
    let links = within(LINKS, links(&refusing));
    Some(if links.is_empty() { error } else { error.with_detail(&pb::Help { links }) })
}

/// The first of them, as many as there is room for.
fn within<M: Message>(room: usize, all: impl Iterator<Item = M>) -> Vec<M> {
    let mut left = Some(room);
    all.take_while(|message| {
        let length = message.encoded_len();
        // With the tag of one byte before it.
        let taken = 1 + length_delimiter_len(length) + length;
        left = left.and_then(|left| left.checked_sub(taken));
        left.is_some()
    })
    .collect()
}

fn violation(ruling: &Ruling) -> pb::bad_request::FieldViolation {
    pb::bad_request::FieldViolation {
        field: ruling.field.as_deref().unwrap_or_default().to_owned(),
        description: description(ruling),
        reason: Reason::PolicyDenied.as_str().to_owned(),
        ..Default::default()
    }
}

/// Which rule, what would keep it, and what the operator has to say.
fn description(ruling: &Ruling) -> String {
    let said: Vec<_> = [ruling.bound.as_deref(), ruling.message.as_deref()].into_iter().flatten().collect();
    match (said.as_slice(), ruling.outcome) {
        ([], Outcome::Failed) => format!("{}: could not be judged", ruling.rule),
        ([], _) => format!("{}: is broken", ruling.rule),
        (said, _) => format!("{}: {}", ruling.rule, said.join("; ")),
    }
}

/// Each link once.
fn links(refusing: &[&Ruling]) -> impl Iterator<Item = pb::help::Link> {
    let mut seen = BTreeSet::new();
    let linked = refusing.iter().take(MAX_SHOWN).filter_map(|ruling| Some((ruling, ruling.link.as_deref()?)));
    linked
        .filter(move |(_, url)| seen.insert(*url))
        .map(|(ruling, url)| pb::help::Link { description: ruling.rule.to_string(), url: url.to_owned() })
}
