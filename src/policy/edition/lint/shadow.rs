//! Entries that make no difference beside what else is written.

use std::{sync::Arc, time::Duration};

use super::{Level, within::Within};
use crate::{
    file::form::Misfit,
    policy::{
        applied::Methods,
        bounds::{MAX_PAGE_SIZE, MAX_POOL_SIZE, MAX_TIMEOUT, MIN_POOL_SIZE},
        edition::{Part, chain::Limit, part::Over},
    },
    rule::{BudgetOf, Burden, Holder, Mode, Rate, Selection},
};

/// Typed limits against the broader ones, and at last against the API's own bounds.
pub(super) fn entries(level: &Level<'_>, found: &mut Vec<Misfit>) {
    let at_most = |one: &i32, other: &i32| one <= other;
    let at_least = |one: &i32, other: &i32| one >= other;
    weigh(level, found, |part| part.methods.as_ref(), Within::is_within, Some(Methods::default()));
    weigh(level, found, |part| part.max_timeout.as_ref(), Duration::le, Some(MAX_TIMEOUT));
    weigh(level, found, |part| part.min_pool_size.as_ref(), at_least, Some(MIN_POOL_SIZE));
    weigh(level, found, |part| part.max_pool_size.as_ref(), at_most, Some(MAX_POOL_SIZE));
    weigh(level, found, |part| part.max_page_size.as_ref(), at_most, Some(MAX_PAGE_SIZE));
    let all = Some(Selection { allow: None, deny: Arc::default() });
    weigh(level, found, |part| part.projects.as_ref(), Within::is_within, all.clone());
    weigh(level, found, |part| part.environment_classes.as_ref(), Within::is_within, all);
    weigh(level, found, |part| part.in_flight.as_ref(), u32::le, None);
}

/// Rates against the same ones of more callers; then against those over all calls, and those of the whole org.
pub(super) fn rates(level: &Level<'_>, found: &mut Vec<Misfit>) {
    for (holder, over, limit) in &level.part.rates {
        weigh(level, found, |part| rate(part, *holder, *over), Within::is_within, None);
        let mut wider = Vec::new();
        if *over != Over::All {
            wider.push((*holder, Over::All));
        }
        if *holder == Holder::Subject {
            wider.extend([(Holder::Org, *over), (Holder::Org, Over::All)]);
        }
        wider.dedup();
        let in_force = wider.into_iter().filter_map(|(holder, over)| {
            let mut limits = level.parts().filter_map(|part| rate(part, holder, over));
            limits.find(|limit| limit.is_always_in_force())
        });
        beneath(limit, in_force, found);
    }
}

/// Budgets likewise; those of a project against those of the org.
pub(super) fn budgets(level: &Level<'_>, found: &mut Vec<Misfit>) {
    for (holder, name, limit) in &level.part.budgets {
        weigh(level, found, |part| budget(part, *holder, name), Within::is_within, None);
        if *holder == BudgetOf::Project {
            let mut limits = level.parts().filter_map(|part| budget(part, BudgetOf::Org, name));
            beneath(limit, limits.find(|limit| limit.is_always_in_force()), found);
        }
    }
}

fn rate(part: &Part, holder: Holder, over: Over) -> Option<&Limit<Rate>> {
    let mut rates = part.rates.iter();
    rates.find(|(of, what, _)| (*of, *what) == (holder, over)).map(|(.., limit)| limit)
}

fn budget<'p>(part: &'p Part, of: BudgetOf, name: &str) -> Option<&'p Limit<Burden>> {
    let mut budgets = part.budgets.iter();
    budgets.find(|(holder, what, _)| (*holder, *what) == (of, name)).map(|(.., limit)| limit)
}

/// An entry that another one in force, of another kind, comes before on every call.
fn beneath<'l, T: Within + 'l>(
    limit: &Limit<T>,
    in_force: impl IntoIterator<Item = &'l Limit<T>>,
    found: &mut Vec<Misfit>,
) {
    if limit.stance.mode == Mode::Off {
        return;
    }
    if let Some(tighter) = in_force.into_iter().find(|other| other.value.is_within(&limit.value)) {
        let problem = format_args!("never counts: {} is not wider", tighter.key);
        found.push(Misfit::new(&limit.key, problem));
    }
}

/// An entry against the one of its kind that would count without it.
fn weigh<'l, T: PartialEq + 'l>(
    level: &Level<'l>,
    found: &mut Vec<Misfit>,
    find: impl Fn(&'l Part) -> Option<&'l Limit<T>>,
    is_within: impl Fn(&T, &T) -> bool,
    own_bound: Option<T>,
) {
    let Some(entry) = find(level.part) else { return };
    if entry.stance.mode == Mode::Off {
        if !entry.stance.share.is_whole() {
            found.push(Misfit::new(format_args!("{}.share", entry.key), "is of no use with mode = \"off\""));
        }
        return;
    }
    if entry.candidate.as_ref() == Some(&entry.value) {
        found.push(Misfit::new(
            format_args!("{}.candidate", entry.key),
            "is the value itself: it tells nothing",
        ));
    }
    let mut broader = level.broader.iter().filter_map(|part| find(part));
    let next = broader.clone().find(|limit| limit.stance.mode != Mode::Off);
    let in_force = broader.find(|limit| limit.is_always_in_force());
    let problem = match (entry.stance.mode, in_force) {
        // Whatever is looked at between the two is no longer looked at: that is a difference.
        // What is built in may be written out, for those who read.
        (Mode::Enforce, Some(other))
            if !other.is_built_in() && next.is_some_and(|next| next.is_always_in_force()) =>
        {
            let is_same = is_within(&entry.value, &other.value) && is_within(&other.value, &entry.value);
            is_same.then(|| format!("says what {} says, and makes no difference", other.key))
        }
        (Mode::Audit | Mode::Warn, Some(other)) => is_within(&other.value, &entry.value)
            .then(|| format!("is never broken by itself: {} is in force and not wider", other.key)),
        (_, None) if next.is_none() => own_bound
            .filter(|bound| is_within(bound, &entry.value))
            .map(|_| "is the API's own bound, and makes no difference".to_owned()),
        _ => None,
    };
    found.extend(problem.map(|problem| Misfit::new(&entry.key, problem)));
}
