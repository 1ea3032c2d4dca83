//! Who counts what is outstanding, and how that stands.

use std::sync::Arc;

use crate::{
    admin::Check,
    budget::{self, Budgets},
    config::Config,
    store::Store,
    telemetry::Metrics,
    upstream::{Inventory, Learn, Parting, Tenancy},
};

/// Orgs that a check names; more are told by their number.
const MAX_NAMED: usize = 10;

/// Counts by the orgs' own credentials, and keeps it where rates are kept.
pub(super) fn begin(
    config: &Config,
    learn: &Learn,
    parting: &Parting,
    store: Option<&Store>,
    metrics: &Metrics,
) -> Budgets {
    let tenancy = Tenancy::new(learn.organizations().clone(), parting.clone(), metrics.clone());
    let census = Arc::new(Inventory::new(learn.clone(), tenancy));
    let settings = budget::Settings::new(&config.budgets, config.upstream.mutation_timeout);
    let Some(store) = store else { return Budgets::local(census, settings, metrics.clone()) };
    Budgets::shared(store.clone(), config.deadline.max, census, settings, metrics.clone())
}

/// Shown only: which orgs' work is not counted, and why. None where no org has a budget.
pub(super) fn check(budgets: &Budgets) -> Option<Check> {
    let (kept, uncounted) = budgets.uncounted();
    let check = || Check::shown("budgets", uncounted.is_empty());
    (kept > 0).then(|| match uncounted.len() {
        0 => check(),
        number => {
            let named = uncounted.iter().take(MAX_NAMED).map(|(org, reason)| format!("{org}: {reason}"));
            let mut named: Vec<_> = named.collect();
            named.extend(number.checked_sub(MAX_NAMED + 1).map(|more| format!("and {} more", more + 1)));
            check().with_detail(format!("not counted: {}", named.join("; ")))
        }
    })
}
