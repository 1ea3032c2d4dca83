//! Every field has a class, what policy sees is kept, and nothing else than what the classes say is shown.

use std::collections::BTreeSet;

use prost::Message;
use serde_json::{Value, json};

use super::{
    Class,
    fields::{FIELDS, PACKAGE, class},
    message,
};
use crate::{
    audit::hash::Keys,
    proto::gitpod::v1 as pb,
    rpc::{
        self, Facts, Filter, Form, GET_PREBUILD, Kind, LIST_PREBUILDS, MessageSchema, MethodSpec, Object,
        Schema, Sizes, Timeout,
    },
};

const ID: &str = "0198c0de-0000-7000-8000-000000000001";

/// Every message that a method can carry, with those that are in it.
fn messages() -> Vec<&'static MessageSchema> {
    let mut found: Vec<&MessageSchema> = Vec::new();
    let mut open: Vec<&MessageSchema> =
        rpc::methods().flat_map(|method| [method.input().unwrap(), method.output().unwrap()]).collect();
    while let Some(next) = open.pop() {
        if next.form != Form::Object || found.iter().any(|known| known.full_name == next.full_name) {
            continue;
        }
        found.push(next);
        open.extend(next.fields.iter().filter_map(|field| match field.kind {
            Kind::Message(index) | Kind::Map(index) => Some(Schema::gitpod().message_at(index)),
            Kind::Scalar(_) | Kind::Enum(_) => None,
        }));
    }
    found
}

#[test]
fn every_field_has_a_class_and_every_class_a_field() {
    let mut classed = BTreeSet::new();
    for message in messages() {
        for field in &message.fields {
            let class = class(&message.full_name, &field.name);
            let class = class.unwrap_or_else(|| panic!("{}.{} has no class", message.full_name, field.name));
            classed.insert((message.full_name.clone(), field.name.clone()));
            // What is no message can only be looked into where something says what is in it.
            assert!(class == Class::Keep || !matches!(field.kind, Kind::Message(_) | Kind::Map(_)));
        }
    }
    let table = FIELDS.iter().flat_map(|(message, fields)| {
        fields.iter().map(move |(field, _)| (format!("{PACKAGE}{message}"), (*field).to_owned()))
    });
    assert_eq!(table.collect::<BTreeSet<_>>(), classed);
    assert!(FIELDS.is_sorted_by_key(|(name, _)| name), "it is searched");
}

/// By a message that nobody has classed: it fails safe.
#[test]
fn a_field_without_a_class_is_left_out() {
    assert_eq!(class("gitpod.v1.Prebuild", "novelty"), None);
    assert_eq!(class("gitpod.v1.Novelty", "id"), None);
    assert_eq!(class("novelty.v1.Prebuild", "id"), None);
}

/// As the facts of a request are kept in every record, what they are made of must be.
#[test]
fn what_policy_sees_is_kept() {
    let object = Object { id: ID.to_owned(), ..Object::default() };
    let sizes = Sizes { desired: Some(1), min: Some(1), max: Some(1) };
    let ids = vec![ID.to_owned()];
    let facts = Facts {
        project: Some(ID.to_owned()),
        class: Some(ID.to_owned()),
        prebuild: Some(ID.to_owned()),
        pool: Some(ID.to_owned()),
        spec: true,
        timeout: Some(Timeout { seconds: 1, nanos: 1 }),
        desired_phase: Some(1),
        sizes,
        page_size: Some(1),
        page_token: Some("CANARY".to_owned()),
        filter: Filter {
            projects: ids.clone(),
            classes: ids.clone(),
            creators: ids.clone(),
            executors: ids,
            phases: vec![1],
            triggers: vec![1],
        },
        resource: Some(Object { sizes, log_url: "CANARY".to_owned(), ..object }),
        written: BTreeSet::from(["spec.timeout"]),
    };
    let shown = serde_json::to_value(&facts).unwrap();
    assert!(!shown.to_string().contains("CANARY"), "{shown}");
    let mut paths = Vec::new();
    leaves("", &shown, &mut paths);
    let from: Vec<_> = paths.iter().flat_map(|path| made_of(path)).collect();
    for (message, field) in from {
        assert_eq!(class(&format!("{PACKAGE}{message}"), field), Some(Class::Keep), "{message}.{field}");
    }
}

fn leaves(path: &str, value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| leaves(&format!("{path}/{key}"), value, paths));
        }
        _ => paths.push(path.to_owned()),
    }
}

/// The fields that a fact is made of.
fn made_of(fact: &str) -> &'static [(&'static str, &'static str)] {
    match fact {
        "/project" => &[("CreatePrebuildRequest", "project_id"), ("CreateWarmPoolRequest", "project_id")],
        "/class" => &[
            ("CreatePrebuildRequest", "environment_class_id"),
            ("CreateWarmPoolRequest", "environment_class_id"),
        ],
        "/prebuild" => &[("GetPrebuildRequest", "prebuild_id"), ("CancelPrebuildRequest", "prebuild_id")],
        "/pool" => &[("GetWarmPoolRequest", "warm_pool_id"), ("UpdateWarmPoolRequest", "warm_pool_id")],
        "/spec" => &[("CreatePrebuildRequest", "spec")],
        "/timeout/seconds" | "/timeout/nanos" => &[("PrebuildSpec", "timeout")],
        "/desired_phase" => &[("PrebuildSpec", "desired_phase")],
        "/sizes/desired" => {
            &[("CreateWarmPoolRequest", "desired_size"), ("UpdateWarmPoolRequest", "desired_size")]
        }
        "/sizes/min" => &[("CreateWarmPoolRequest", "min_size"), ("UpdateWarmPoolRequest", "min_size")],
        "/sizes/max" => &[("CreateWarmPoolRequest", "max_size"), ("UpdateWarmPoolRequest", "max_size")],
        "/page_size" => &[("PaginationRequest", "page_size")],
        "/filter/projects" => {
            &[("ListPrebuildsRequest.Filter", "project_ids"), ("ListWarmPoolsRequest.Filter", "project_ids")]
        }
        "/filter/classes" => &[("ListWarmPoolsRequest.Filter", "environment_class_ids")],
        "/filter/creators" => &[("ListPrebuildsRequest.Filter", "creator_ids")],
        "/filter/executors" => &[("ListPrebuildsRequest.Filter", "executor_ids")],
        "/filter/phases" => &[("ListPrebuildsRequest.Filter", "phases")],
        "/filter/triggers" => &[("ListPrebuildsRequest.Filter", "triggered_by")],
        "/resource/id" => &[("Prebuild", "id"), ("WarmPool", "id")],
        "/resource/organization" => {
            &[("PrebuildMetadata", "organization_id"), ("WarmPoolMetadata", "organization_id")]
        }
        "/resource/project" => &[("PrebuildMetadata", "project_id"), ("WarmPoolMetadata", "project_id")],
        "/resource/class" => {
            &[("PrebuildMetadata", "environment_class_id"), ("WarmPoolMetadata", "environment_class_id")]
        }
        "/resource/sizes/desired" => &[("WarmPoolSpec", "desired_size")],
        "/resource/sizes/min" => &[("WarmPoolSpec", "min_size")],
        "/resource/sizes/max" => &[("WarmPoolSpec", "max_size")],
        // Names of the gateway's own.
        "/written" => &[],
        other => panic!("a fact that is made of nobody knows what: {other}"),
    }
}

fn keys() -> Keys {
    let place = tempfile::tempdir().unwrap();
    Keys::open(place.path(), None).unwrap()
}

fn shown(method: &MethodSpec, output: bool, value: &impl Message, keys: &Keys) -> Value {
    let schema = if output { method.output() } else { method.input() };
    message(Schema::gitpod(), schema, &value.encode_to_vec(), keys).unwrap()
}

#[test]
fn each_class_does_what_it_says() {
    let keys = keys();
    let prebuild = pb::Prebuild {
        id: ID.to_owned(),
        metadata: Some(pb::PrebuildMetadata { project_id: "CANARY".to_owned(), ..Default::default() }),
        spec: Some(pb::PrebuildSpec { spec_version: 7, ..Default::default() }),
        status: Some(pb::PrebuildStatus {
            phase: pb::PrebuildPhase::Failed.into(),
            failure_message: "CANARY é".to_owned(),
            log_url: "https://logs.example.com/?CANARY".to_owned(),
            completion_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            ..Default::default()
        }),
    };
    let reply = pb::GetPrebuildResponse { prebuild: Some(prebuild) };
    assert_eq!(
        shown(&GET_PREBUILD, true, &reply, &keys),
        json!({"prebuild": {
            "id": ID,
            "metadata": {"projectId": "invalid"},
            "spec": {"specVersion": "7"},
            "status": {
                "phase": "PREBUILD_PHASE_FAILED",
                "completionTime": "1970-01-01T00:00:01Z",
                "failureMessage": 9,
            },
        }})
    );
    let request = pb::ListPrebuildsRequest {
        pagination: Some(pb::PaginationRequest { page_size: 3, token: "CANARY".to_owned() }),
        filter: Some(pb::list_prebuilds_request::Filter {
            project_ids: vec![ID.to_owned(), "CANARY".to_owned()],
            phases: vec![pb::PrebuildPhase::Failed.into(), 1234],
            ..Default::default()
        }),
    };
    assert_eq!(
        shown(&LIST_PREBUILDS, false, &request, &keys),
        json!({
            "pagination": {"pageSize": 3, "token": keys.digest("CANARY")},
            "filter": {"projectIds": [ID, "invalid"], "phases": ["PREBUILD_PHASE_FAILED", 1234]},
        })
    );
}

#[test]
fn what_is_no_message_is_not_shown() {
    assert_eq!(message(Schema::gitpod(), GET_PREBUILD.input(), b"\xff", &keys()), None);
    assert_eq!(message(Schema::gitpod(), None, b"", &keys()), None);
}
