//! What the policy sets one caller: every kind of limit, put together from all that is written about it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use humantime::format_duration;
use uuid::Uuid;

use super::{
    Costs,
    chain::{Chain, Limit},
    part::{BUDGETS, Over, Part, budget_name, rate_name},
};
use crate::{
    file::form::Misfit,
    policy::applied::{Defaults, Limits, Methods},
    rpc::MethodSpec,
    rule::{Applied, Bound, Budget, BudgetOf, Burden, Draw, Holder, Need, Quota, Rate, RuleId, Selection},
};

mod shown;

pub use shown::{Holders, Line, Section};

/// Of an org, or of a subject of it.
#[derive(Debug)]
pub(super) struct Standing {
    methods: Chain<Methods>,
    max_timeout: Chain<Duration>,
    min_pool_size: Chain<i32>,
    max_pool_size: Chain<i32>,
    projects: Chain<Selection>,
    environment_classes: Chain<Selection>,
    max_page_size: Chain<i32>,
    in_flight: Chain<u32>,
    /// In the order in which they are taken.
    rates: Vec<(Holder, Over, Chain<Rate>)>,
    budgets: Vec<(BudgetOf, Chain<Burden>)>,
    defaults: Defaults,
    /// Where no share makes a difference between calls: for all of them.
    fixed: Option<Arc<Limits>>,
}

/// Calls per second that an org can keep up: changes as many as there can be, and what reads there can be beside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sustained {
    pub changes: f64,
    pub reads: f64,
}

impl Standing {
    /// Of `parts` the narrowest comes first.
    pub(super) fn of(parts: &[&Part]) -> Result<Self, Misfit> {
        let mut standing = Self {
            methods: chain("limits.methods", parts, |part| part.methods.as_ref()),
            max_timeout: chain("limits.max_timeout", parts, |part| part.max_timeout.as_ref()),
            min_pool_size: chain("limits.min_pool_size", parts, |part| part.min_pool_size.as_ref()),
            max_pool_size: chain("limits.max_pool_size", parts, |part| part.max_pool_size.as_ref()),
            projects: chain("limits.projects", parts, |part| part.projects.as_ref()),
            environment_classes: chain("limits.environment_classes", parts, |part| {
                part.environment_classes.as_ref()
            }),
            max_page_size: chain("limits.max_page_size", parts, |part| part.max_page_size.as_ref()),
            in_flight: chain("limits.in_flight", parts, |part| part.in_flight.as_ref()),
            rates: rates(parts),
            budgets: budgets(parts),
            defaults: defaults(parts),
            fixed: None,
        };
        standing.check(parts)?;
        if standing.is_fixed() {
            // Any draw: none makes a difference.
            standing.fixed = Some(Arc::new(standing.drawn(Draw::new(0))));
        }
        Ok(standing)
    }

    /// The typed limits for one call.
    pub(super) fn limits(&self, draw: Draw) -> Arc<Limits> {
        self.fixed.clone().unwrap_or_else(|| Arc::new(self.drawn(draw)))
    }

    fn drawn(&self, draw: Draw) -> Limits {
        Limits {
            methods: self.methods.applied(draw).collect(),
            max_timeout: self.max_timeout.applied(draw).collect(),
            min_pool_size: self.min_pool_size.applied(draw).collect(),
            max_pool_size: self.max_pool_size.applied(draw).collect(),
            projects: self.projects.applied(draw).collect(),
            environment_classes: self.environment_classes.applied(draw).collect(),
            max_page_size: self.max_page_size.applied(draw).collect(),
            defaults: self.defaults.clone(),
        }
    }

    fn is_fixed(&self) -> bool {
        let sizes = [&self.min_pool_size, &self.max_pool_size, &self.max_page_size];
        self.methods.is_fixed()
            && self.max_timeout.is_fixed()
            && sizes.into_iter().all(Chain::is_fixed)
            && [&self.projects, &self.environment_classes].into_iter().all(Chain::is_fixed)
    }

    /// What the stages that count and look up need to know. `limits` are the same call's.
    pub(super) fn bound(&self, method: &MethodSpec, costs: &Costs, limits: &Limits, draw: Draw) -> Bound {
        let cost = costs.of_call(method);
        let rates = self.rates.iter().filter(|(_, over, _)| over.covers(method));
        let quotas = rates.flat_map(|(holder, _, chain)| {
            chain.charged(draw).map(|(rank, rate)| Quota { rate, rank, holder: *holder, cost })
        });
        let budgets = self
            .budgets
            .iter()
            .flat_map(|(of, chain)| chain.applied(draw).map(|burden| Budget { burden, of: *of }));
        let chosen = limits.projects.iter().chain(&limits.environment_classes);
        let judging = chosen.filter(|applied| !applied.value.is_all());
        Bound {
            quotas: quotas.collect(),
            in_flight: self.in_flight.applied(draw).collect(),
            budgets: budgets.collect(),
            needs_object: judging.map(|applied| Need::of(applied.is_enforced())).max().unwrap_or_default(),
            // No limit is about those of a pool that is not changed.
            needs_sizes: Need::Not,
            projects: enforced(&limits.projects),
            classes: enforced(&limits.environment_classes),
        }
    }

    /// What all callers together can keep up, as far as rates for every call bound it. The built-in one always does.
    pub(super) fn sustained(&self) -> Sustained {
        let of = |over: Over| {
            let chains =
                self.rates.iter().filter(|(holder, what, _)| (*holder, *what) == (Holder::Org, over));
            let entries = chains.flat_map(|(.., chain)| chain.entries());
            let rates = entries.filter(|limit| limit.is_always_in_force()).map(|limit| limit.value);
            rates
                .map(|rate| f64::from(rate.calls.get()) / rate.per.as_secs_f64())
                .fold(f64::INFINITY, f64::min)
        };
        let all = of(Over::All);
        let changes = all.min(of(Over::Mutate) + of(Over::Expensive));
        Sustained { changes, reads: (all - changes).min(of(Over::Read)) }
    }

    pub(super) fn has_budgets(&self) -> bool {
        !self.budgets.is_empty()
    }

    /// What cannot be meant: limits that no call of some kind can keep.
    fn check(&self, parts: &[&Part]) -> Result<(), Misfit> {
        let default = parts.iter().find_map(|part| part.default_timeout.as_ref());
        let above =
            |(_, time): &&(String, Duration)| self.max_timeout.enforced().find(|max| max.value < *time);
        if let Some(((key, _), max)) = default.and_then(|default| Some((default, above(&default)?))) {
            let problem = format_args!("must be at most {} ({})", max.key, format_duration(max.value));
            return Err(Misfit::new(key, problem));
        }
        let crossed = self
            .min_pool_size
            .enforced()
            .find_map(|min| Some((min, self.max_pool_size.enforced().find(|max| max.value < min.value)?)));
        if let Some((min, max)) = crossed {
            return Err(Misfit::new(&min.key, format_args!("must be at most {} ({})", max.key, max.value)));
        }
        let classes = &self.defaults.environment_classes;
        for limit in self.environment_classes.enforced() {
            if let Some((project, class)) =
                classes.iter().find(|(_, class)| !limit.value.admits(&class.to_string()))
            {
                let problem = format_args!("must admit {class}, the default class of {project}");
                return Err(Misfit::new(&limit.key, problem));
            }
        }
        Ok(())
    }

    /// A call that costs more than a burst never passes.
    pub(super) fn check_costs(&self, costs: &Costs) -> Result<(), Misfit> {
        for (method, cost) in costs.all() {
            let chains = self.rates.iter().filter(|(_, over, _)| over.covers(method));
            let entries =
                chains.flat_map(|(.., chain)| chain.entries().iter().map(move |entry| (chain, entry)));
            for (chain, entry) in entries {
                if let Some(rate) = entry.values().find(|rate| rate.burst < cost) {
                    let problem = format_args!(
                        "must be at most the burst of {} ({}, {}): no call could pass",
                        chain.rule(),
                        entry.key,
                        rate.burst
                    );
                    return Err(Misfit::new(format_args!("costs.{}", method.name), problem));
                }
            }
        }
        Ok(())
    }
}

fn chain<'p, T: Clone + 'p>(
    rule: &str,
    parts: &'p [&'p Part],
    find: impl Fn(&'p Part) -> Option<&'p Limit<T>>,
) -> Chain<T> {
    Chain::of(rule.into(), parts.iter().filter_map(|part| find(part)).cloned())
}

/// A subject's before its org's, and those of some calls before those of all.
fn rates(parts: &[&Part]) -> Vec<(Holder, Over, Chain<Rate>)> {
    let holders = [Holder::Subject, Holder::Org].into_iter();
    let all = holders.flat_map(|holder| Over::ALL.map(|over| (holder, over)));
    let chains = all.map(|(holder, over)| {
        let rule = RuleId::from(rate_name(holder, over).as_str());
        let found = parts.iter().enumerate().flat_map(|(nth, part)| {
            let level = u8::try_from(parts.len() - 1 - nth).unwrap_or(u8::MAX);
            let written = part.rates.iter().filter(|(of, what, _)| (*of, *what) == (holder, over));
            written.map(move |(.., limit)| limit.clone().at(level))
        });
        (holder, over, Chain::of(rule, found))
    });
    chains.filter(|(.., chain)| !chain.is_empty()).collect()
}

fn budgets(parts: &[&Part]) -> Vec<(BudgetOf, Chain<Burden>)> {
    let chains = BUDGETS.into_iter().map(|(of, name)| {
        let rule = RuleId::from(budget_name(of, name).as_str());
        let found = parts.iter().flat_map(|part| &part.budgets);
        let found = found.filter(|(other, what, _)| (*other, *what) == (of, name)).map(|(.., limit)| limit);
        (of, Chain::of(rule, found.cloned()))
    });
    chains.filter(|(_, chain)| !chain.is_empty()).collect()
}

/// The narrowest word counts; of the classes, that on each project.
fn defaults(parts: &[&Part]) -> Defaults {
    let timeout = parts.iter().find_map(|part| part.default_timeout.as_ref()).map(|(_, time)| *time);
    let mut classes = BTreeMap::<Uuid, Uuid>::new();
    for part in parts.iter().rev() {
        classes.extend(&part.default_classes);
    }
    Defaults { timeout, environment_classes: Arc::new(classes) }
}

/// What is in force of a selection.
fn enforced(chosen: &[Applied<Selection>]) -> Selection {
    let enforced = chosen.iter().find(|applied| applied.is_enforced());
    enforced.map(|applied| applied.value.clone()).unwrap_or_default()
}
