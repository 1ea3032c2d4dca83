//! Rows in which upstream answers with a well-formed Connect error: code, message and every detail survive.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use prost::Message as _;
use serde_json::{Value, json as value};
use tonic::{Code, Status};
use tonic_types::pb;

use super::{Expect, Kind, call, ours, play, row, says};
use crate::harness::{Answer, Gateway, Told, Upstream, http, json};

/// By their Connect names and the HTTP status that goes with them; `unauthenticated` has rows of its own.
const CODES: [(&str, u16, Code); 15] = [
    ("canceled", 499, Code::Cancelled),
    ("unknown", 500, Code::Unknown),
    ("invalid_argument", 400, Code::InvalidArgument),
    ("deadline_exceeded", 504, Code::DeadlineExceeded),
    ("not_found", 404, Code::NotFound),
    ("already_exists", 409, Code::AlreadyExists),
    ("permission_denied", 403, Code::PermissionDenied),
    ("resource_exhausted", 429, Code::ResourceExhausted),
    ("failed_precondition", 400, Code::FailedPrecondition),
    ("aborted", 409, Code::Aborted),
    ("out_of_range", 400, Code::OutOfRange),
    ("unimplemented", 501, Code::Unimplemented),
    ("internal", 500, Code::Internal),
    ("unavailable", 503, Code::Unavailable),
    ("data_loss", 500, Code::DataLoss),
];

/// Every code survives, `unavailable` without an `ErrorInfo` of ours; a mutation is not to be tried again.
async fn every_code(kind: Kind) {
    let said = |(name, status, code)| {
        let answer = Answer::Bytes(json(status, &value!({"code": name, "message": "zażółć, 100 %"})));
        let expect = says(code, "zażółć, 100 %");
        let expect = match (kind, code) {
            // The call is about one object, and absent is what another org's looks like, too.
            (Kind::Read, Code::NotFound) => {
                ours(code, "NOT_FOUND", "no such prebuild, warm pool, project or environment class")
            }
            (Kind::Read, _) => expect,
            (Kind::Mutate | Kind::Secret, _) => expect.never(),
        };
        (answer, expect)
    };
    play(kind, CODES.map(said).into()).await;
}

#[tokio::test]
async fn read_every_code() {
    every_code(Kind::Read).await;
}

#[tokio::test]
async fn mutate_every_code() {
    every_code(Kind::Mutate).await;
}

/// What the code says goes before what the HTTP status says.
#[tokio::test]
async fn mutate_code_above_status() {
    let answer = Answer::Bytes(json(503, &value!({"code": "not_found", "message": "gone"})));
    row(Kind::Mutate, answer, says(Code::NotFound, "gone").never()).await;
}

fn retry_info(seconds: i64) -> Value {
    let info = pb::RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos: 0 }) };
    value!({"type": "google.rpc.RetryInfo", "value": STANDARD_NO_PAD.encode(info.encode_to_vec())})
}

fn busy(details: &Value) -> Value {
    value!({"code": "unavailable", "message": "busy", "details": details})
}

fn waits() -> Expect {
    says(Code::Unavailable, "busy").wait(3, "3000")
}

#[tokio::test]
async fn mutate_retry_info() {
    row(Kind::Mutate, Answer::Bytes(json(503, &busy(&value!([retry_info(3)])))), waits()).await;
}

#[tokio::test]
async fn mutate_retry_after() {
    let headers = "content-type: application/json\r\nretry-after: 3\r\n";
    row(Kind::Mutate, Answer::Bytes(http(503, headers, &busy(&value!([])).to_string())), waits()).await;
}

#[tokio::test]
async fn read_retry_after_ms() {
    let headers = "content-type: application/json\r\nretry-after-ms: 3000\r\n";
    row(Kind::Read, Answer::Bytes(http(503, headers, &busy(&value!([])).to_string())), waits()).await;
}

/// Calls once and returns the status.
async fn told(kind: Kind, answer: Vec<u8>) -> Status {
    let upstream = Upstream::start([Answer::Bytes(answer)]).await;
    let gateway = Gateway::start(upstream.address).await;
    call(&gateway, kind).await.unwrap_err()
}

/// Known and unknown types, some with padding and some without, one already with the URL that gRPC has.
async fn every_detail(kind: Kind) {
    let details = [
        (
            "google.rpc.ErrorInfo",
            "google.rpc.ErrorInfo",
            pb::ErrorInfo {
                reason: "QUOTA".to_owned(),
                domain: "gitpod.io".to_owned(),
                metadata: [("limit".to_owned(), "7".to_owned())].into(),
            }
            .encode_to_vec(),
        ),
        ("acme.v1.Unheard", "acme.v1.Unheard", vec![0xff, 0xfe, 0xfb, 0xf0]),
        ("type.googleapis.com/acme.v1.Url", "acme.v1.Url", vec![1]),
        ("acme.v1.Empty", "acme.v1.Empty", vec![]),
    ];
    for encode in [STANDARD, STANDARD_NO_PAD].map(|engine| move |bytes: &Vec<u8>| engine.encode(bytes)) {
        let sent: Vec<_> = details
            .iter()
            .map(|(name, _, bytes)| value!({"type": name, "value": encode(bytes), "debug": {"limit": 7}}))
            .collect();
        let body = value!({"code": "failed_precondition", "message": "no", "details": sent});
        let status = told(kind, json(400, &body)).await;
        assert_eq!(status.code(), Code::FailedPrecondition);
        let wanted: Vec<_> = details
            .iter()
            .map(|(_, name, bytes)| (format!("type.googleapis.com/{name}"), bytes.clone()))
            .collect();
        assert_eq!(status.all_details(), wanted);
    }
}

#[tokio::test]
async fn read_every_detail() {
    every_detail(Kind::Read).await;
}

#[tokio::test]
async fn mutate_every_detail() {
    every_detail(Kind::Mutate).await;
}

/// An upstream that uses our domain must not be able to say "not forwarded" in our name.
#[tokio::test]
async fn mutate_unavailable_with_our_domain() {
    let info = pb::ErrorInfo {
        reason: "OVERLOADED".to_owned(),
        domain: "prebuild-gateway".to_owned(),
        ..Default::default()
    };
    let detail = value!({"type": "google.rpc.ErrorInfo", "value": STANDARD.encode(info.encode_to_vec())});
    let status = told(Kind::Mutate, json(503, &busy(&value!([detail])))).await;
    assert_eq!(status.reason(), None, "{status:?}");
    assert_eq!(status.pushback(), Some("-1"));
}

/// A caller's HTTP/2 stack takes only so many bytes of headers; a long-winded upstream must not cost it the code.
#[tokio::test]
async fn read_message_of_64_kib() {
    let body = value!({"code": "aborted", "message": "ż".repeat(32 << 10)});
    let status = told(Kind::Read, json(409, &body)).await;
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    assert!(
        status.message().starts_with('ż') && status.message().len() <= 2_048,
        "{}",
        status.message().len()
    );
}
