//! Rules that operators write in Cedar, checked as a whole before they judge any call.
//!
//! - `forbid` beats `permit`. A rule in force that cannot be told is a refusal, whichever of the two it is.
//! - A rule has a mode of its own. One that is only looked at decides nothing: it neither refuses nor permits.
//! - What a rule looks at and a call does not say, so that upstream would choose (the class, all projects of a list), or that is not known (the
//!   object, the address), makes the rule fail. Absence is never a way around a rule.
//!
//! The caller is `Subject::"<org>/<subject>"`, in `Org::"<org>"`; [`schema`] is all that rules may speak of.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use cedar_policy::{AuthorizationError, Authorizer, Entity, PolicySet};
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    entities::{Asked, Types},
    rule::{DEFAULT, Rule},
    schema::{About, Attribute},
    touches::Touches,
};
use crate::{
    call::{Identity, OrgId},
    rpc::{Facts, MethodSpec},
    rule::{Draw, Mode, Need, Outcome, RuleId, Ruling, Stance},
};

mod closed;
mod compile;
mod entities;
mod mistake;
mod probe;
mod rule;
mod schema;
mod source;
#[cfg(test)]
mod tests;
mod touches;
mod unknown;
mod values;
mod written;

pub use mistake::Mistake;
pub use schema::text as schema;
pub(in crate::policy) use written::Written;

/// All rules of a policy.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Arc<[Rule]>,
    /// By the method's path.
    plans: Arc<HashMap<&'static str, Plan>>,
    otherwise: Otherwise,
    types: Types,
    authorizer: Arc<Authorizer>,
}

/// What becomes of a call that no rule speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It passes.
    #[default]
    Permit,
    /// It is refused: a call needs a rule in force that permits it.
    Forbid,
}

/// A call, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'c> {
    pub identity: &'c Identity,
    pub method: &'static MethodSpec,
    /// Of the effective request.
    pub facts: &'c Facts,
    pub draw: Draw,
    /// By the clock on the wall.
    pub now: SystemTime,
    pub peer: Option<IpAddr>,
    /// As records have it: one of [`PROTOCOLS`](values::PROTOCOLS).
    pub protocol: &'c str,
}

/// What is asked of one method's calls.
#[derive(Debug)]
struct Plan {
    about: About,
    attributes: Vec<Attribute>,
    action: Entity,
    /// By position, those that may say anything of the method.
    rules: Vec<usize>,
    forbids: PolicySet,
    permits: PolicySet,
}

/// What Cedar says of a call, by rule.
#[derive(Debug, Default)]
struct Findings {
    satisfied: HashSet<String>,
    failed: HashMap<String, String>,
}

impl Rules {
    /// Reads files of (name, text). A rule has an `@id`, of its own over all files, and may have a `@message` and a
    /// `@link` for the caller, a `@mode` and a `@share`. It names none but these orgs.
    ///
    /// # Errors
    /// Every mistake, at most 64; then none of the rules is of any use.
    pub fn compile(
        files: &[(String, String)],
        otherwise: Otherwise,
        orgs: &[OrgId],
    ) -> Result<Self, Vec<Mistake>> {
        compile::compile(files, otherwise, orgs)
    }

    fn of(rules: Vec<Rule>, plans: HashMap<&'static str, Plan>, otherwise: Otherwise, types: Types) -> Self {
        Self {
            rules: rules.into(),
            plans: Arc::new(plans),
            otherwise,
            types,
            authorizer: Arc::new(Authorizer::new()),
        }
    }

    /// Their ids, in the order in which they are written.
    pub fn ids(&self) -> impl Iterator<Item = &RuleId> {
        self.rules.iter().map(|rule| &rule.id)
    }

    /// With the modes that they are in.
    pub fn stances(&self) -> impl Iterator<Item = (&RuleId, Stance)> {
        self.rules.iter().map(|rule| (&rule.id, rule.stance))
    }

    pub fn otherwise(&self) -> Otherwise {
        self.otherwise
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What became of each rule that may concern the call, in the order in which they are written; of those that permit,
    /// only where they do or fail, and of those that name other orgs or subjects, only where they are broken. Where nothing permits a call that needs it, `rules.default` comes last.
    pub fn judge(&self, question: &Question<'_>) -> Vec<Ruling> {
        let Some(plan) = self.plans.get(question.method.path) else { return self.unplanned() };
        let findings = if plan.rules.is_empty() { Findings::default() } else { self.ask(plan, question) };
        let (mut rulings, mut is_permitted) = (Vec::new(), self.otherwise == Otherwise::Permit);
        for rule in self.concerned(plan) {
            let mode = rule.stance.of(&rule.id, question.draw);
            if !self.may_concern(rule, plan, question) {
                continue;
            }
            let Some(ruling) = rule_on(rule, mode, plan, &findings, question) else { continue };
            is_permitted |= rule.is_permit() && mode == Mode::Enforce && !ruling.is_broken();
            // Who else a rule is about is not for whoever keeps it.
            if ruling.is_broken() || !self.names_others(rule, question) {
                rulings.push(ruling);
            }
        }
        rulings.extend((!is_permitted).then(|| default(Outcome::Broken)));
        rulings
    }

    /// Whether a rule looks at the object that the call is about, so that it has to be looked up first.
    pub fn needs_object(&self, identity: &Identity, method: &MethodSpec, draw: Draw) -> Need {
        self.needs(identity, method, draw, |plan, touches| plan.about.is_object() && touches.is_looked_up())
    }

    /// Whether a rule looks at the sizes of the pool that the call is about.
    pub fn needs_sizes(&self, identity: &Identity, method: &MethodSpec, draw: Draw) -> Need {
        self.needs(identity, method, draw, |plan, touches| {
            plan.about == About::WarmPool && touches.is_looked_up() && touches.sizes
        })
    }

    /// Whether the rule's outcome may tell of the sizes of a pool.
    pub fn looks_at_sizes(&self, rule: &RuleId) -> bool {
        self.rules.iter().any(|known| known.id == *rule && known.touches.sizes)
    }

    fn needs(
        &self,
        identity: &Identity,
        method: &MethodSpec,
        draw: Draw,
        looks: impl Fn(&Plan, &Touches) -> bool,
    ) -> Need {
        let Some(plan) = self.plans.get(method.path) else { return Need::Not };
        let (subject, org) = (self.types.subject(identity), self.types.org(identity));
        let looking = self
            .concerned(plan)
            .filter(|rule| looks(plan, &rule.touches) && rule.may_concern(&subject, &org));
        let modes = looking.map(|rule| rule.stance.of(&rule.id, draw)).filter(|mode| *mode != Mode::Off);
        modes.map(|mode| Need::of(mode == Mode::Enforce)).max().unwrap_or_default()
    }

    fn concerned<'r>(&'r self, plan: &'r Plan) -> impl Iterator<Item = &'r Rule> {
        plan.rules.iter().filter_map(|index| self.rules.get(*index))
    }

    fn may_concern(&self, rule: &Rule, plan: &Plan, question: &Question<'_>) -> bool {
        let (subject, org) = (self.types.subject(question.identity), self.types.org(question.identity));
        rule.may_concern(&subject, &org)
            && rule.may_be_about(&self.types.resource(plan.about, question), &org)
    }

    fn names_others(&self, rule: &Rule, question: &Question<'_>) -> bool {
        let (subject, org) = (self.types.subject(question.identity), self.types.org(question.identity));
        rule.callers.iter().any(|caller| *caller != subject && *caller != org)
    }

    /// Each rule is evaluated once, whatever its mode: which ones decide is computed afterwards. In a set of one effect
    /// Cedar's reasons are all rules that are satisfied.
    fn ask(&self, plan: &Plan, question: &Question<'_>) -> Findings {
        let mut findings = Findings::default();
        let asked = Asked::new(&self.types, plan.about, &plan.attributes, &plan.action, question, None);
        let asked = match asked {
            Ok(asked) => asked,
            Err(unsaid) => {
                let all = self.concerned(plan).map(|rule| (rule.policy.id().to_string(), unsaid.to_string()));
                findings.failed.extend(all);
                return findings;
            }
        };
        for set in [&plan.forbids, &plan.permits] {
            let response = self.authorizer.is_authorized(&asked.request, set, &asked.entities);
            let diagnostics = response.diagnostics();
            findings.satisfied.extend(diagnostics.reason().map(ToString::to_string));
            let failed = diagnostics.errors().map(|AuthorizationError::PolicyEvaluationError(error)| {
                (error.policy_id().to_string(), error.inner().to_string())
            });
            findings.failed.extend(failed);
        }
        findings
    }

    /// What Cedar cannot tell of a call, by rule.
    fn errors(&self, question: &Question<'_>) -> Vec<(RuleId, String)> {
        let Some(plan) = self.plans.get(question.method.path) else { return Vec::new() };
        let findings = self.ask(plan, question);
        let failed = |rule: &Rule| {
            let name: &str = rule.policy.id().as_ref();
            findings.failed.get(name).map(|error| (rule.id.clone(), error.clone()))
        };
        self.concerned(plan).filter_map(failed).collect()
    }

    /// A method that the schema does not have is beyond all rules, and so refused where there are any.
    fn unplanned(&self) -> Vec<Ruling> {
        let is_free = self.rules.is_empty() && self.otherwise == Otherwise::Permit;
        (!is_free).then(|| default(Outcome::Failed)).into_iter().collect()
    }
}

fn rule_on(
    rule: &Rule,
    mode: Mode,
    plan: &Plan,
    findings: &Findings,
    question: &Question<'_>,
) -> Option<Ruling> {
    if mode == Mode::Off {
        return None;
    }
    let name: &str = rule.policy.id().as_ref();
    if let Some(unknown) = plan.unknown(rule, question) {
        return Some(unknown.tell(rule.ruling(mode, Outcome::Failed)));
    }
    if findings.failed.contains_key(name) {
        return Some(rule.ruling(mode, Outcome::Failed));
    }
    match (rule.is_permit(), findings.satisfied.contains(name)) {
        (true, false) => None,
        (true, true) | (false, false) => Some(rule.ruling(mode, Outcome::Kept)),
        (false, true) => Some(rule.ruling(mode, Outcome::Broken)),
    }
}

/// What refuses a call that nothing permits.
fn default(outcome: Outcome) -> Ruling {
    Ruling {
        rule: RuleId::from(format!("rules.{DEFAULT}").as_str()),
        mode: Mode::Enforce,
        candidate: false,
        outcome,
        field: None,
        bound: Some("a rule must permit the call".into()),
        message: None,
        link: None,
    }
}
