//! How a call is refused that breaks rules: all of them at once, each so that its caller can act on it.

use std::collections::BTreeSet;

use tonic_types::pb;

use crate::{
    error::{Error, Reason},
    rule::{Outcome, Ruling},
};

#[cfg(test)]
mod tests;

/// Details travel in a header, and gRPC clients take 8 KiB of headers by default.
const MAX_SHOWN: usize = 16;

/// The refusal for those of the rulings that refuse; `None` if none does. Names the first of them as the error's rule.
pub fn refuse(rulings: &[Ruling]) -> Option<Error> {
    let refusing: Vec<_> = rulings.iter().filter(|ruling| ruling.refuses()).collect();
    let first = refusing.first()?;
    let mut field_violations: Vec<_> =
        refusing.iter().take(MAX_SHOWN).map(|ruling| violation(ruling)).collect();
    if let Some(more @ 1..) = refusing.len().checked_sub(MAX_SHOWN) {
        let description = format!("{more} more rules are broken");
        field_violations.push(pb::bad_request::FieldViolation { description, ..Default::default() });
    }
    let error = Error::refuse(Reason::PolicyDenied)
        .with_rule(first.rule.as_str().to_owned())
        .with_detail(&pb::BadRequest { field_violations });
    let links = links(&refusing);
    Some(if links.is_empty() { error } else { error.with_detail(&pb::Help { links }) })
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
fn links(refusing: &[&Ruling]) -> Vec<pb::help::Link> {
    let mut seen = BTreeSet::new();
    let linked = refusing.iter().take(MAX_SHOWN).filter_map(|ruling| Some((ruling, ruling.link.as_deref()?)));
    linked
        .filter(|(_, url)| seen.insert(*url))
        .map(|(ruling, url)| pb::help::Link { description: ruling.rule.to_string(), url: url.to_owned() })
        .collect()
}
