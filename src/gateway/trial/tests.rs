//! Calls that are tried, with and without the object that they are about.

use std::error::Error as _;

use super::*;
use crate::{
    call::{Scope, Scopes, tests::call},
    policy::{Edition, Ground, Policy, Stricter, Texts},
    proto::gitpod::v1 as pb,
    rpc::{Class, DELETE_PREBUILD, LIST_PREBUILDS},
};

const PROJECT: &str = "0198c0de-0000-7000-8000-0000000000a1";
const OTHER: &str = "0198c0de-0000-7000-8000-0000000000a2";
const ID: &str = "0198c0de-0000-7000-8000-0000000000e1";

fn trial(policy: &str) -> Trial {
    let ground = Ground { orgs: vec!["acme".into()], in_flight: 100, ..Ground::default() };
    let edition = Edition::of(&Texts { policy: policy.to_owned(), rules: Vec::new() }, &ground).unwrap();
    Trial::new(Bind(Policy::new(edition)), Validate { stricter: Stricter::Forward }, Authorize::default())
}

fn delete() -> Call {
    call(&DELETE_PREBUILD, &pb::DeletePrebuildRequest { prebuild_id: ID.to_owned() })
}

fn object(project: &str) -> Option<Object> {
    Some(Object { project: project.to_owned(), ..Object::default() })
}

fn may_ask(mut call: Call) -> Call {
    let scopes = [Scope::Class(Class::Read), Scope::Class(Class::Mutate), Scope::Explain];
    call.identity.scopes = Scopes::new(&scopes);
    call
}

#[tokio::test]
async fn the_object_that_is_given_is_judged() {
    let trial = trial(&format!("limits.projects = {{ allow = ['{PROJECT}'] }}"));
    let judged = trial.judge(may_ask(delete()), object(PROJECT)).await.unwrap();
    assert!(judged.verdict.allowed && judged.fields.is_empty());
    let judged = trial.judge(may_ask(delete()), object(OTHER)).await.unwrap();
    let refusal = judged.verdict.refusal.unwrap();
    assert_eq!((refusal.rule.as_str(), judged.fields.len()), ("limits.projects", 1));
}

#[tokio::test]
async fn an_object_that_nobody_gives_is_missed_where_a_rule_looks_at_it() {
    let narrow = trial(&format!("limits.projects = {{ allow = ['{PROJECT}'] }}"));
    let error = narrow.judge(may_ask(delete()), None).await.unwrap_err();
    assert!(error.source().unwrap().is::<ObjectMissing>());
    assert!(trial("").judge(may_ask(delete()), None).await.unwrap().verdict.allowed);
}

#[tokio::test]
async fn what_is_judged_is_what_would_be_sent() {
    let trial = trial("limits.max_page_size = 10");
    let list = may_ask(call(&LIST_PREBUILDS, &pb::ListPrebuildsRequest::default()));
    let judged = trial.judge(list, None).await.unwrap();
    assert_eq!(judged.verdict.request_json, r#"{"pagination":{"pageSize":10}}"#);
    assert_eq!(judged.verdict.written_fields, ["pagination.page_size"]);
}

#[tokio::test]
async fn whoever_may_not_ask_is_told_nothing() {
    let mut call = delete();
    call.identity.scopes = Scopes::new(&[Scope::Class(Class::Mutate)]);
    assert_eq!(trial("").judge(call, None).await.unwrap_err().reason, Some(Reason::ScopeMissing));
}
