//! The translation matrix as a table: status, body and class of the method, and what the caller gets.

use http::{HeaderName, HeaderValue};
use tonic_types::pb;

use super::*;
use crate::{
    error::Origin,
    rpc::{CREATE_PREBUILD, CREATE_PREBUILD_LOGS_TOKEN, GET_PREBUILD, LIST_PREBUILDS},
};

const READ: &MethodSpec = &GET_PREBUILD;
const MUTATE: &MethodSpec = &CREATE_PREBUILD;
const SECRET: &MethodSpec = &CREATE_PREBUILD_LOGS_TOKEN;
const ALL: [&MethodSpec; 3] = [READ, MUTATE, SECRET];

const HTML: &[(&str, &str)] = &[("content-type", "text/html")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

type Headers<'h> = &'h [(&'h str, &'h str)];

fn answer(status: u16, headers: Headers<'_>, body: &str) -> Answer {
    let header = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.iter().map(header).collect(),
        bearer: Some(Bearer::Gateway),
        line: Line::default(),
        body: Ok(Bytes::copy_from_slice(body.as_bytes())),
    }
}

fn judge(method: &'static MethodSpec, answer: Answer) -> Verdict {
    read(method, answer, &AllowList::for_responses(["x-team"]).unwrap())
}

fn error(method: &'static MethodSpec, status: u16, headers: Headers<'_>, body: &str) -> Error {
    judge(method, answer(status, headers, body)).result.unwrap_err()
}

fn is_ours(error: &Error, reason: Reason) {
    assert_eq!((error.reason, error.code), (Some(reason), reason.code()));
    assert_eq!((error.retry, error.sent), (reason.retry(), reason.sent()));
    assert!(error.details.is_empty() && error.metadata.is_empty());
}

#[test]
fn a_200_of_json_is_a_reply_with_its_objects() {
    let body =
        r#"{"prebuilds":[{"id":"one","news":1},{"id":"two","status":{"phase":"PREBUILD_PHASE_NEW"}}]}"#;
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON ;x=y"] {
        let headers =
            [("content-type", content_type), ("x-team", "a"), ("x-other", "b"), ("trailer-x-team", "c")];
        let verdict = judge(&LIST_PREBUILDS, answer(200, &headers, body));
        let reply = verdict.result.unwrap();
        let ids: Vec<_> = reply.seen.objects.iter().map(|object| object.id.as_str()).collect();
        assert_eq!(ids, ["one", "two"]);
        assert_eq!(reply.json, body);
        assert_eq!((reply.metadata.len(), &reply.metadata["x-team"]), (1, &HeaderValue::from_static("a")));
        assert_eq!((reply.trailers.len(), &reply.trailers["x-team"]), (1, &HeaderValue::from_static("c")));
        assert_eq!((verdict.drift.fields.len(), verdict.drift.enums.len()), (1, 1));
        assert_eq!(reply.drift, ["prebuilds.news", "prebuilds.status.phase=PREBUILD_PHASE_NEW"]);
        assert_eq!(verdict.fault, None);
    }
    assert!(judge(READ, answer(200, JSON, "{}")).result.is_ok(), "an empty reply is one");
}

#[test]
fn a_200_that_is_no_reply_is_invalid_and_not_to_be_tried_again() {
    for method in ALL {
        for (headers, body) in [
            (JSON, ""),
            (JSON, "   "),
            (JSON, "null"),
            (JSON, "[]"),
            (JSON, "{"),
            (JSON, "{}{}"),
            (JSON, "<html>"),
            (JSON, r#"{"prebuild": 7, "accessToken": 7}"#),
            (HTML, "{}"),
            (&[], "{}"),
            (&[("content-type", "application/jsonp")], "{}"),
            (&[("content-type", "application/proto")], "{}"),
        ] {
            let verdict = judge(method, answer(200, headers, body));
            assert_eq!(verdict.fault, Some(UpstreamFault::Invalid), "{headers:?} {body}");
            is_ours(&verdict.result.unwrap_err(), Reason::UpstreamInvalidResponse);
        }
        let large = Answer { body: Err(BodyError::TooLarge), ..answer(200, JSON, "") };
        let verdict = judge(method, large);
        assert_eq!(verdict.fault, Some(UpstreamFault::TooLarge));
        is_ours(&verdict.result.unwrap_err(), Reason::UpstreamInvalidResponse);
    }
}

#[test]
fn another_success_is_no_success() {
    for status in [201, 202, 204, 206, 299] {
        is_ours(&error(MUTATE, status, JSON, "{}"), Reason::UpstreamInvalidResponse);
    }
    for status in [100, 101, 199, 600, 999] {
        is_ours(&error(READ, status, JSON, "{}"), Reason::UpstreamInvalidResponse);
    }
}

#[test]
fn a_redirect_is_never_followed() {
    for status in [300, 301, 302, 303, 304, 307, 308, 399] {
        for method in ALL {
            let headers = [("location", "https://elsewhere.example"), ("x-team", "a")];
            let verdict = judge(method, answer(status, &headers, ""));
            assert_eq!(verdict.fault, Some(UpstreamFault::Redirect));
            is_ours(&verdict.result.unwrap_err(), Reason::UpstreamRedirect);
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_unknown_for_what_changes_something() {
    for status in [200, 404, 503] {
        let broken = || Answer { body: Err(BodyError::Broken("reset".into())), ..answer(status, JSON, "") };
        let verdict = judge(READ, broken());
        assert_eq!(verdict.fault, Some(UpstreamFault::Reset));
        let error = verdict.result.unwrap_err();
        assert_eq!((error.code, error.origin, error.reason), (Code::Unavailable, Origin::Upstream, None));
        assert_eq!((error.retry, error.sent), (Retry::Unsaid, Sent::Maybe));
        for method in [MUTATE, SECRET] {
            is_ours(&judge(method, broken()).result.unwrap_err(), Reason::UpstreamOutcomeUnknown);
        }
    }
}

#[test]
fn a_refused_credential_is_the_gateways_own_fault() {
    let said = r#"{"code":"unauthenticated","message":"token expired: tok-secret"}"#;
    for method in ALL {
        for (status, headers, body) in [
            (401, HTML, "<html>"),
            (401, JSON, said),
            (401, JSON, r#"{"code":"not_found"}"#),
            (403, JSON, said),
        ] {
            let verdict = judge(method, answer(status, headers, body));
            assert_eq!(verdict.fault, Some(UpstreamFault::Status));
            let error = verdict.result.unwrap_err();
            is_ours(&error, Reason::UpstreamCredential);
            assert!(!error.message.contains("secret"));
        }
    }
}

#[test]
fn a_callers_own_token_that_is_refused_is_the_callers_to_know_and_no_fault_of_upstreams() {
    let said = r#"{"code":"unauthenticated","message":"token expired: tok-secret"}"#;
    for method in ALL {
        for (status, headers, body) in [(401, HTML, "<html>"), (401, JSON, said), (403, JSON, said)] {
            let own = Answer { bearer: Some(Bearer::Caller), ..answer(status, headers, body) };
            let verdict = judge(method, own);
            assert_eq!(verdict.fault, None);
            let error = verdict.result.unwrap_err();
            assert_eq!((error.reason, error.code), (Some(Reason::Unauthenticated), Code::Unauthenticated));
            assert_eq!((error.sent, error.retry), (Sent::Yes, Retry::Never));
            assert_eq!(error.message, Reason::Unauthenticated.message());
        }
    }
}

#[test]
fn without_a_credential_of_the_gateways_a_refused_one_is_upstreams_word() {
    let said = r#"{"code":"unauthenticated","message":"who are you"}"#;
    for (headers, body) in [(HTML, "<html>"), (JSON, said)] {
        let bare = Answer { bearer: None, ..answer(401, headers, body) };
        let error = judge(&GET_PREBUILD, bare).result.unwrap_err();
        assert_eq!((error.reason, error.code), (None, Code::Unauthenticated));
    }
}

#[test]
fn a_connect_error_survives_whole_whatever_its_code() {
    let codes = [
        ("canceled", Code::Cancelled),
        ("unknown", Code::Unknown),
        ("invalid_argument", Code::InvalidArgument),
        ("deadline_exceeded", Code::DeadlineExceeded),
        ("not_found", Code::NotFound),
        ("already_exists", Code::AlreadyExists),
        ("permission_denied", Code::PermissionDenied),
        ("resource_exhausted", Code::ResourceExhausted),
        ("failed_precondition", Code::FailedPrecondition),
        ("aborted", Code::Aborted),
        ("out_of_range", Code::OutOfRange),
        ("unimplemented", Code::Unimplemented),
        ("internal", Code::Internal),
        ("unavailable", Code::Unavailable),
        ("data_loss", Code::DataLoss),
    ];
    for (name, code) in codes {
        for method in ALL {
            // The code in the body counts, not the status.
            for status in [400, 404, 500, 503] {
                let body = format!(
                    r#"{{"code":"{name}","message":"no {name}","details":[{{"type":"a.B","value":"AQI"}},{{"type":"c.D","value":"AQI="}}]}}"#
                );
                let verdict = judge(method, answer(status, JSON, &body));
                assert_eq!(verdict.fault, None);
                let error = verdict.result.unwrap_err();
                assert_eq!((error.code, error.origin, error.reason), (code, Origin::Upstream, None));
                assert_eq!((error.message.as_ref(), error.sent), (format!("no {name}").as_str(), Sent::Yes));
                let types: Vec<_> =
                    error.details.iter().map(|any| (any.type_url.as_str(), &any.value[..])).collect();
                let value = &[1, 2][..];
                assert_eq!(types, [("type.googleapis.com/a.B", value), ("type.googleapis.com/c.D", value)]);
                let retry = if method.class == Class::Read { Retry::Unsaid } else { Retry::Never };
                assert_eq!(error.retry, retry, "{name} {}", method.name);
            }
        }
    }
}

#[test]
fn without_a_usable_body_the_status_counts() {
    let cases = [
        (400, Code::Internal),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (408, Code::Unknown),
        (409, Code::Unknown),
        (418, Code::Unknown),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (501, Code::Unknown),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
        (599, Code::Unknown),
    ];
    let bodies = [
        (HTML, "<html>secret of a proxy</html>"),
        (JSON, ""),
        (JSON, r#"{"code":"#),
        (JSON, r#"{"code":"ok"}"#),
        (JSON, r#"{"code":7}"#),
        (JSON, r#"["secret"]"#),
        (HTML, r#"{"code":"not_found"}"#),
    ];
    for (status, code) in cases {
        for (headers, body) in bodies {
            for method in ALL {
                let verdict = judge(method, answer(status, headers, body));
                assert_eq!(verdict.fault, Some(UpstreamFault::Status));
                let error = verdict.result.unwrap_err();
                assert!(!error.message.contains("secret"), "upstream's page shows");
                if method.class != Class::Read && (status == 408 || status >= 500) {
                    is_ours(&error, Reason::UpstreamOutcomeUnknown);
                    continue;
                }
                assert_eq!((error.code, error.origin, error.reason), (code, Origin::Upstream, None));
                let retry = if method.class == Class::Read { Retry::Unsaid } else { Retry::Never };
                assert_eq!((error.retry, error.sent), (retry, Sent::Yes), "{status} {body} {}", method.name);
            }
        }
    }
}

#[test]
fn a_code_that_is_missing_or_new_takes_nothing_from_the_rest() {
    let ours = pb::ErrorInfo { domain: DOMAIN.to_owned(), ..Default::default() }.to_any().value;
    let ours = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, ours);
    let long = "m".repeat(MAX_MESSAGE + 1);
    for code in ["", r#""code":"brand_new","#, r#""code":7,"#] {
        let body = format!(
            r#"{{{code}"message":"{long}","details":[{{"type":"a.B","value":"AQI"}},7,
                {{"type":"example.com/google.rpc.ErrorInfo","value":"{ours}"}}]}}"#
        );
        for (status, code) in [(400, Code::Internal), (403, Code::PermissionDenied), (409, Code::Unknown)] {
            for method in ALL {
                let error = error(method, status, JSON, &body);
                assert_eq!((error.code, error.origin, error.reason), (code, Origin::Upstream, None));
                assert_eq!(error.message, long[..MAX_MESSAGE]);
                let types: Vec<_> = error.details.iter().map(|any| any.type_url.as_str()).collect();
                assert_eq!(types, ["type.googleapis.com/a.B"]);
            }
        }
        for status in [408, 500, 503] {
            is_ours(&error(MUTATE, status, JSON, &body), Reason::UpstreamOutcomeUnknown);
        }
    }
}

#[test]
fn a_wait_that_upstream_asks_for_is_passed_on() {
    let info = |seconds, nanos| {
        let any = pb::RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos }) }.to_any();
        let value = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, any.value);
        format!(r#"{{"code":"unavailable","details":[{{"type":"google.rpc.RetryInfo","value":"{value}"}}]}}"#)
    };
    let plain = r#"{"code":"unavailable"}"#.to_owned();
    let after = |millis| Some(Retry::After(Duration::from_millis(millis)));
    for (headers, body, expected) in [
        (&[("retry-after", "7")][..], &plain, after(7000)),
        (&[("retry-after", " 7 ")], &plain, after(7000)),
        (&[("retry-after-ms", "250")], &plain, after(250)),
        (&[("retry-after-ms", "250"), ("retry-after", "7")], &plain, after(250)),
        (&[("ratelimit-retryafter", "9")], &plain, after(9000)),
        (&[("retry-after", "7"), ("ratelimit-retryafter", "9")], &plain, after(7000)),
        (&[("retry-after", "7")], &info(2, 500_000_000), after(2500)),
        (&[], &info(2, 500_000_000), after(2500)),
        (&[("retry-after", "7")], &info(-2, 0), after(7000)),
        (&[("retry-after", "-7")], &plain, None),
        (&[("retry-after", "soon")], &plain, None),
        (&[("retry-after", "")], &plain, None),
        (&[], &plain, None),
    ] {
        for method in ALL {
            let headers: Vec<_> = JSON.iter().chain(headers).copied().collect();
            let error = error(method, 429, &headers, body);
            let unsaid = if method.class == Class::Read { Retry::Unsaid } else { Retry::Never };
            assert_eq!(error.retry, expected.unwrap_or(unsaid), "{headers:?} {body} {}", method.name);
        }
    }
}

#[test]
fn a_proxys_wait_does_not_make_an_unknown_outcome_safe() {
    for status in [408, 500, 501, 502, 503, 504, 505, 520, 522, 524, 529, 599] {
        for method in [MUTATE, SECRET] {
            let error = error(method, status, &[("content-type", "text/html"), ("retry-after", "7")], "busy");
            assert_eq!((error.reason, error.retry), (Some(Reason::UpstreamOutcomeUnknown), Retry::Never));
        }
    }
    // A throttle turned the call away, whatever form its wait has.
    for wait in ["soon", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let error = error(MUTATE, 429, &[("content-type", "text/html"), ("retry-after", wait)], "busy");
        assert_eq!((error.code, error.retry), (Code::ResourceExhausted, Retry::Never));
    }
    let error = error(MUTATE, 429, &[("content-type", "text/html"), ("retry-after", "7")], "busy");
    assert_eq!((error.code, error.retry), (Code::ResourceExhausted, Retry::After(Duration::from_secs(7))));
}

#[test]
fn upstreams_retry_control_reaches_the_caller_but_not_against_the_gateways_own_mark() {
    let headers = [
        ("content-type", "application/json"),
        ("x-should-retry", "true"),
        ("retry-after", "7"),
        ("x-team", "a"),
        ("trailer-x-team", "b"),
        ("set-cookie", "no"),
    ];
    let error = |method| error(method, 503, &headers, r#"{"code":"unavailable"}"#);
    let read = error(READ);
    assert_eq!(read.metadata["x-should-retry"], "true");
    assert_eq!(read.metadata.get_all("x-team").iter().collect::<Vec<_>>(), ["a", "b"]);
    for method in [MUTATE, SECRET] {
        let error = error(method);
        assert!(!error.metadata.contains_key("x-should-retry"));
        assert!(!error.metadata.contains_key("set-cookie"));
        assert_eq!(error.metadata["retry-after"], "7");
    }
}

#[test]
fn no_answer_at_all_is_unavailable_for_reads_and_unknown_for_the_rest() {
    let error = no_answer(READ, "reset");
    assert_eq!((error.code, error.reason, error.sent), (Code::Unavailable, None, Sent::Maybe));
    for method in [MUTATE, SECRET] {
        is_ours(&no_answer(method, "reset"), Reason::UpstreamOutcomeUnknown);
    }
}

#[test]
fn upstream_never_speaks_for_the_gateway() {
    let info = |domain: &str| {
        let info = pb::ErrorInfo {
            reason: "OVERLOADED".to_owned(),
            domain: domain.to_owned(),
            ..Default::default()
        };
        let value =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, info.to_any().value);
        format!(r#"{{"type":"google.rpc.ErrorInfo","value":"{value}"}}"#)
    };
    let body = format!(r#"{{"code":"unavailable","details":[{},{}]}}"#, info(DOMAIN), info("gitpod.io"));
    let error = error(MUTATE, 503, JSON, &body);
    let domains: Vec<_> =
        error.details.iter().map(|any| pb::ErrorInfo::decode(&any.value[..]).unwrap().domain).collect();
    assert_eq!(domains, ["gitpod.io"]);
}

#[test]
fn a_long_message_is_cut_between_characters() {
    for (character, length) in [("x", 1024), ("é", 1024), ("漢", 1023), ("🦀", 1024)] {
        let body = format!(r#"{{"code":"not_found","message":"{}"}}"#, character.repeat(1 << 20));
        let error = error(READ, 404, JSON, &body);
        assert_eq!(error.message.len(), length, "{character}");
        assert!(error.message.chars().all(|found| character.starts_with(found)));
    }
}
