//! One edition of the policy: a whole document, checked, with its version. What a call is judged by never changes under it.

use std::{
    collections::{BTreeSet, HashMap},
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
};

use super::{
    Stricter,
    applied::Limits,
    document::Document,
    rules::{Mistake, Rules},
    texts::Texts,
};
use crate::{
    call::{OrgId, SubjectId},
    file::form::Misfit,
    rpc::{self, MethodSpec},
    rule::{Bound, Draw, Holder, Rate, Version},
};

mod chain;
mod lint;
mod part;
mod standing;
#[cfg(test)]
mod tests;

use chain::Limit;
pub use lint::{Caller, Held, Known, lints};
use part::{Over, Part};
use standing::Standing;
pub use standing::{Holders, Line, Section, Sustained};

/// 50 calls a second is far above what people and pipelines of one org send, and far below what hurts upstream.
const DEFAULT_RATE: u32 = 50;
/// Two seconds' worth at once: a pipeline that starts many jobs is not punished for its shape.
const DEFAULT_BURST: u32 = 100;
/// Of all calls in flight an org may have one in so many: one slow upstream does not let one org take all.
const IN_FLIGHT_SHARE: usize = 4;
/// As an id of the config: it is shown to operators.
const MAX_REVISION: usize = 64;

/// What the config says, and a policy is held against.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    pub orgs: Vec<OrgId>,
    /// Calls in flight over all orgs.
    pub in_flight: usize,
    /// Which calls never come as far as the policy.
    pub stricter: Stricter,
}

/// The policy as it judges calls.
#[derive(Debug)]
pub struct Edition {
    version: Version,
    revision: Option<String>,
    costs: Costs,
    orgs: HashMap<OrgId, OrgStanding>,
    /// Of an org that is none of the config's, which identity never yields.
    others: Standing,
    rules: Rules,
}

/// What calls take of a rate, where it is not 1.
#[derive(Debug, Default)]
struct Costs(Vec<(&'static MethodSpec, NonZeroU32)>);

/// What the policy sets an org.
#[derive(Debug)]
struct OrgStanding {
    org: Standing,
    /// Those that it has a word of its own on.
    subjects: HashMap<SubjectId, Standing>,
}

impl Ground {
    /// Calls in flight of an org of which the policy says nothing.
    pub(super) fn built_in_flight(&self) -> u32 {
        let share = NonZeroUsize::new(self.in_flight / IN_FLIGHT_SHARE).unwrap_or(NonZeroUsize::MIN);
        u32::try_from(share.get()).unwrap_or(u32::MAX)
    }
}

impl Edition {
    /// The policy of these texts.
    ///
    /// # Errors
    /// The first key that cannot be meant.
    pub fn of(texts: &Texts, ground: &Ground) -> Result<Self, Misfit> {
        let document = Document::parse(&texts.policy)?;
        Self::resolved(&document, texts, ground)
    }

    /// What stands where there is no policy.
    ///
    /// # Errors
    /// None: an empty policy is good.
    pub fn built_in(ground: &Ground) -> Result<Self, Misfit> {
        Self::resolved(&Document::default(), &Texts::default(), ground)
    }

    pub(super) fn resolved(document: &Document, texts: &Texts, ground: &Ground) -> Result<Self, Misfit> {
        check_revision(document.revision.as_deref())?;
        let costs = Costs::of(document)?;
        let common = Part::of_all(document)?;
        let built_in = built_in(ground);
        if let Some(unknown) = document.orgs.keys().find(|org| !ground.orgs.contains(org)) {
            return Err(Misfit::new(format_args!("orgs.{unknown}"), "is not one of [[orgs]] of the config"));
        }
        let others = Standing::of(&[&common, &built_in])?;
        others.check_costs(&costs)?;
        let mut orgs = HashMap::with_capacity(ground.orgs.len());
        for org in &ground.orgs {
            let standing = OrgStanding::of(org, document, &[&common, &built_in], &costs)?;
            orgs.insert(org.clone(), standing);
        }
        Ok(Self {
            version: texts.version(ground),
            revision: document.revision.clone(),
            costs,
            orgs,
            others,
            rules: Rules::compile(&texts.rules, document.rules.default, &ground.orgs)
                .map_err(|all| misfit(&all))?,
        })
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The author's own name of it.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// What each org can keep up of calls, by the rates that are in force for all of them.
    pub fn sustained(&self) -> impl Iterator<Item = Sustained> {
        self.orgs.values().map(|standing| standing.org.sustained())
    }

    /// The operator's own rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What its limits set one call: the typed ones, and what other stages need to know.
    pub fn apply(
        &self,
        org: &OrgId,
        subject: &SubjectId,
        method: &MethodSpec,
        draw: Draw,
    ) -> (Arc<Limits>, Bound) {
        let standing =
            self.orgs.get(org).map_or(&self.others, |org| org.subjects.get(subject).unwrap_or(&org.org));
        let limits = standing.limits(draw);
        let bound = standing.bound(method, &self.costs, &limits, draw);
        (limits, bound)
    }

    /// The orgs of which it has to be known what they have running upstream: those with a budget, in whatever mode.
    pub fn budgeted(&self) -> BTreeSet<OrgId> {
        let budgeted = self.orgs.iter().filter(|(_, standing)| standing.org.has_budgets());
        budgeted.map(|(org, _)| org.clone()).collect()
    }
}

impl OrgStanding {
    fn of(org: &OrgId, document: &Document, common: &[&Part], costs: &Costs) -> Result<Self, Misfit> {
        let empty = super::document::Org::default();
        let (written, at) = (document.orgs.get(org).unwrap_or(&empty), format!("orgs.{org}."));
        let own = Part::of_org(&at, written)?;
        let parts: Vec<&Part> = [&own].into_iter().chain(common.iter().copied()).collect();
        let standing = Standing::of(&parts)?;
        standing.check_costs(costs)?;
        let mut subjects = HashMap::with_capacity(written.subjects.len());
        for (subject, written) in &written.subjects {
            let at = format!("{at}subjects.{subject}.");
            if !subject.is_plain() {
                let problem = "must be 1 to 255 printable ASCII characters without spaces";
                return Err(Misfit::new(at.trim_end_matches('.'), problem));
            }
            if written.limits.in_flight.is_some() {
                let problem = "must stand with an org: a subject has none of its own";
                return Err(Misfit::new(format_args!("{at}limits.in_flight"), problem));
            }
            let own = Part::of_subject(&at, written)?;
            let parts: Vec<&Part> = [&own].into_iter().chain(parts.iter().copied()).collect();
            let standing = Standing::of(&parts)?;
            standing.check_costs(costs)?;
            subjects.insert(subject.clone(), standing);
        }
        Ok(Self { org: standing, subjects })
    }
}

impl Costs {
    fn of(document: &Document) -> Result<Self, Misfit> {
        let costs = document.costs.iter().map(|(name, cost)| {
            let method = rpc::methods().find(|method| method.name == name);
            let unknown = || Misfit::new(format_args!("costs.{name}"), "is not the name of a method");
            Ok((method.ok_or_else(unknown)?, *cost))
        });
        Ok(Self(costs.collect::<Result<_, _>>()?))
    }

    fn of_call(&self, method: &MethodSpec) -> NonZeroU32 {
        let cost = self.0.iter().find(|(known, _)| known.path == method.path);
        cost.map_or(NonZeroU32::MIN, |(_, cost)| *cost)
    }

    fn all(&self) -> impl Iterator<Item = (&'static MethodSpec, NonZeroU32)> {
        self.0.iter().copied()
    }
}

/// What stands below all that is written.
fn built_in(ground: &Ground) -> Part {
    Part {
        in_flight: Some(Limit::built_in(ground.built_in_flight())),
        rates: vec![(Holder::Org, Over::All, Limit::built_in(default_rate()))],
        ..Part::default()
    }
}

fn default_rate() -> Rate {
    let count = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Rate::per_second(count(DEFAULT_RATE), count(DEFAULT_BURST))
}

/// The first mistake, and how many more there are: a line is all that there is room for.
fn misfit(mistakes: &[Mistake]) -> Misfit {
    let Some(first) = mistakes.first() else { return Misfit::new("rules", "cannot be read") };
    let more = match mistakes.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Misfit::new(first.place(), format_args!("{}{more}", first.said()))
}

fn check_revision(revision: Option<&str>) -> Result<(), Misfit> {
    let is_good = |text: &str| {
        (1..=MAX_REVISION).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if revision.is_none_or(is_good) {
        return Ok(());
    }
    Err(Misfit::new("revision", "must be 1 to 64 of A-Z a-z 0-9 . _ -"))
}
