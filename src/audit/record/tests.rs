//! What a record says, stage by stage: part of the format that others read.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use super::{Client, Common, Count, Record, event::MAX_TAIL};
use crate::{
    audit::{tests::read, writer},
    call::{AttemptKind, Call, Context, Mismatch, MismatchKind, Reply, RequestId, UnknownField, tests},
    error::{Code, Error, Reason},
    proto::gitpod::v1 as pb,
    rpc::{CANCEL_PREBUILD, LIST_PREBUILDS, Object, Seen},
    rule::{Applied, Mode, Outcome, Version},
    telemetry::metrics::AuditStage,
};

const ID: &str = "0198c0de-0000-7000-8000-000000000001";

impl Record {
    /// It tells of this request.
    pub(in crate::audit) fn with_request(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }
}

/// A call by id that upstream was asked about first.
async fn cancel() -> Call {
    let request = pb::CancelPrebuildRequest { prebuild_id: ID.to_owned() };
    let call = tests::call(&CANCEL_PREBUILD, &request);
    let context = &call.context;
    context.set_protocol("grpc");
    context.set_trace_id("0af7651916cd43dd8448eb211c80319c".to_owned());
    context.set_policy(Version::of(["policy"]));
    context.set_unknown(vec![UnknownField { place: "spec.?".to_owned(), name: Some("s3cret".to_owned()) }]);
    let look_up = async { Ok::<_, Error>(()) };
    context.attempt(AttemptKind::Lookup, Some(ID.to_owned()), look_up).await.unwrap();
    let rule = Applied { rule: "rules.r".into(), mode: Mode::Audit, candidate: false, value: (), link: None };
    context.add_rulings([rule.ruling(Outcome::Broken).on("prebuild_id")]);
    context.set_judged(call.facts.clone(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
    call
}

/// As JSON behind a beginning that makes an object of it; what is another each time reads the same.
fn shown(record: &Record) -> Value {
    let mut value = whole(record);
    for (path, stands) in [
        ("/unmapped/time", "TIME"),
        ("/time", "MILLIS"),
        ("/duration", "MILLIS"),
        ("/unmapped/latency_us", "LATENCY"),
        ("/unmapped/attempts/0/took_us", "MICROS"),
        ("/api/request/uid", "REQUEST"),
    ] {
        if let Some(found) = value.pointer_mut(path) {
            *found = stands.into();
        }
    }
    value
}

fn whole(record: &Record) -> Value {
    let tail = String::from_utf8(record.tail()).unwrap();
    assert!(tail.starts_with("\"stage\":\""), "{tail}");
    serde_json::from_str(&format!("{{\"unmapped\":{{{tail}")).unwrap()
}

fn end(record: &mut Record, call: &Call, result: &Result<Reply, Error>) {
    record.ends(result, &call.context, Client::There);
}

fn expected() -> Value {
    json!({
        "unmapped": {
            "stage": "intent",
            "time": "TIME",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "protocol": "grpc",
            "scopes": ["read", "mutate", "secret"],
            "decided": "1970-01-01T00:00:01.500000Z",
            "rulings": [{"rule": "rules.r", "mode": "audit", "outcome": "broken", "field": "prebuild_id"}],
            "facts": {"prebuild": ID},
            "attempts": [{"kind": "lookup", "object": ID, "code": "OK", "sent": "yes", "took_us": "MICROS"}],
            "unknown_fields": {"count": 1, "places": ["spec.?"]},
        },
        "class_uid": 6003,
        "category_uid": 6,
        "activity_id": 3,
        "type_uid": 600_303,
        "severity_id": 1,
        "time": "MILLIS",
        "status_id": 0,
        "actor": {
            "user": {"uid": "ci", "org": {"uid": "acme"}, "credential_uid": "ci-1"},
            "authorizations": [
                {"decision": "allowed", "policy": {"uid": "policy", "version": Version::of(["policy"]).as_str()}},
            ],
        },
        "api": {
            "operation": "gitpod.v1.PrebuildService/CancelPrebuild",
            "service": {"name": "gitpod.v1.PrebuildService"},
            "request": {"uid": "REQUEST"},
        },
        "src_endpoint": {"name": "unknown"},
        "resources": [{"type": "prebuild", "uid": ID}],
    })
}

#[tokio::test]
async fn an_intent_is_as_documented() {
    let record = Record::of(&cancel().await);
    assert_eq!(record.stage(), AuditStage::Intent);
    assert_eq!(shown(&record), expected());
}

#[tokio::test]
async fn an_outcome_is_as_documented() {
    let call = cancel().await;
    let mut record = Record::of(&call);
    call.context.set_permitted();
    call.context.set_intended();
    let mismatch = Mismatch { kind: MismatchKind::Organization, objects: 1 };
    call.context.add_mismatch(mismatch);
    let objects = vec![Object { id: ID.to_owned(), ..Object::default() }];
    let seen = Seen { objects, next: None };
    let reply = Reply { seen, drift: vec!["status.novelty".to_owned()], ..tests::reply() };
    record.ends(&Ok(reply), &call.context, Client::Gone);
    let mut expected = expected();
    let more = json!({
        "stage": "outcome",
        "decision": "allowed",
        "forwarded": "yes",
        "client": "gone",
        "latency_us": "LATENCY",
        "drift": ["status.novelty"],
        "mismatch": {"kind": "organization", "objects": 1},
    });
    expected["unmapped"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    expected["api"]["response"] = json!({"code": 0, "message": "OK"});
    for (key, value) in [
        ("status_id", json!(1)),
        ("severity_id", json!(4)),
        ("status_code", json!("OK")),
        ("duration", json!("MILLIS")),
    ] {
        expected[key] = value;
    }
    assert_eq!(shown(&record), expected);
    let latency = &whole(&record)["unmapped"]["latency_us"];
    let order: Vec<_> =
        ["judged", "intended", "recorded"].map(|stage| latency[stage].as_u64().unwrap()).into();
    assert!(order.is_sorted(), "{latency}");
}

#[tokio::test]
async fn a_reject_is_as_documented() {
    let call = cancel().await;
    let mut record = Record::of(&call);
    end(&mut record, &call, &Err(Error::refuse(Reason::PolicyDenied).with_rule("rules.r")));
    let mut expected = expected();
    let more = json!({
        "stage": "reject",
        "decision": "refused",
        "rule": "rules.r",
        "forwarded": "no",
        "client": "there",
        "latency_us": "LATENCY",
    });
    expected["unmapped"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    expected["api"]["response"] =
        json!({"code": 7, "message": "PERMISSION_DENIED", "error": "POLICY_DENIED"});
    expected["actor"]["authorizations"][0]["decision"] = "refused".into();
    expected["actor"]["authorizations"][0]["policy"]["uid"] = "rules.r".into();
    for (key, value) in [
        ("status_id", json!(2)),
        ("severity_id", json!(2)),
        ("status_code", json!("PERMISSION_DENIED")),
        ("duration", json!("MILLIS")),
    ] {
        expected[key] = value;
    }
    assert_eq!(shown(&record), expected);
}

#[test]
fn what_the_gateway_tells_of_its_log_is_as_documented() {
    let record = shown(&writer::gap(3));
    assert_eq!(
        record,
        json!({
            "unmapped": {"stage": "gap", "time": "TIME", "count": 3},
            "class_uid": 6003,
            "category_uid": 6,
            "activity_id": 99,
            "type_uid": 600_399,
            "severity_id": 4,
            "time": "MILLIS",
            "status_id": 2,
            "count": 3,
            "actor": {"app_name": "prebuild-gateway"},
            "api": {"operation": "audit.gap", "service": {"name": "prebuild-gateway"}},
            "src_endpoint": {"name": "prebuild-gateway"},
        })
    );
}

#[test]
fn a_strangers_reject_and_what_counts_others_like_it_are_as_documented() {
    let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let context = Context::new(RequestId::new(), Instant::now(), Some(peer));
    context.set_protocol("connect");
    let reject = Record::refused(&context, &Error::refuse(Reason::Unauthenticated));
    let mut expected = json!({
        "unmapped": {
            "stage": "reject",
            "time": "TIME",
            "protocol": "connect",
            "decided": "TIME",
            "decision": "refused",
            "forwarded": "no",
            "client": "there",
            "latency_us": "LATENCY",
        },
        "class_uid": 6003,
        "category_uid": 6,
        "activity_id": 0,
        "type_uid": 600_300,
        "severity_id": 2,
        "time": "MILLIS",
        "status_id": 2,
        "status_code": "UNAUTHENTICATED",
        "duration": "MILLIS",
        "actor": {"app_name": "unknown", "authorizations": [{"decision": "refused"}]},
        "api": {
            "operation": "unknown",
            "service": {"name": "unknown"},
            "request": {"uid": "REQUEST"},
            "response": {"code": 16, "message": "UNAUTHENTICATED", "error": "UNAUTHENTICATED"},
        },
        "src_endpoint": {"ip": "127.0.0.1", "port": 40_000},
    });
    let mut shown_reject = shown(&reject);
    shown_reject["unmapped"]["decided"] = "TIME".into();
    assert_eq!(shown_reject, expected);

    let first = SystemTime::UNIX_EPOCH;
    let count = Count { number: 7, first, last: first + Duration::from_secs(9) };
    let own = [
        ("stage", json!("aggregate")),
        ("count", json!(7)),
        ("first", json!("1970-01-01T00:00:00.000000Z")),
        ("last", json!("1970-01-01T00:00:09.000000Z")),
    ];
    for (key, value) in own {
        expected["unmapped"][key] = value;
    }
    expected["count"] = 7.into();
    for (of, key) in [
        ("/unmapped", "decided"),
        ("/unmapped", "client"),
        ("/unmapped", "latency_us"),
        ("/api", "request"),
        ("/src_endpoint", "port"),
        ("", "duration"),
    ] {
        expected.pointer_mut(of).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    }
    let common = Common { from: Some(peer.ip()), protocol: Some("connect"), has_facts: false };
    assert_eq!(shown(&reject.like(common).counted(count)), expected);
}

/// So many are missing where it cannot be written.
#[test]
fn a_record_counts_the_calls_whose_ends_it_tells() {
    let call = tests::call(&CANCEL_PREBUILD, &pb::CancelPrebuildRequest::default());
    let reject = Record::refused(&call.context, &Error::refuse(Reason::Unauthenticated));
    let common = Common { from: None, protocol: None, has_facts: false };
    let now = SystemTime::now();
    let aggregate = reject.like(common).counted(Count { number: 7, first: now, last: now });
    let checkpoint = Record::own(AuditStage::Checkpoint, serde_json::Map::new());
    let records = [(Record::of(&call), 0), (reject, 1), (aggregate, 7), (writer::gap(3), 3), (checkpoint, 0)];
    records.iter().for_each(|(record, ends)| assert_eq!(record.draft().ends, *ends, "{record:?}"));
}

/// Rules have let it pass, and a budget has not.
#[tokio::test]
async fn what_a_budget_refuses_is_refused() {
    let call = cancel().await;
    let mut record = Record::of(&call);
    call.context.set_permitted();
    end(&mut record, &call, &Err(Error::refuse(Reason::BudgetExceeded).with_rule("budgets.org.creates")));
    let shown = whole(&record);
    assert_eq!(shown["unmapped"]["decision"], "refused");
    let authorization = &shown["actor"]["authorizations"][0];
    assert_eq!(authorization["decision"], "refused");
    assert_eq!(authorization["policy"]["uid"], "budgets.org.creates");
    // That upstream cannot be reached, or refuses, is no decision of the gateway's.
    for error in [
        Error::refuse(Reason::UpstreamUnreachable),
        Error::upstream(Code::PermissionDenied, "no").with_rule("theirs"),
    ] {
        end(&mut record, &call, &Err(error));
        assert_eq!(whole(&record)["unmapped"]["decision"], "allowed");
    }
}

/// It was answered before it became a call, as its time was up.
#[test]
fn who_was_told_that_the_deadline_has_passed_was_not_there() {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    for (reason, is_expired, client) in [
        (Reason::Unauthenticated, false, "there"),
        (Reason::CallerGone, false, "gone"),
        (Reason::DeadlineExceeded, false, "expired"),
        (Reason::PeerLimited, true, "expired"),
    ] {
        if is_expired {
            context.set_expired();
        }
        let record = Record::refused(&context, &Error::refuse(reason));
        assert_eq!(whole(&record)["unmapped"]["client"], client);
    }
}

#[test]
fn what_is_cut_is_named() {
    let filter =
        pb::list_prebuilds_request::Filter { project_ids: vec![ID.to_owned(); 26], ..Default::default() };
    let request = pb::ListPrebuildsRequest { filter: Some(filter), ..Default::default() };
    let call = tests::call(&LIST_PREBUILDS, &request);
    let applied = |number: usize| Applied {
        rule: format!("rules.{number}").as_str().into(),
        mode: Mode::Audit,
        candidate: false,
        value: (),
        link: None,
    };
    call.context.add_rulings((0..33).map(|number| applied(number).ruling(Outcome::Broken)));
    let unknown = UnknownField { place: "?".to_owned(), name: None };
    call.context.set_unknown(vec![unknown; 17]);
    let mut record = Record::of(&call);
    record.set_request(None);
    let objects = vec![Object { id: ID.to_owned(), ..Object::default() }; 101];
    end(&mut record, &call, &Ok(Reply { seen: Seen { objects, next: None }, ..tests::reply() }));
    record.set_response(None);
    let mut cut: Vec<_> =
        whole(&record)["unmapped"]["truncated"].as_array().unwrap().iter().map(Value::to_string).collect();
    cut.sort();
    let names = ["api.request.data", "api.response.data", "resources"].into_iter();
    let names = names.chain(["unmapped.facts", "unmapped.rulings", "unmapped.unknown_fields"]);
    assert_eq!(cut, names.map(|name| format!("{name:?}")).collect::<Vec<_>>());

    // A rule of the policy's has at most 64 characters behind `rules.`.
    let rule = format!("rules.{}", "n".repeat(64));
    end(&mut record, &call, &Err(Error::refuse(Reason::PolicyDenied).with_rule(rule.clone())));
    assert_eq!(whole(&record)["unmapped"]["rule"], rule);
}

/// What refused is in the record of a refusal: the effective request, with the object that it is about.
#[tokio::test]
async fn a_reject_has_the_facts_that_were_judged() {
    let request = pb::CancelPrebuildRequest { prebuild_id: ID.to_owned() };
    let mut call = tests::call(&CANCEL_PREBUILD, &request);
    let mut record = Record::of(&call);
    call.facts.resource = Some(Object { project: ID.to_owned(), ..Object::default() });
    call.context.set_judged(call.facts.clone(), SystemTime::now());
    end(&mut record, &call, &Err(Error::refuse(Reason::PolicyDenied)));
    assert_eq!(whole(&record)["unmapped"]["facts"]["resource"]["project"], ID);
}

#[test]
fn a_record_that_would_be_too_long_says_what_it_lacks() {
    let filter = pb::list_prebuilds_request::Filter {
        project_ids: vec![ID.to_owned(); 25],
        creator_ids: vec![ID.to_owned(); 25],
        executor_ids: vec![ID.to_owned(); 25],
        ..Default::default()
    };
    let request = pb::ListPrebuildsRequest { filter: Some(filter), ..Default::default() };
    let call = tests::call(&LIST_PREBUILDS, &request);
    let applied = |number: usize| {
        let name = format!("rules.{number}.{}", "n".repeat(90));
        Applied { rule: name.as_str().into(), mode: Mode::Audit, candidate: false, value: (), link: None }
    };
    let bound = "b".repeat(200);
    call.context
        .add_rulings((0..32).map(|number| applied(number).ruling(Outcome::Broken).within(bound.clone())));
    let objects = vec![Object { id: ID.to_owned(), ..Object::default() }; 100];
    let reply = Reply { seen: Seen { objects, next: None }, ..tests::reply() };
    let mut record = Record::of(&call);
    end(&mut record, &call, &Ok(reply));
    assert!(record.whole().len() > MAX_TAIL, "or it tries nothing");
    assert!(record.tail().len() <= MAX_TAIL);
    let shown = read::flat(&whole(&record));
    assert!(shown["truncated"].as_array().unwrap().contains(&json!("resources")), "{shown}");
    // What policy saw is whole.
    assert_eq!(shown["facts"]["filter"]["creators"].as_array().unwrap().len(), 25);
    assert!(shown["rulings"].is_array());
}
