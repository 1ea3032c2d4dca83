//! From files to rules: everything that can be wrong is told before any call is judged.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr as _,
    sync::LazyLock,
    thread,
};

use cedar_policy::{
    ActionConstraint, EntityUid, Policy, PolicySet, Schema, ValidationMode, Validator, ffi::DetailedError,
};

use super::{
    Otherwise, Plan, Rules,
    entities::Types,
    mistake::Mistake,
    probe,
    rule::Rule,
    schema,
    source::{self, Source},
};
use crate::{
    call::OrgId,
    rpc::{self, MethodSpec},
};

/// More are of no use at once.
const MAX_MISTAKES: usize = 64;

/// The schema itself, where it is at fault.
const OWN: &str = "(schema)";

/// A list is about the org: what rules say of projects and objects never holds for it.
const SLIPS: &str = "does not hold for lists, which its actions include: name the others; for lists there is `limits.projects`";

/// The typechecker takes some KiB for each level of an expression, and where the stack runs low it leaves out what it
/// could not see, without a word: so it never does.
const STACK: usize = 64 * 1024 * 1024;

/// It follows from the tables, and takes longer to read than most rules.
static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::from_str(&schema::text()).map_err(|error| error.to_string()));

/// What a rule may apply to, by the types alone: the typechecker is slow, and asked once.
#[derive(Debug)]
struct Actions(HashSet<EntityUid>);

/// On a thread of its own, with a stack that does for whatever the bounds allow.
pub(super) fn compile(
    files: &[(String, String)],
    otherwise: Otherwise,
    orgs: &[OrgId],
) -> Result<Rules, Vec<Mistake>> {
    thread::scope(|scope| {
        let compiled =
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || read(files, otherwise, orgs));
        match compiled.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) | Err(_) => Err(vec![Mistake::of_file(OWN, "the rules could not be read")]),
        }
    })
}

fn read(files: &[(String, String)], otherwise: Otherwise, orgs: &[OrgId]) -> Result<Rules, Vec<Mistake>> {
    let own = |error: &dyn std::fmt::Display| vec![Mistake::of_file(OWN, error)];
    let types = Types::new().map_err(|error| own(&error))?;
    let schema = SCHEMA.as_ref().map_err(|error| own(error))?;
    let sources = source::split(files)?;
    let mut mistakes = Vec::new();
    let mut read = Vec::new();
    for source in sources {
        match Rule::read(&source, orgs) {
            Ok(rule) => read.push((source, rule)),
            Err(more) => mistakes.extend(more),
        }
    }
    mistakes.extend(same_ids(&read));
    let validator = Validator::new(schema.clone());
    mistakes.extend(read.iter().flat_map(|(source, rule)| invalid(&validator, source, &rule.policy)));
    let told = |mut mistakes: Vec<Mistake>| {
        mistakes.truncate(MAX_MISTAKES);
        mistakes
    };
    if !mistakes.is_empty() {
        return Err(told(mistakes));
    }
    let actions: Vec<Actions> = read.iter().map(|(_, rule)| Actions::of(rule, schema)).collect();
    mistakes.extend(read.iter().zip(&actions).filter_map(|((source, rule), actions)| {
        let slips = rpc::methods().any(|method| actions.slips(rule, method, &types));
        slips.then(|| Mistake::of_rule(source, SLIPS))
    }));
    if !mistakes.is_empty() {
        return Err(told(mistakes));
    }
    let plans = plans(&read, &actions, &types, schema).map_err(|error| own(&error))?;
    let (sources, rules): (Vec<Source<'_>>, Vec<Rule>) = read.into_iter().unzip();
    let rules = Rules::of(rules, plans, otherwise, types);
    let failing = probe::failing(&rules);
    let mistakes: Vec<Mistake> = sources
        .iter()
        .zip(rules.rules.iter())
        .filter_map(|(source, rule)| {
            let (method, error) = failing.get(&rule.id)?;
            Some(Mistake::of_rule(source, format_args!("fails on an ordinary {method}: {error}")))
        })
        .collect();
    if mistakes.is_empty() { Ok(rules) } else { Err(told(mistakes)) }
}

/// An id is one rule's, over all files.
fn same_ids(read: &[(Source<'_>, Rule)]) -> Vec<Mistake> {
    let mut known = HashMap::new();
    let twice = |(source, rule): &(Source<'_>, Rule)| {
        let first: &mut Option<(String, usize)> = known.entry(rule.id.clone()).or_default();
        match first {
            Some((file, line)) => {
                Some(Mistake::of_rule(source, format_args!("has the id of the rule in {file}:{line}")))
            }
            None => {
                *first = Some((source.file.to_owned(), source.line));
                None
            }
        }
    };
    read.iter().filter_map(twice).collect()
}

/// What the schema says against a rule; of one line, which Cedar may judge once per method, the first in letters.
fn invalid(validator: &Validator, source: &Source<'_>, policy: &Policy) -> Vec<Mistake> {
    let set = match PolicySet::from_policies([policy.clone()]) {
        Ok(set) => set,
        Err(error) => return vec![Mistake::of_rule(source, error)],
    };
    let result = validator.validate(&set, ValidationMode::Strict);
    let mut told: Vec<DetailedError> = result.validation_errors().map(DetailedError::from).collect();
    // A rule that is wrong is often impossible, too.
    if told.is_empty() {
        told.extend(result.validation_warnings().map(DetailedError::from));
    }
    let mut mistakes: Vec<Mistake> = told.iter().map(|told| Mistake::told(source, told)).collect();
    mistakes.sort();
    mistakes.dedup_by_key(|mistake| mistake.line);
    mistakes
}

/// Which rules may say anything of a method: by the types alone, most say nothing of most.
fn plans(
    read: &[(Source<'_>, Rule)],
    actions_of: &[Actions],
    types: &Types,
    schema: &Schema,
) -> Result<HashMap<&'static str, Plan>, Box<dyn std::error::Error>> {
    let actions = schema.action_entities()?;
    let mut plans = HashMap::new();
    for method in rpc::methods() {
        let uid = types.action(method.name);
        let action = actions.get(&uid).ok_or("a method is no action")?.clone();
        plans.insert(
            method.path,
            Plan::new(method, action, read.iter().map(|(_, rule)| rule).zip(actions_of))?,
        );
    }
    Ok(plans)
}

impl Actions {
    fn of(rule: &Rule, schema: &Schema) -> Self {
        Self(rule.policy.get_valid_request_envs(schema).map(|env| env.action().clone()).collect())
    }

    /// A list that the rule's head has, and that gets past it.
    fn slips(&self, rule: &Rule, method: &MethodSpec, types: &Types) -> bool {
        let uid = types.action(method.name);
        let has = |named: &EntityUid| {
            *named == uid || schema::groups(method).iter().any(|group| *named == types.action(group))
        };
        let is_meant = match rule.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::In(named) => named.iter().any(has),
            ActionConstraint::Eq(named) => has(&named),
        };
        let is_list = method.paged().is_some();
        is_list && is_meant && rule.names_objects && !rule.is_permit() && !self.0.contains(&uid)
    }
}

impl Plan {
    fn new<'r>(
        method: &MethodSpec,
        action: cedar_policy::Entity,
        rules: impl Iterator<Item = (&'r Rule, &'r Actions)>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let uid = action.uid();
        let (mut concerned, mut forbids, mut permits) = (Vec::new(), PolicySet::new(), PolicySet::new());
        for (index, (rule, actions)) in rules.enumerate() {
            if actions.0.contains(&uid) {
                concerned.push(index);
                let set = if rule.is_permit() { &mut permits } else { &mut forbids };
                set.add(rule.policy.clone())?;
            }
        }
        let (about, attributes) = (schema::about(method), schema::attributes(method));
        Ok(Self { about, attributes, action, rules: concerned, forbids, permits })
    }
}
