//! Calls that are tried, with and without the object that they are about.

use std::error::Error as _;

use super::*;
use crate::{
    call::{Scope, Scopes, tests::call},
    policy::{Edition, Ground, Policy, Stricter, Texts},
    proto::gitpod::v1 as pb,
    rpc::{Class, DELETE_PREBUILD, LIST_PREBUILDS, Sizes, UPDATE_WARM_POOL},
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

/// As records have it where the sizes did not count.
#[tokio::test]
async fn what_is_decided_takes_no_more_of_the_object_than_rules_in_force_judge() {
    let decide = async |policy: &str, call: Call, object| trial(policy).decide(call, object).await;
    let refused = |rule: &str| Decided::Refused(rule.to_owned());
    let narrow = format!("limits.projects = {{ allow = ['{PROJECT}'] }}");
    assert_eq!(decide(&narrow, delete(), object(PROJECT)).await.unwrap(), Decided::Passed);
    assert_eq!(decide(&narrow, delete(), object(OTHER)).await.unwrap(), refused("limits.projects"));
    let is_missed =
        |result: Result<Decided, Error>| result.unwrap_err().source().unwrap().is::<ObjectMissing>();
    assert!(is_missed(decide(&narrow, delete(), None).await));
    let shadow = format!("limits.projects = {{ allow = ['{PROJECT}'], mode = 'warn' }}");
    assert_eq!(decide(&shadow, delete(), None).await.unwrap(), Decided::Passed);

    let update = |max_size| {
        let pool = pb::UpdateWarmPoolRequest { warm_pool_id: ID.to_owned(), max_size, ..Default::default() };
        call(&UPDATE_WARM_POOL, &pool)
    };
    let sized = |min, max| Object { sizes: Sizes { desired: Some(1), min, max }, ..object(PROJECT).unwrap() };
    let small = "limits.min_pool_size = 2";
    assert!(is_missed(decide(small, update(Some(3)), object(PROJECT)).await));
    assert_eq!(decide(small, update(Some(3)), Some(sized(Some(2), Some(3)))).await.unwrap(), Decided::Passed);
    let below = Some(sized(Some(1), Some(3)));
    assert_eq!(decide(small, update(Some(3)), below.clone()).await.unwrap(), refused("limits.min_pool_size"));
    // Nothing looks at them; and that the bounds would cross is no word of the policy's.
    assert_eq!(decide("", update(Some(3)), object(PROJECT)).await.unwrap(), Decided::Passed);
    assert_eq!(decide("", update(Some(0)), below).await.unwrap(), Decided::Passed);
}

#[tokio::test]
async fn what_is_refused_before_the_rules_is_told_apart() {
    let mut read_only = delete();
    read_only.identity.scopes = Scopes::new(&[Scope::Class(Class::Read)]);
    let decided = trial("").decide(read_only, None).await.unwrap();
    assert_eq!(decided, Decided::Before("scopes.mutate".to_owned()));
    let unsaid = call(&DELETE_PREBUILD, &pb::DeletePrebuildRequest::default());
    let decided = trial("").decide(unsaid, None).await.unwrap();
    assert_eq!(decided, Decided::Before("validation.guardrails".to_owned()));
}
