//! Messages in both codecs: what is read, what is named, and what is refused.

use prost::Message as _;
use tonic_types::pb::BadRequest;

use super::*;
use crate::{
    error::Detail as _,
    proto::gitpod::v1::{CreatePrebuildRequest, CreateWarmPoolRequest},
    rpc::{CREATE_PREBUILD, CREATE_WARM_POOL, LIST_PREBUILDS},
};

fn json(method: &MethodSpec, text: &'static str) -> Result<Message, Error> {
    Message::read(method, Codec::Json, text.into())
}

/// The fields that an error names, with what is wrong of each.
fn fields(error: &Error) -> Vec<(String, String)> {
    let details = error.details.iter().filter(|any| BadRequest::is(any));
    let violations = details.flat_map(|any| BadRequest::decode(&any.value[..]).unwrap().field_violations);
    violations.map(|violation| (violation.field, violation.description)).collect()
}

#[test]
fn both_codecs_read_the_same_message() {
    let read = json(&CREATE_WARM_POOL, r#"{"project_id":"p","minSize":null,"maxSize":0}"#).unwrap();
    let request = CreateWarmPoolRequest::decode(&read.wire[..]).unwrap();
    assert_eq!((request.project_id.as_str(), request.min_size, request.max_size), ("p", None, Some(0)));
    assert!(read.unknown.is_empty());
    assert_eq!(Message::read(&CREATE_WARM_POOL, Codec::Proto, read.wire.clone()).unwrap(), read);
}

#[test]
fn unknown_fields_are_named_to_the_caller_and_placed_for_the_record() {
    let read = json(&CREATE_PREBUILD, r#"{"projectId":"p","spec":{"timeuot":"1s","pgw_ secret\n":1},"":2}"#)
        .unwrap();
    assert_eq!(CreatePrebuildRequest::decode(&read.wire[..]).unwrap().project_id, "p");
    let paths: Vec<_> = read.unknown.iter().map(|field| field.path.as_str()).collect();
    let places: Vec<_> = read.unknown.iter().map(|field| field.place.as_str()).collect();
    assert_eq!(paths, ["spec.timeuot", "spec.?", "?"]);
    assert_eq!(places, ["spec.?", "spec.?", "?"]);

    let wire = &b"\x1a\x02\x48\x01"[..];
    let read = Message::read(&CREATE_PREBUILD, Codec::Proto, wire.into()).unwrap();
    let both = ("spec.#9".to_owned(), "spec.#9".to_owned());
    assert_eq!(read.unknown.into_iter().map(|field| (field.path, field.place)).collect::<Vec<_>>(), [both]);

    let error = unknown_field(&[Unknown::key("spec", "timeuot")]);
    assert_eq!(error.reason, Some(Reason::UnknownField));
    assert_eq!(fields(&error)[0].0, "spec.timeuot");
}

#[test]
fn an_enum_name_that_nobody_knows_is_never_left_out_of_a_filter() {
    let error = json(&LIST_PREBUILDS, r#"{"filter":{"phases":["PREBUILD_PHASE_SECRET"]}}"#).unwrap_err();
    assert_eq!(
        (error.reason, error.code),
        (Some(Reason::MalformedMessage), crate::error::Code::InvalidArgument)
    );
    assert_eq!(fields(&error), [("filter.phases".to_owned(), "is not a value of this enum".to_owned())]);
}

#[test]
fn nothing_hides_behind_many_unknown_fields() {
    let many: String = (0..40).map(|number| format!("\"field{number}\":0,")).collect();
    let text = format!(r#"{{{many}"filter":{{"phases":["PREBUILD_PHASE_SECRET"]}}}}"#);
    let error = Message::read(&LIST_PREBUILDS, Codec::Json, text.into()).unwrap_err();
    assert_eq!(error.reason, Some(Reason::UnknownField));
}

#[test]
fn a_fault_in_the_json_is_named_by_the_known_part_of_its_path_in_constant_words() {
    for (text, field, problem) in [
        (r#"{"projectId":"a","projectId":"b"}"#, "project_id", "a field is given more than once"),
        (r#"{"projectId":"a","project_id":"b"}"#, "project_id", "a field is given more than once"),
        (r#"{"spec":{"timeout":"1h"}}"#, "spec.timeout", "a duration is malformed or out of range"),
        (r#"{"projectId":7}"#, "project_id", "a JSON value has the wrong type"),
        (r#"[]"#, "", "a JSON value has the wrong type"),
    ] {
        let error = json(&CREATE_PREBUILD, text).unwrap_err();
        assert_eq!(error.reason, Some(Reason::MalformedMessage), "{text}");
        assert_eq!(fields(&error), [(field.to_owned(), problem.to_owned())], "{text}");
    }
    for text in ["", "{", "{}}", "null x", "\u{0}", "hello"] {
        let error = json(&CREATE_PREBUILD, text).unwrap_err();
        assert_eq!(error.reason, Some(Reason::MalformedMessage), "{text}");
    }
    assert!(Message::read(&CREATE_PREBUILD, Codec::Json, (&b"{\"projectId\":\"\xff\"}"[..]).into()).is_err());
    assert!(Message::read(&CREATE_PREBUILD, Codec::Proto, (&b"\xff"[..]).into()).is_err());
}
