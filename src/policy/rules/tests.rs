//! Rules over calls, and the schema against the tables that it is made from.

use std::{collections::BTreeSet, str::FromStr as _, time::Duration};

use cedar_policy::Schema;
use prost::Message;

use super::*;
use crate::{
    call::{Scope, Scopes},
    proto::gitpod::v1 as pb,
    rpc::{self, Class, Filter, Object, Sizes, Timeout},
};

mod bad;
mod example;
mod judging;
mod modes;
mod unknown;

pub(super) const PROJECT: &str = "11111111-1111-4111-8111-111111111111";
pub(super) const CLASS: &str = "22222222-2222-4222-8222-222222222222";
pub(super) const OBJECT: &str = "33333333-3333-4333-8333-333333333333";
/// A Wednesday.
pub(super) const NOON: u64 = 1_704_283_200;

/// A call to be judged.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) identity: Identity,
    pub(super) method: &'static MethodSpec,
    pub(super) facts: Facts,
    pub(super) draw: u128,
    pub(super) now: SystemTime,
    pub(super) peer: Option<IpAddr>,
}

impl Asking {
    pub(super) fn of(method: &'static MethodSpec) -> Self {
        Self {
            identity: identity("acme", "ci"),
            method,
            facts: ordinary(),
            draw: 0,
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOON),
            peer: Some([10, 1, 2, 3].into()),
        }
    }

    pub(super) fn with(mut self, set: impl FnOnce(&mut Facts)) -> Self {
        set(&mut self.facts);
        self
    }

    pub(super) fn by(mut self, subject: &str) -> Self {
        self.identity = identity("acme", subject);
        self
    }

    pub(super) fn from(mut self, peer: &str) -> Self {
        self.peer = Some(peer.parse().unwrap());
        self
    }

    pub(super) fn at(mut self, seconds: u64) -> Self {
        self.now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        self
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question {
            identity: &self.identity,
            method: self.method,
            facts: &self.facts,
            draw: Draw::new(self.draw),
            now: self.now,
            peer: self.peer,
            protocol: "connect",
        }
    }

    /// What refuses it.
    pub(super) fn refused_by(&self, rules: &Rules) -> Vec<String> {
        let rulings = rules.judge(&self.question());
        rulings.iter().filter(|ruling| ruling.refuses()).map(|ruling| ruling.rule.to_string()).collect()
    }

    /// What became of each rule.
    pub(super) fn outcomes(&self, rules: &Rules) -> Vec<(String, Mode, Outcome)> {
        let rulings = rules.judge(&self.question()).into_iter();
        rulings.map(|ruling| (ruling.rule.to_string(), ruling.mode, ruling.outcome)).collect()
    }
}

pub(super) fn identity(org: &str, subject: &str) -> Identity {
    Identity {
        subject: subject.into(),
        org: org.into(),
        credential: "key".into(),
        scopes: Scopes::all(),
        passed: None,
    }
}

/// What a call of any method states at most, but for what is optional.
pub(super) fn ordinary() -> Facts {
    let id = |id: &str| Some(id.to_owned());
    let object = Object {
        id: OBJECT.to_owned(),
        project: PROJECT.to_owned(),
        class: CLASS.to_owned(),
        sizes: Sizes { desired: Some(0), min: Some(1), max: Some(4) },
        ..Object::default()
    };
    Facts {
        project: id(PROJECT),
        class: id(CLASS),
        prebuild: id(OBJECT),
        pool: id(OBJECT),
        resource: Some(object),
        ..Facts::default()
    }
}

pub(super) fn orgs() -> [OrgId; 2] {
    ["acme", "globex"].map(Into::into)
}

pub(super) fn rules(text: &str) -> Rules {
    compiled(text, Otherwise::Permit)
}

pub(super) fn compiled(text: &str, otherwise: Otherwise) -> Rules {
    let rules = Rules::compile(&[("rules.cedar".to_owned(), text.to_owned())], otherwise, &orgs());
    rules.unwrap_or_else(|mistakes| {
        panic!("{}", mistakes.iter().map(|m| format!("{m}\n")).collect::<String>())
    })
}

/// All that can be stated. Every field stands here, so that a new one has to be looked at.
fn everything() -> Facts {
    let ids = || vec![PROJECT.to_owned()];
    let sizes = Sizes { desired: Some(2), min: Some(1), max: Some(3) };
    Facts {
        project: Some(PROJECT.to_owned()),
        class: Some(CLASS.to_owned()),
        prebuild: Some(OBJECT.to_owned()),
        pool: Some(OBJECT.to_owned()),
        // Required: it says nothing.
        spec: true,
        timeout: Some(Timeout { seconds: 600, nanos: 0 }),
        desired_phase: Some(60),
        sizes,
        page_size: Some(10),
        // Upstream's own.
        page_token: Some("token".to_owned()),
        filter: Filter {
            projects: ids(),
            classes: ids(),
            creators: ids(),
            executors: ids(),
            phases: vec![60],
            triggers: vec![1],
        },
        resource: Some(Object {
            id: OBJECT.to_owned(),
            organization: PROJECT.to_owned(),
            project: PROJECT.to_owned(),
            class: CLASS.to_owned(),
            sizes,
            log_url: "https://logs.example".to_owned(),
            has_ended: true,
            version: 7,
        }),
        // It says which of the others the caller has not given.
        written: BTreeSet::new(),
    }
}

/// What rules see of a call, which has to fit the schema.
fn seen(asking: &Asking) -> BTreeSet<String> {
    let rules = rules("");
    let schema = Schema::from_str(&schema()).unwrap();
    let plan = &rules.plans[asking.method.path];
    let question = asking.question();
    Asked::new(&rules.types, plan.about, &plan.attributes, &plan.action, &question, Some(&schema)).unwrap();
    let shown = plan.attributes.iter().filter(|shown| (shown.value)(&question, &rules.types).is_some());
    shown.map(|shown| shown.name.to_owned()).collect()
}

#[test]
fn the_schema_is_one_and_has_every_method() {
    let (text, warnings) =
        Schema::from_cedarschema_str(&schema()).map(|(schema, warnings)| (schema, warnings.count())).unwrap();
    assert_eq!(warnings, 0);
    let names: BTreeSet<String> = text.actions().map(|action| action.id().unescaped().to_owned()).collect();
    let groups = ["read", "mutate", "secret", "expensive"];
    let expected = rpc::methods().map(|method| method.name).chain(groups).map(str::to_owned).collect();
    assert_eq!(names, expected);
}

#[test]
fn every_field_of_every_request_is_decided_on_and_no_other() {
    let mut known: BTreeSet<&str> = schema::PATHS.iter().map(|(path, _)| *path).collect();
    let mut unknown = Vec::new();
    for method in rpc::methods() {
        for path in schema::paths(method) {
            if schema::shown(&path).is_none() {
                unknown.push(format!("{}.{path}", method.name));
            }
        }
    }
    assert!(unknown.is_empty(), "the schema does not know {unknown:?}");
    for method in rpc::methods() {
        known.retain(|known| !schema::paths(method).iter().any(|path| path == known));
    }
    assert!(known.is_empty(), "no request has {known:?}");
}

#[test]
fn calls_with_everything_and_with_little_fit_the_schema() {
    for method in rpc::methods() {
        let mut asking = Asking::of(method);
        asking.facts = everything();
        let all: BTreeSet<String> =
            schema::attributes(method).iter().map(|shown| shown.name.to_owned()).collect();
        assert_eq!(seen(&asking), all, "{}", method.name);
        asking.facts = ordinary();
        asking.peer = None;
        let needed = schema::attributes(method).into_iter().filter(|shown| !shown.optional);
        let needed: BTreeSet<String> = needed.map(|shown| shown.name.to_owned()).collect();
        assert!(seen(&asking).is_superset(&needed), "{}", method.name);
    }
}

#[test]
fn what_is_decoded_is_what_rules_see() {
    let request = pb::CreatePrebuildRequest {
        project_id: PROJECT.to_owned(),
        environment_class_id: Some(CLASS.to_owned()),
        spec: Some(pb::PrebuildSpec { desired_phase: 60, ..Default::default() }),
    };
    let (_, facts) = rpc::CREATE_PREBUILD.decode(&request.encode_to_vec()).unwrap();
    let asking = Asking { facts, ..Asking::of(&rpc::CREATE_PREBUILD) };
    let rules = rules(&format!(
        "@id(\"all\") forbid(principal, action == Action::\"CreatePrebuild\", resource == Project::\"{PROJECT}\") when {{
           context.environment_class == EnvironmentClass::\"{CLASS}\" && context.timeout_seconds == 3600 &&
           !context.timeout_given && context.desired_phase == \"PREBUILD_PHASE_COMPLETED\" }};"
    ).replace("context.environment_class ==", "context has environment_class && context.environment_class ==")
     .replace("context.desired_phase ==", "context has desired_phase && context.desired_phase =="));
    assert_eq!(asking.refused_by(&rules), ["rules.all"]);
}
