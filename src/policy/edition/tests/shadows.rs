//! What is only looked at never decides: for random policies, what is enforced for a call is the same without it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Edition, PROJECT, Texts, ground};
use crate::{
    policy::document::{
        Allow, BudgetSet, Budgets, Creates, Document, Entry, Limits, Org, RateSet, Rates, Selected, Span,
        Subject, SubjectRates,
    },
    rpc,
    rule::{Applied, Draw, Mode, Quota, Rate, Share},
};

fn entry<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> BoxedStrategy<Option<Entry<T>>> {
    let modes = prop::sample::select(vec![Mode::Off, Mode::Audit, Mode::Warn, Mode::Enforce, Mode::Enforce]);
    let shares = prop::sample::select(vec![0.1, 0.5, 0.9, 1.0, 1.0]);
    let share = shares.prop_map(|share| Share::try_from(share).unwrap());
    let entry =
        (value.clone(), modes, share, prop::option::of(value)).prop_map(|(value, mode, share, candidate)| {
            let candidate = candidate.filter(|_| mode != Mode::Off);
            Entry { mode, share, candidate, ..Entry::bare(value) }
        });
    prop::option::of(entry).boxed()
}

/// For every call: what lists are narrowed by has no share.
fn whole(entries: BoxedStrategy<Option<Entry<Selected>>>) -> BoxedStrategy<Option<Entry<Selected>>> {
    let whole = |entry: Entry<Selected>| Entry { share: Share::default(), ..entry };
    entries.prop_map(move |entry| entry.map(whole)).boxed()
}

fn selected(words: &'static [&'static str]) -> impl Strategy<Value = Selected> + Clone {
    let word = prop::sample::select(words).prop_map(str::to_owned);
    prop_oneof![
        Just(Selected { allow: Some(Allow::Any), deny: Vec::new() }),
        word.clone().prop_map(|word| Selected { allow: Some(Allow::Only(vec![word])), deny: Vec::new() }),
        word.prop_map(|word| Selected { allow: None, deny: vec![word] }),
    ]
}

fn span() -> impl Strategy<Value = Span> + Clone {
    (1..=7200_u64).prop_map(|seconds| Span(std::time::Duration::from_secs(seconds)))
}

fn limits(in_flight: bool) -> BoxedStrategy<Limits> {
    let chosen = (
        entry(selected(&["read", "mutate", "DeletePrebuild"])),
        whole(entry(selected(&[PROJECT, "0198c0de-0000-7000-8000-0000000000a2"]))),
        whole(entry(selected(&[PROJECT, "0198c0de-0000-7000-8000-0000000000c1"]))),
    );
    (chosen, entry(span()), entry(0..=20_i64), entry(1..=100_i64), entry(1..=500_i64))
        .prop_map(move |((methods, projects, classes), max_timeout, max_pool_size, max_page_size, calls)| {
            Limits {
                methods,
                projects,
                environment_classes: classes,
                max_timeout,
                max_pool_size,
                max_page_size,
                in_flight: calls.filter(|_| in_flight),
                ..Limits::default()
            }
        })
        .boxed()
}

fn rates() -> BoxedStrategy<RateSet> {
    let rate = (1..100_u32, 1..100_u32)
        .prop_map(|(calls, burst)| Rate::per_second(calls.try_into().unwrap(), burst.try_into().unwrap()));
    (entry(rate.clone()), entry(rate.clone()), entry(rate.clone()), entry(rate))
        .prop_map(|(all, read, mutate, expensive)| RateSet { all, read, mutate, expensive })
        .boxed()
}

fn budgets() -> BoxedStrategy<BudgetSet> {
    let creates = (0..99_i64, span()).prop_map(|(count, window)| Creates { count, window });
    (entry(0..99_i64), entry(0..99_i64), entry(creates))
        .prop_map(|(running_prebuilds, warm_instances, creates)| BudgetSet {
            running_prebuilds,
            warm_instances,
            creates,
        })
        .boxed()
}

fn document() -> BoxedStrategy<Document> {
    let subject = (limits(false), rates())
        .prop_map(|(limits, subject)| Subject { limits, rates: SubjectRates { subject } })
        .boxed();
    let common = (limits(true), rates(), rates(), budgets(), budgets()).boxed();
    let org = (limits(true), rates(), rates(), budgets(), budgets(), subject).boxed();
    (common, org)
        .prop_map(|(common, org)| {
            let (limits, of_org, of_subject, of_orgs, of_projects) = common;
            let rates = Rates { org: of_org, subject: of_subject };
            let budgets = Budgets { org: of_orgs, project: of_projects };
            let (own, org_rate, subject_rate, org_budget, project_budget, subject) = org;
            let org = Org {
                limits: own,
                rates: Rates { org: org_rate, subject: subject_rate },
                budgets: Budgets { org: org_budget, project: project_budget },
                subjects: BTreeMap::from([("ci".into(), subject)]),
            };
            Document {
                limits,
                rates,
                budgets,
                orgs: BTreeMap::from([("acme".into(), org)]),
                ..Document::default()
            }
        })
        .boxed()
}

/// The same without all that is only looked at.
fn bare(mut document: Document) -> Document {
    bare_limits(&mut document.limits);
    bare_rates(&mut document.rates.org);
    bare_rates(&mut document.rates.subject);
    bare_budgets(&mut document.budgets);
    for org in document.orgs.values_mut() {
        bare_limits(&mut org.limits);
        bare_rates(&mut org.rates.org);
        bare_rates(&mut org.rates.subject);
        bare_budgets(&mut org.budgets);
        for subject in org.subjects.values_mut() {
            bare_limits(&mut subject.limits);
            bare_rates(&mut subject.rates.subject);
        }
    }
    document
}

fn keep<T>(entry: &mut Option<Entry<T>>) {
    entry.take_if(|entry| entry.mode != Mode::Enforce);
    entry.iter_mut().for_each(|entry| entry.candidate = None);
}

fn bare_limits(limits: &mut Limits) {
    keep(&mut limits.max_timeout);
    [&mut limits.methods, &mut limits.projects, &mut limits.environment_classes].into_iter().for_each(keep);
    [&mut limits.max_pool_size, &mut limits.max_page_size, &mut limits.in_flight].into_iter().for_each(keep);
}

fn bare_rates(rates: &mut RateSet) {
    let RateSet { all, read, mutate, expensive } = rates;
    [all, read, mutate, expensive].into_iter().for_each(keep);
}

fn bare_budgets(budgets: &mut Budgets) {
    for set in [&mut budgets.org, &mut budgets.project] {
        [&mut set.running_prebuilds, &mut set.warm_instances].into_iter().for_each(keep);
        keep(&mut set.creates);
    }
}

/// The same without what is written for acme and for a share of the calls.
fn unshared(mut document: Document) -> Document {
    for org in document.orgs.values_mut() {
        let subjects = org.subjects.values_mut().map(|subject| &mut subject.rates.subject);
        for RateSet { all, read, mutate, expensive } in
            [&mut org.rates.org, &mut org.rates.subject].into_iter().chain(subjects)
        {
            for entry in [all, read, mutate, expensive] {
                entry.take_if(|entry| !entry.share.is_whole());
            }
        }
    }
    document
}

/// The rates in force.
fn charged(edition: &Edition, method: usize, draw: u128) -> Vec<Quota> {
    let method = rpc::methods().nth(method).unwrap();
    let (_, bound) = edition.apply(&"acme".into(), &"ci".into(), method, Draw::new(draw));
    bound.quotas.into_iter().filter(|quota| quota.rate.is_enforced()).collect()
}

/// Of each kind one at most.
fn in_force<T: Clone + std::fmt::Debug>(applied: &[Applied<T>]) -> String {
    let enforced: Vec<_> = applied.iter().filter(|applied| applied.is_enforced()).collect();
    assert!(enforced.len() <= 1, "{enforced:?}");
    format!("{enforced:?}\n")
}

/// All that decides about a call.
fn decides(edition: &Edition, org: &str, subject: &str, method: usize, draw: u128) -> String {
    let method = rpc::methods().nth(method).unwrap();
    let (limits, bound) = edition.apply(&org.into(), &subject.into(), method, Draw::new(draw));
    let mut quotas = bound.quotas;
    quotas.retain(|quota| quota.rate.is_enforced());
    let mut budgets = bound.budgets;
    budgets.retain(|budget| budget.burden.is_enforced());
    [
        in_force(&limits.methods),
        in_force(&limits.max_timeout),
        in_force(&limits.max_pool_size),
        in_force(&limits.max_page_size),
        in_force(&limits.projects),
        in_force(&limits.environment_classes),
        in_force(&bound.in_flight),
        format!("{quotas:?}\n{budgets:?}\n{:?}\n{:?}", bound.projects, bound.classes),
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_only_looked_at_decides_nothing(
        document in document(),
        calls in prop::collection::vec((0..2_usize, 0..2_usize, 0..12_usize, any::<u128>()), 20),
    ) {
        let resolved = |document: &Document| Edition::resolved(document, &Texts::default(), &ground()).unwrap();
        let (whole, bare) = (resolved(&document), resolved(&bare(document.clone())));
        for (org, subject, method, draw) in calls {
            let (org, subject) = (["acme", "globex"][org], ["ci", "ada"][subject]);
            prop_assert_eq!(
                decides(&whole, org, subject, method, draw),
                decides(&bare, org, subject, method, draw)
            );
        }
    }

    #[test]
    fn no_entry_for_a_share_of_the_calls_frees_one_of_a_rate(
        document in document(),
        calls in prop::collection::vec((0..12_usize, any::<u128>()), 20),
    ) {
        let resolved = |document: &Document| Edition::resolved(document, &Texts::default(), &ground()).unwrap();
        let (with, without) = (resolved(&document), resolved(&unshared(document.clone())));
        for (method, draw) in calls {
            let charged_with = charged(&with, method, draw);
            for quota in charged(&without, method, draw) {
                prop_assert!(charged_with.contains(&quota), "{:?} not in {:?}", quota, charged_with);
            }
        }
    }
}
