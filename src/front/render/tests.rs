//! Errors as gRPC callers get them: headers, details, retry marks.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body::Body as _;
use prost::Message as _;
use tonic_types::pb;

use super::{
    Context, HttpResponse, Protocol, RequestId, render as render_for,
    retry::{RETRY_AFTER, RETRY_PUSHBACK},
};
use crate::{
    error::{Code, DOMAIN, Detail as _, Error, Reason, Retry},
    front::protocol::Codec,
};

mod connect;
mod policy;

const GRPC: Protocol = Protocol::Grpc(Codec::Proto);

fn render(protocol: Protocol, error: Error, id: RequestId) -> HttpResponse {
    render_for(protocol, error, &Context::new(id, Instant::now(), None), true)
}

fn grpc(error: Error) -> HttpResponse {
    render(GRPC, error, RequestId::new())
}

#[test]
fn without_explanation_the_code_and_text_stand_alone() {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    let response = render_for(GRPC, Error::refuse(Reason::UnknownMethod), &context, false);
    assert_eq!(header(&response, "grpc-status"), Some("12"));
    assert!(!response.headers().contains_key("grpc-status-details-bin"));
}

fn header<'r>(response: &'r HttpResponse, name: &str) -> Option<&'r str> {
    assert!(response.headers().get_all(name).iter().count() <= 1, "{name} stands twice");
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// `grpc-status-details-bin`
fn details(response: &HttpResponse) -> pb::Status {
    let value = header(response, "grpc-status-details-bin").unwrap();
    pb::Status::decode(&STANDARD_NO_PAD.decode(value).unwrap()[..]).unwrap()
}

fn names(status: &pb::Status) -> Vec<&str> {
    status.details.iter().map(|any| any.type_url.rsplit('.').next().unwrap()).collect()
}

fn retry_delay(status: &pb::Status) -> Option<prost_types::Duration> {
    let any = status.details.iter().find(|any| any.type_url.ends_with("RetryInfo"))?;
    pb::RetryInfo::decode(&any.value[..]).unwrap().retry_delay
}

fn wait(wait: Duration) -> HttpResponse {
    grpc(Error::refuse(Reason::RateLimited).with_retry(Retry::After(wait)))
}

#[test]
fn every_reason_is_a_trailers_only_response() {
    for reason in Reason::ALL {
        let id = RequestId::new();
        let response = render(GRPC, Error::refuse(*reason).with_rule("a.rule"), id);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, CONTENT_TYPE.as_str()), Some("application/grpc"));
        assert_eq!(header(&response, "grpc-status"), Some((reason.code() as i32).to_string().as_str()));
        assert!(header(&response, "grpc-message").is_some());
        assert!(response.body().is_end_stream());

        let status = details(&response);
        assert_eq!((status.code, status.message.as_str()), (reason.code() as i32, reason.message()));
        let info = pb::ErrorInfo::decode(&status.details[0].value[..]).unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), DOMAIN));
        assert_eq!(info.metadata["rule"], "a.rule");
        assert_eq!(info.metadata["request_id"], id.to_string());
        let pushback = header(&response, RETRY_PUSHBACK.as_str());
        assert_eq!(pushback == Some("-1"), reason.retry() == Retry::Never, "{}", reason.as_str());
    }
}

#[test]
fn a_source_is_never_shown() {
    let response = grpc(Error::refuse(Reason::Internal).with_source("10.0.0.7: connection refused"));
    assert!(!format!("{response:?}").contains("10.0.0.7"));
    assert_eq!(details(&response).message, "internal error");
}

#[test]
fn a_message_is_percent_encoded_and_whole_in_the_details() {
    let message = "50% of é\nis \"half\"";
    let response = grpc(Error::upstream(Code::NotFound, message).with_detail(&pb::BadRequest::default()));
    assert_eq!(header(&response, "grpc-status"), Some("5"));
    // Which harmless characters are encoded is up to the writer; what a reader gets is not.
    assert_eq!(percent_decoded(header(&response, "grpc-message").unwrap()), message);
    assert_eq!(details(&response).message, message);
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            assert!((0x20..0x7f).contains(&byte));
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn upstreams_own_error_bears_no_error_info_of_ours() {
    let response = grpc(Error::upstream(Code::Unavailable, "try later"));
    assert_eq!(header(&response, "grpc-status"), Some("14"));
    assert_eq!(header(&response, "grpc-status-details-bin"), None);
    assert_eq!(header(&response, RETRY_PUSHBACK.as_str()), None);
}

#[test]
fn details_come_in_order_ours_first_and_the_wait_last() {
    let error = Error::refuse(Reason::RateLimited)
        .with_detail(&pb::QuotaFailure::default())
        .with_retry(Retry::After(Duration::from_millis(1500)));
    let status = details(&grpc(error));
    assert_eq!(names(&status), ["ErrorInfo", "QuotaFailure", "RetryInfo"]);
    assert_eq!(retry_delay(&status), Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
}

#[test]
fn upstreams_details_are_passed_on_whole_and_its_wait_is_not_told_twice() {
    let unknown = prost_types::Any { type_url: "example.com/Strange".to_owned(), value: vec![1, 2, 3] };
    let wait = pb::RetryInfo { retry_delay: Some(prost_types::Duration { seconds: 7, nanos: 0 }) };
    let mut error = Error::upstream(Code::ResourceExhausted, "slow down")
        .with_detail(&wait)
        .with_retry(Retry::After(Duration::from_secs(7)));
    error.details.insert(0, unknown.clone());
    let response = grpc(error);
    assert_eq!(details(&response).details, [unknown, wait.to_any()]);
    assert_eq!(header(&response, RETRY_PUSHBACK.as_str()), Some("7000"));
}

#[test]
fn a_wait_is_told_in_milliseconds_and_in_whole_seconds_rounded_up() {
    for (time, pushback, seconds) in [
        (Duration::ZERO, "1", "1"),
        (Duration::from_nanos(1), "1", "1"),
        (Duration::from_millis(1), "1", "1"),
        (Duration::from_micros(1001), "2", "1"),
        (Duration::from_millis(999), "999", "1"),
        (Duration::from_secs(1), "1000", "1"),
        (Duration::from_millis(1001), "1001", "2"),
        (Duration::from_secs(7), "7000", "7"),
        (Duration::MAX, "2147483647", "2147484"),
    ] {
        let response = wait(time);
        assert_eq!(header(&response, RETRY_PUSHBACK.as_str()), Some(pushback), "{time:?}");
        assert_eq!(header(&response, RETRY_AFTER.as_str()), Some(seconds), "{time:?}");
        assert!(retry_delay(&details(&response)).is_some(), "{time:?}");
    }
}

#[test]
fn never_is_minus_one_and_now_says_nothing() {
    for (retry, pushback) in [(Retry::Never, Some("-1")), (Retry::Now, None), (Retry::Unsaid, None)] {
        let response = grpc(Error::refuse(Reason::Overloaded).with_retry(retry));
        assert_eq!(header(&response, RETRY_PUSHBACK.as_str()), pushback);
        assert_eq!(header(&response, RETRY_AFTER.as_str()), None);
        assert_eq!(names(&details(&response)), ["ErrorInfo"]);
    }
}

#[test]
fn upstreams_metadata_is_kept_and_cannot_change_the_status() {
    let mut error = Error::upstream(Code::ResourceExhausted, "slow down")
        .with_retry(Retry::After(Duration::from_secs(3)));
    for (name, value) in [
        ("x-team", "a"),
        ("x-team", "b"),
        ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("grpc-status", "0"),
        ("grpc-message", "fine"),
        ("content-type", "text/html"),
    ] {
        error.metadata.append(name, HeaderValue::from_static(value));
    }
    let response = grpc(error);
    assert_eq!(response.headers().get_all("x-team").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(header(&response, RETRY_AFTER.as_str()), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(header(&response, RETRY_PUSHBACK.as_str()), Some("3000"));
    assert_eq!(header(&response, "grpc-status"), Some("8"));
    assert_eq!(percent_decoded(header(&response, "grpc-message").unwrap()), "slow down");
    assert_eq!(header(&response, CONTENT_TYPE.as_str()), Some("application/grpc"));
}

#[test]
fn who_compresses_as_nobody_can_read_is_told_what_is_read() {
    let response = grpc(Error::refuse(Reason::UnsupportedEncoding));
    assert_eq!(header(&response, "grpc-accept-encoding"), Some("identity,gzip"));
    assert_eq!(header(&grpc(Error::refuse(Reason::Internal)), "grpc-accept-encoding"), None);
}

#[test]
fn who_speaks_no_protocol_gets_a_status() {
    let response = render(Protocol::Unknown, Error::refuse(Reason::UnsupportedProtocol), RequestId::new());
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(header(&response, "accept-post").unwrap().contains("application/json"));
}

#[test]
fn details_that_are_too_much_for_headers_are_left_out_and_the_rest_survives() {
    let big = pb::ErrorInfo { reason: "x".repeat(8 << 10), ..Default::default() };
    let small = pb::BadRequest::default();
    let error = Error::refuse(Reason::RateLimited).with_detail(&big).with_detail(&small);
    let response = grpc(error.with_retry(Retry::After(Duration::from_secs(1))));
    assert_eq!(names(&details(&response)), ["ErrorInfo", "BadRequest", "RetryInfo"]);
    assert_eq!(header(&response, "grpc-retry-pushback-ms"), Some("1000"));
    let size: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    assert!(size < 8 << 10, "{size} bytes of headers");
}
