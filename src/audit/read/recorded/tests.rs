//! What records tell of calls, read back.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{
    audit::record::{Client, Record},
    call::{Call, Identity, Scopes, tests},
    error::Error,
    proto::gitpod::v1 as pb,
    rpc::{CREATE_PREBUILD, Object},
};

/// A second and a part of it after 1970.
const AT: Duration = Duration::from_micros(1_500_001);

/// One of acme's that upstream was asked about.
fn call(is_judged: bool) -> Call {
    let spec = Some(pb::PrebuildSpec::default());
    let mut call = tests::call(&CREATE_PREBUILD, &pb::CreatePrebuildRequest { spec, ..Default::default() });
    call.context.set_protocol("connect");
    call.facts.resource = Some(Object { id: "invalid".to_owned(), ..Object::default() });
    if is_judged {
        call.context.set_judged(call.facts.clone(), SystemTime::UNIX_EPOCH + AT);
    }
    call
}

fn line(record: &Record) -> Vec<u8> {
    let tail = String::from_utf8(record.tail()).unwrap();
    format!("{{\"unmapped\":{{{tail}").into_bytes()
}

fn refused(call: &Call, reason: Reason) -> Vec<u8> {
    let mut record = Record::of(call);
    record.ends(&Err(Error::refuse(reason).with_rule("limits.methods")), &call.context, Client::There);
    line(&record)
}

#[test]
fn an_intent_is_of_a_call_that_the_rules_let_pass() {
    let call = call(true);
    let read = Recorded::of(&line(&Record::of(&call))).unwrap();
    assert_eq!((read.request, read.method.name), (call.context.id(), "CreatePrebuild"));
    let Identity { org, subject, scopes, .. } = &call.identity;
    assert_eq!((&read.org, &read.subject, &Scopes::new(&read.scopes)), (org, subject, scopes));
    assert_eq!((&read.facts, read.peer, read.protocol), (&call.facts, None, "connect"));
    assert_eq!((read.at, read.word), (SystemTime::UNIX_EPOCH + AT, Word::Passed));
}

#[test]
fn only_a_rule_s_own_refusal_is_the_policy_s() {
    let read = |reason, is_judged| Recorded::of(&refused(&call(is_judged), reason)).map(|read| read.word);
    let by_rule = Ok(Word::Refused("limits.methods".to_owned()));
    assert_eq!(read(Reason::PolicyDenied, true), by_rule);
    assert_eq!(read(Reason::PolicyDenied, false), by_rule);
    assert_eq!(read(Reason::BudgetExceeded, true), Ok(Word::Passed));
    // One bound of a pool against the present other one: behind the rules.
    assert_eq!(read(Reason::Guardrail, true), Ok(Word::Passed));
    assert_eq!(read(Reason::Guardrail, false), Err(Unjudged::Before("GUARDRAIL")));
    assert_eq!(read(Reason::RateLimited, false), Err(Unjudged::Before("RATE_LIMITED")));
}

#[test]
fn what_cannot_be_judged_once_more_says_why() {
    let call = call(true);
    let good: Value = serde_json::from_slice(&line(&Record::of(&call))).unwrap();
    assert!(Recorded::of(&serde_json::to_vec(&good).unwrap()).is_ok());
    for (at, value, expected) in [
        ("/unmapped/facts", json!({"novelty": 1}), Unjudged::Unreadable),
        ("/unmapped/facts", Value::Null, Unjudged::Unreadable),
        ("/unmapped/scopes", json!(["novelty"]), Unjudged::Unreadable),
        ("/unmapped/decided", json!("noon"), Unjudged::Unreadable),
        ("/actor/user", Value::Null, Unjudged::Unreadable),
        ("/api/operation", json!("gitpod.v1.PrebuildService/Novelty"), Unjudged::Unreadable),
        ("/unmapped/decided", Value::Null, Unjudged::Before("UNKNOWN")),
    ] {
        let mut record = good.clone();
        *record.pointer_mut(at).unwrap() = value;
        let read = Recorded::of(&serde_json::to_vec(&record).unwrap());
        assert_eq!(read.map(|_| ()), Err(expected), "{at}");
    }
    call.context.set_dry_run();
    assert_eq!(Recorded::of(&refused(&call, Reason::DryRun)).map(|_| ()), Err(Unjudged::DryRun));
    assert_eq!(Recorded::of(b"{").map(|_| ()), Err(Unjudged::Unreadable));
}
