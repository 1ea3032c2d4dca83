//! Errors as Connect and gRPC-Web callers get them.

use http_body_util::BodyExt as _;
use serde_json::Value;

use super::*;
use crate::{
    connect::error::parse,
    error::Sent,
    front::protocol::Framing,
    rpc::{CREATE_PREBUILD, GET_PREBUILD, MethodSpec},
};

const CONNECT: Protocol = Protocol::Connect(Codec::Proto);

fn connect(error: Error, method: &'static MethodSpec) -> HttpResponse {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    context.set_method(method);
    render_for(CONNECT, error, &context, true)
}

async fn json(response: HttpResponse) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn every_reason_is_a_json_body_with_its_status() {
    for reason in Reason::ALL {
        let response = connect(Error::refuse(*reason).with_rule("a.rule"), &GET_PREBUILD);
        assert_eq!(header(&response, CONTENT_TYPE.as_str()), Some("application/json"));
        let expected = match reason {
            Reason::UnknownMethod => 404,
            Reason::MethodNotAllowed => 405,
            Reason::UnsupportedProtocol => 415,
            reason => crate::connect::error::http_status(reason.code()),
        };
        assert_eq!(response.status().as_u16(), expected, "{}", reason.as_str());
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert_eq!(header(&response, "www-authenticate"), (expected == 401).then_some("Bearer"));
        let never = reason.retry() == Retry::Never;
        assert_eq!(header(&response, "x-should-retry") == Some("false"), never, "{}", reason.as_str());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = parse(&bytes).unwrap();
        assert_eq!((body.code, body.message.as_str()), (Some(reason.code()), reason.message()));
        let info = pb::ErrorInfo::decode(&body.details[0].value[..]).unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), DOMAIN));
        assert_eq!(info.metadata["rule"], "a.rule");
    }
}

#[tokio::test]
async fn a_person_reads_the_details_too() {
    let violation =
        pb::bad_request::FieldViolation { field: "spec.timeout".to_owned(), ..Default::default() };
    let detail = pb::BadRequest { field_violations: vec![violation] };
    let error = Error::refuse(Reason::Guardrail).with_rule("a.rule").with_detail(&detail);
    let body = json(connect(error, &CREATE_PREBUILD)).await;
    assert_eq!(body["details"][0]["debug"]["reason"], "GUARDRAIL");
    assert_eq!(body["details"][0]["debug"]["metadata"]["rule"], "a.rule");
    assert_eq!(body["details"][1]["type"], "google.rpc.BadRequest");
    assert_eq!(body["details"][1]["debug"]["fieldViolations"][0]["field"], "spec.timeout");
}

#[tokio::test]
async fn details_have_no_bound_in_a_body() {
    let big = pb::ErrorInfo { reason: "x".repeat(64 << 10), ..Default::default() };
    let error = || Error::upstream(Code::NotFound, "gone").with_detail(&big);
    assert_eq!(json(connect(error(), &GET_PREBUILD)).await["details"].as_array().unwrap().len(), 1);
    let web = render(Protocol::GrpcWeb(Codec::Proto, Framing::Binary), error(), RequestId::new());
    assert_eq!(details(&web).details.len(), 1);
}

/// `x-should-retry` of an error.
fn mark(error: Error, method: &'static MethodSpec) -> Option<String> {
    header(&connect(error, method), "x-should-retry").map(str::to_owned)
}

#[test]
fn a_mutation_that_may_have_been_sent_is_never_tried_again() {
    for sent in [Sent::Maybe, Sent::Yes] {
        for retry in [Retry::Unsaid, Retry::Now, Retry::After(Duration::from_secs(1)), Retry::Never] {
            let mut error = Error::upstream(Code::Unavailable, "later").with_sent(sent).with_retry(retry);
            error.metadata.insert("x-should-retry", HeaderValue::from_static("true"));
            assert_eq!(mark(error, &CREATE_PREBUILD).as_deref(), Some("false"), "{sent:?} {retry:?}");
        }
    }
}

#[test]
fn conflicts_are_no_passing_trouble() {
    for code in [Code::AlreadyExists, Code::Aborted] {
        for method in [&CREATE_PREBUILD, &GET_PREBUILD] {
            let mut error = Error::upstream(code, "conflict");
            error.metadata.insert("x-should-retry", HeaderValue::from_static("true"));
            assert_eq!(mark(error, method).as_deref(), Some("false"));
        }
    }
}

#[test]
fn only_what_was_not_forwarded_is_worth_a_further_try() {
    let after = Retry::After(Duration::from_millis(1500));
    for method in [&CREATE_PREBUILD, &GET_PREBUILD] {
        assert_eq!(mark(Error::refuse(Reason::UpstreamUnreachable), method).as_deref(), Some("true"));
        assert_eq!(
            mark(Error::refuse(Reason::RateLimited).with_retry(after), method).as_deref(),
            Some("true")
        );
        assert_eq!(mark(Error::refuse(Reason::Guardrail), method).as_deref(), Some("false"));
    }
    let answered = || Error::upstream(Code::Unavailable, "later");
    assert_eq!(mark(answered(), &GET_PREBUILD), None);
    let mut marked = answered();
    marked.metadata.insert("x-should-retry", HeaderValue::from_static("true"));
    assert_eq!(mark(marked, &GET_PREBUILD).as_deref(), Some("true"), "upstream's own word on a read");
}

#[test]
fn the_wait_is_told_in_seconds_and_milliseconds_unless_upstream_did() {
    let limited = || Error::refuse(Reason::RateLimited).with_retry(Retry::After(Duration::from_millis(1500)));
    let response = connect(limited(), &GET_PREBUILD);
    assert_eq!(header(&response, "retry-after"), Some("2"));
    assert_eq!(header(&response, "retry-after-ms"), Some("1500"));
    assert_eq!(header(&response, "grpc-retry-pushback-ms"), None);
    let mut told = limited();
    told.metadata.insert("retry-after", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
    let response = connect(told, &GET_PREBUILD);
    assert_eq!(header(&response, "retry-after"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(header(&response, "retry-after-ms"), None);
}

#[test]
fn upstreams_metadata_cannot_change_what_the_body_is() {
    let mut error = Error::upstream(Code::NotFound, "gone");
    error.metadata.insert("content-type", HeaderValue::from_static("text/html"));
    let response = connect(error, &GET_PREBUILD);
    assert_eq!(header(&response, CONTENT_TYPE.as_str()), Some("application/json"));
}

#[test]
fn who_compresses_as_nobody_can_read_is_told_what_is_read() {
    let response = connect(Error::refuse(Reason::UnsupportedEncoding), &GET_PREBUILD);
    assert_eq!(header(&response, "accept-encoding"), Some("gzip, identity"));
}
