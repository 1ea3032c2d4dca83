//! Error bodies of every form, and the tables of codes.

use http::StatusCode;

use super::{ErrorBody, code, code_of_status, http_status, name, parse};
use crate::error::Code;

#[test]
fn every_code_has_one_name_and_a_status_that_is_an_error() {
    for number in 1..=16 {
        let one = Code::from(number);
        let named = name(one).unwrap();
        assert_eq!(code(named), Some(one));
        assert!(StatusCode::from_u16(http_status(one)).is_ok_and(|status| !status.is_success()));
    }
    assert_eq!((name(Code::Ok), code("ok"), code("NOT_FOUND")), (None, None, None));
}

#[test]
fn a_body_keeps_every_detail_padded_or_not() {
    let body = parse(
        br#"{"code":"not_found","message":"no such prebuild","more":1,"details":[
            {"type":"google.rpc.ErrorInfo","value":"CgFh","debug":{"x":1}},
            {"type":"google.rpc.ErrorInfo","value":"CgFhEg"},
            {"type":"type.googleapis.com/google.rpc.RetryInfo","value":"CgFhEg=="},
            {"type":"broken","value":"*"}]}"#,
    )
    .unwrap();
    assert_eq!(body.code, Some(Code::NotFound));
    assert_eq!(body.message, "no such prebuild");
    let details: Vec<_> = body.details.iter().map(|any| (any.type_url.as_str(), &any.value[..])).collect();
    assert_eq!(
        details,
        [
            ("type.googleapis.com/google.rpc.ErrorInfo", &b"\x0a\x01a"[..]),
            ("type.googleapis.com/google.rpc.ErrorInfo", b"\x0a\x01a\x12"),
            ("type.googleapis.com/google.rpc.RetryInfo", b"\x0a\x01a\x12"),
        ]
    );
}

#[test]
fn a_body_may_say_little_or_nothing() {
    assert_eq!(parse(b"{}"), Some(ErrorBody::default()));
    assert_eq!(parse(br#"{"code":"new_code","message":null,"details":null}"#), Some(ErrorBody::default()));
    for none in [&b""[..], b"<html>", b"null", b"{", b"7"] {
        assert_eq!(parse(none), None, "{}", String::from_utf8_lossy(none));
    }
}

#[test]
fn what_cannot_be_read_takes_nothing_else_with_it() {
    let whole = r#"{"type":"a.B","value":"AQI"}"#;
    for broken in
        ["7", "null", "[]", r#"{"type":"a.B"}"#, r#"{"type":"a.B","value":7}"#, r#"{"value":"AQI"}"#]
    {
        let text = format!(r#"{{"code":"not_found","message":"m","details":[{broken},{whole},{broken}]}}"#);
        let body = parse(text.as_bytes()).unwrap();
        assert_eq!((body.code, body.message.as_str()), (Some(Code::NotFound), "m"), "{broken}");
        let details: Vec<_> =
            body.details.iter().map(|any| (any.type_url.as_str(), &any.value[..])).collect();
        assert_eq!(details, [("type.googleapis.com/a.B", &[1, 2][..])], "{broken}");
    }
    for (text, code, message, details) in [
        (format!(r#"{{"code":"not_found","message":7,"details":[{whole}]}}"#), Some(Code::NotFound), "", 1),
        (format!(r#"{{"code":7,"message":"m","details":[{whole}]}}"#), None, "m", 1),
        (r#"{"code":"not_found","message":"m","details":{"a":1}}"#.to_owned(), Some(Code::NotFound), "m", 0),
    ] {
        let body = parse(text.as_bytes()).unwrap();
        assert_eq!((body.code, &*body.message, body.details.len()), (code, message, details), "{text}");
    }
}

#[test]
fn a_status_alone_has_a_code() {
    let table = [
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (418, Code::Unknown),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
    ];
    for (status, code) in table {
        assert_eq!(code_of_status(StatusCode::from_u16(status).unwrap()), code, "{status}");
    }
}
