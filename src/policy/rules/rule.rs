//! One rule: what its annotations say, and what of a call it looks at.

use std::sync::Arc;

use cedar_policy::{
    Effect, EntityUid, Policy, PolicyId, PrincipalConstraint, ResourceConstraint, ffi::DetailedError,
};
use uuid::Uuid;

use super::{closed, mistake::Mistake, source::Source, touches::Touches};
use crate::{
    call::OrgId,
    rule::{Mode, Outcome, RuleId, Ruling, Share, Stance},
};

/// What refuses a call that no rule permits.
pub(super) const DEFAULT: &str = "default";

/// An id stands in metrics and headers.
const MAX_ID: usize = 64;
/// A message travels in a header, beside others.
const MAX_MESSAGE: usize = 256;
/// A link does, too.
const MAX_LINK: usize = 512;

/// A rule that has been read.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: RuleId,
    pub(super) policy: Policy,
    /// The file and the line.
    pub(super) place: Box<str>,
    pub(super) stance: Stance,
    pub(super) touches: Touches,
    /// The orgs and subjects that it names.
    pub(super) callers: Vec<EntityUid>,
    /// Whether it names projects, prebuilds or pools: what a list shows is none of them.
    pub(super) names_objects: bool,
    message: Option<Arc<str>>,
    link: Option<Arc<str>>,
}

/// The annotations of a rule, while they are read.
#[derive(Debug, Default)]
struct Annotations {
    stance: Stance,
    message: Option<Arc<str>>,
    link: Option<Arc<str>>,
    id: Option<String>,
}

impl Rule {
    /// # Errors
    /// Everything about the rule by itself that is wrong.
    pub(super) fn read(source: &Source<'_>, orgs: &[OrgId]) -> Result<Self, Vec<Mistake>> {
        let policy = Policy::parse(None, source.text).map_err(|errors| {
            errors.iter().map(|error| Mistake::told(source, &DetailedError::from(error))).collect::<Vec<_>>()
        })?;
        let mut annotations = Annotations::default();
        let mut problems: Vec<String> =
            policy.annotations().filter_map(|(key, value)| annotations.add(key, value).err()).collect();
        if policy.annotation("id").is_none() {
            problems.push("has no `@id`".to_owned());
        }
        let literals = policy.entity_literals();
        problems.extend(literals.iter().filter_map(|uid| misnamed(uid, orgs)));
        problems.extend(closed::unheard_of(&policy));
        problems.sort();
        problems.dedup();
        let Annotations { stance, message, link, id: Some(id) } = annotations else {
            return Err(mistakes(source, &problems));
        };
        if !problems.is_empty() {
            return Err(mistakes(source, &problems));
        }
        let touches = Touches::of(&policy);
        let policy = policy.new_id(PolicyId::new(&id));
        let id = RuleId::from(format!("rules.{id}").as_str());
        let is_one_of =
            |uid: &EntityUid, kinds: &[&str]| kinds.contains(&uid.type_name().to_string().as_str());
        let names_objects = literals.iter().any(|uid| is_one_of(uid, &["Project", "Prebuild", "WarmPool"]));
        let callers = literals.into_iter().filter(|uid| is_one_of(uid, &["Org", "Subject"])).collect();
        let place = format!("{}:{}", source.file, source.line).into();
        Ok(Self { id, policy, place, stance, touches, callers, names_objects, message, link })
    }

    pub(super) fn is_permit(&self) -> bool {
        self.policy.effect() == Effect::Permit
    }

    /// Whether its head may mean the caller.
    pub(super) fn may_concern(&self, subject: &EntityUid, org: &EntityUid) -> bool {
        match self.policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => true,
            PrincipalConstraint::Eq(uid) => uid == *subject,
            PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                uid == *subject || uid == *org
            }
        }
    }

    /// Whether its head may mean the resource. What is in what beyond the org is not known here.
    pub(super) fn may_be_about(&self, resource: &EntityUid, org: &EntityUid) -> bool {
        match self.policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
            ResourceConstraint::Eq(uid) => uid == *resource,
            ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                uid.type_name() != org.type_name() || uid == *org
            }
        }
    }

    pub(super) fn ruling(&self, mode: Mode, outcome: Outcome) -> Ruling {
        Ruling {
            rule: self.id.clone(),
            mode,
            candidate: false,
            outcome,
            field: None,
            bound: None,
            message: self.message.clone(),
            link: self.link.clone(),
        }
    }
}

fn mistakes(source: &Source<'_>, problems: &[String]) -> Vec<Mistake> {
    problems.iter().map(|problem| Mistake::of_rule(source, problem)).collect()
}

/// An entity that no call could ever name: a rule about it would hold nobody.
fn misnamed(uid: &EntityUid, orgs: &[OrgId]) -> Option<String> {
    let id: &str = uid.id().unescaped();
    let kind = uid.type_name().to_string();
    let unknown = |org: &str| {
        let is_known = orgs.iter().any(|known| known.as_str() == org);
        (!is_known).then(|| format!("{kind}::{id:?}: there is no `{org}` in [[orgs]] of the config"))
    };
    match kind.as_str() {
        "Project" | "EnvironmentClass" | "Prebuild" | "WarmPool" => {
            let is_one = Uuid::try_parse(id).is_ok_and(|uuid| uuid.to_string() == id);
            (!is_one).then(|| format!("the id of {kind}::{id:?} must be a UUID in lower case"))
        }
        "Subject" => match id.split_once('/') {
            Some((org, subject)) if !org.is_empty() && !subject.is_empty() => unknown(org),
            _ => Some(format!("the id of Subject::{id:?} must be `<org>/<subject>`")),
        },
        "Org" if id.is_empty() => Some("the id of an Org must not be empty".to_owned()),
        "Org" => unknown(id),
        _ => None,
    }
}

impl Annotations {
    /// # Errors
    /// What is wrong with one of them.
    fn add(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "id" => self.id = Some(id(value)?),
            "message" => self.message = Some(message(value)?),
            "link" => self.link = Some(link(value)?),
            "mode" => self.stance.mode = mode(value)?,
            "share" => self.stance.share = share(value)?,
            _ => {
                return Err(format!(
                    "has an unknown annotation `@{key}`: there are id, message, link, mode, share"
                ));
            }
        }
        Ok(())
    }
}

fn id(value: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=MAX_ID).contains(&value.len()) || !value.bytes().all(is_word) {
        return Err(format!("`@id` must be 1 to {MAX_ID} of a-z, 0-9 and `-`"));
    }
    if value == DEFAULT {
        return Err(format!(
            "`@id` must not be `{DEFAULT}`: that is what refuses a call that no rule permits"
        ));
    }
    Ok(value.to_owned())
}

fn message(value: &str) -> Result<Arc<str>, String> {
    let is_printable = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !(1..=MAX_MESSAGE).contains(&value.trim().len()) || value.len() > MAX_MESSAGE || !is_printable {
        return Err(format!("`@message` must be 1 to {MAX_MESSAGE} printable ASCII characters"));
    }
    Ok(value.into())
}

fn link(value: &str) -> Result<Arc<str>, String> {
    let host = value.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    let is_plain = value.len() <= MAX_LINK && value.bytes().all(|byte| byte.is_ascii_graphic());
    if host.is_none_or(str::is_empty) || !is_plain {
        return Err(format!("`@link` must be an https URL of at most {MAX_LINK} characters"));
    }
    Ok(value.into())
}

fn mode(value: &str) -> Result<Mode, String> {
    let modes = [Mode::Off, Mode::Audit, Mode::Warn, Mode::Enforce];
    let known = modes.into_iter().find(|mode| mode.as_str() == value);
    known.ok_or_else(|| "`@mode` must be off, audit, warn or enforce".to_owned())
}

fn share(value: &str) -> Result<Share, String> {
    let share = value.parse::<f64>().ok().and_then(|share| Share::try_from(share).ok());
    share.ok_or_else(|| "`@share` must be above 0 and at most 1".to_owned())
}
