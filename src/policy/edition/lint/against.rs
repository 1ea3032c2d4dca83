//! Entries that cannot be kept together with something else.

use std::{collections::BTreeSet, time::Duration};

use humantime::format_duration;
use uuid::Uuid;

use super::{Held, Known, Level};
use crate::{
    file::form::Misfit,
    policy::{
        Stricter,
        bounds::{STRICTER_MIN_POOL_SIZE, STRICTER_MIN_TIMEOUT},
        document::Document,
        edition::chain::Limit,
    },
    rpc,
    rule::{Mode, Selection},
};

/// Bounds of pools against each other, and against the API's.
pub(super) fn sizes(level: &Level<'_>, stricter: Stricter, found: &mut Vec<Misfit>) {
    let count = |limit: &&Limit<i32>| limit.stance.mode != Mode::Off;
    let min = level.parts().filter_map(|part| part.min_pool_size.as_ref()).find(count);
    let max = level.parts().filter_map(|part| part.max_pool_size.as_ref()).find(count);
    if let Some((min, max)) = min.zip(max).filter(|(min, max)| min.value > max.value) {
        // Said where the narrower of the two stands.
        let (own, other) = if max.key.starts_with(&level.at) { (max, min) } else { (min, max) };
        if own.key.starts_with(&level.at) {
            let problem = format_args!("cannot be kept together with {} ({})", other.key, other.value);
            found.push(Misfit::new(&own.key, problem));
        }
    }
    let max = level.part.max_pool_size.as_ref().filter(|limit| count(limit));
    if let Some(limit) = max.filter(|max| stricter == Stricter::Enforce && max.value < STRICTER_MIN_POOL_SIZE)
    {
        let problem = format_args!("leaves no size: {ENFORCED} asks for at least {STRICTER_MIN_POOL_SIZE}");
        found.push(Misfit::new(&limit.key, problem));
    }
}

/// Timeouts against the API's bounds.
pub(super) fn times(level: &Level<'_>, stricter: Stricter, found: &mut Vec<Misfit>) {
    if stricter != Stricter::Enforce {
        return;
    }
    let least = format_duration(STRICTER_MIN_TIMEOUT);
    let is_short = |time: &Duration| *time < STRICTER_MIN_TIMEOUT;
    let max = level.part.max_timeout.as_ref();
    if let Some(max) = max.filter(|max| max.stance.mode != Mode::Off && is_short(&max.value)) {
        let problem = format_args!("leaves no timeout: {ENFORCED} asks for at least {least}");
        found.push(Misfit::new(&max.key, problem));
    }
    if let Some((key, _)) = level.part.default_timeout.as_ref().filter(|(_, time)| is_short(time)) {
        let problem = format_args!("is never good: {ENFORCED} asks for at least {least}");
        found.push(Misfit::new(key, problem));
    }
}

const ENFORCED: &str = "validation.stricter = \"enforce\"";

/// Ids against what the orgs hold.
pub(super) fn holdings(level: &Level<'_>, known: &Known, found: &mut Vec<Misfit>) {
    let Some(holdings) = &known.holdings else { return };
    let of = |pick: fn(&Held) -> &BTreeSet<Uuid>| -> BTreeSet<Uuid> {
        let held = holdings.iter().filter(|(org, _)| level.org.is_none_or(|own| own == *org));
        held.flat_map(|(_, held)| pick(held)).copied().collect()
    };
    let (projects, classes) = (of(|held| &held.projects), of(|held| &held.classes));
    let whose = level.org.map_or("any org".to_owned(), |org| format!("the org {org}"));
    let mut tell = |key: String, kind: &str, id: &Uuid| {
        let problem = format_args!("names the {kind} {id}, which is none of {whose}");
        found.push(Misfit::new(key, problem));
    };
    for (entry, kind, held) in [
        (&level.part.projects, "project", &projects),
        (&level.part.environment_classes, "environment class", &classes),
    ] {
        let Some(Limit { key, value: Selection { allow, deny }, .. }) = entry else { continue };
        let lists = [("allow", allow.as_deref()), ("deny", Some(&**deny))];
        for (name, ids) in lists.into_iter().filter_map(|(name, ids)| Some((name, ids?))) {
            ids.difference(held).take(1).for_each(|id| tell(format!("{key}.{name}"), kind, id));
        }
    }
    for (project, class) in &level.part.default_classes {
        let key = format!("{}limits.default_environment_classes.{project}", level.at);
        if !projects.contains(project) {
            tell(key, "project", project);
        } else if !classes.contains(class) {
            tell(key, "environment class", class);
        }
    }
}

/// Rates of which a replica's part has no burst for one call.
pub(super) fn parts(level: &Level<'_>, document: &Document, known: &Known, found: &mut Vec<Misfit>) {
    let Some(replicas) = known.replicas.filter(|replicas| replicas.get() > 1) else { return };
    for (_, over, limit) in level.part.rates.iter().filter(|(.., limit)| limit.stance.mode == Mode::Enforce) {
        let costs = rpc::methods().filter(|method| over.covers(method));
        let costs = costs.map(|method| document.costs.get(method.name).map_or(1, |cost| cost.get()));
        let (part, most) = (limit.value.burst.get() / replicas, costs.max().unwrap_or(1));
        if part < most {
            let problem = format_args!(
                "a replica's part of the burst is {part}, and a call costs {most}: replicas that are without \
                 limits.redis let one such call each pass at once"
            );
            found.push(Misfit::new(&limit.key, problem));
        }
    }
}
