//! Rows in which upstream gives no whole answer: refused, reset, ended, cut off, silent, too large.

use std::net::SocketAddr;

use serde_json::json as value;
use tokio::net::TcpListener;
use tonic::Code;

use super::{Expect, Kind, SECRET, call, html, invalid, outcome_unknown, row, rows, says};
use crate::harness::{
    Answer, Gateway, Told, Upstream, create, get, http, json,
    raw::{Raw, framed},
    shown,
};

/// A read that was sent and has no answer: upstream's fault, without a word that nothing was forwarded.
fn no_answer() -> Expect {
    says(Code::Unavailable, "upstream gave no usable answer").forwarded("maybe")
}

/// The head and half of the body.
fn half() -> Vec<u8> {
    let mut answer = json(200, &value!({"prebuild": {"id": SECRET}}));
    answer.truncate(answer.len() - 20);
    answer
}

/// A chunked body without its last chunk.
fn endless() -> Vec<u8> {
    let head = "HTTP/1.1 200 Said\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    format!("{head}2\r\n{{}}\r\n").into_bytes()
}

fn head_only(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} Said\r\ncontent-type: appl").into_bytes()
}

rows! {
    read_reset_before_answer: Read, Answer::Reset(vec![]) => no_answer();
    mutate_reset_before_answer: Mutate, Answer::Reset(vec![]) => outcome_unknown();
    read_eof_before_answer: Read, Answer::Close(vec![]) => no_answer();
    mutate_eof_before_answer: Mutate, Answer::Close(vec![]) => outcome_unknown();
    secret_eof_before_answer: Secret, Answer::Close(vec![]) => outcome_unknown();
    read_eof_in_head: Read, Answer::Close(head_only(200)) => no_answer();
    mutate_eof_in_head: Mutate, Answer::Close(head_only(200)) => outcome_unknown();
    read_reset_in_body: Read, Answer::Reset(half()) => no_answer();
    mutate_reset_in_body: Mutate, Answer::Reset(half()) => outcome_unknown();
    read_cut_body: Read, Answer::Close(half()) => no_answer();
    mutate_cut_body: Mutate, Answer::Close(half()) => outcome_unknown();
    read_cut_chunks: Read, Answer::Close(endless()) => no_answer();
    mutate_cut_chunks: Mutate, Answer::Close(endless()) => outcome_unknown();
    read_no_http: Read, Answer::Close(b"SSH-2.0-OpenSSH_9\r\n".to_vec()) => no_answer();
    mutate_no_http: Mutate, Answer::Close(b"SSH-2.0-OpenSSH_9\r\n".to_vec()) => outcome_unknown();
}

/// A cut-off error page is no answer either: the status line alone proves nothing.
#[tokio::test]
async fn mutate_cut_error_page() {
    let Answer::Bytes(mut page) = html(403) else { unreachable!("a page is bytes") };
    page.truncate(page.len() - 5);
    row(Kind::Mutate, Answer::Close(page), outcome_unknown()).await;
}

/// On a connection that was used before, where HTTP clients like to send again.
async fn ends_when_reused(kind: Kind, end: Answer, expect: Expect) {
    let first = Answer::Bytes(shown());
    let upstream = Upstream::start([first, end]).await;
    let gateway = Gateway::start(upstream.address).await;
    call(&gateway, Kind::Read).await.unwrap();
    let status = call(&gateway, kind).await.unwrap_err();
    Expect { requests: 2, ..expect.clone() }.met(kind, &status, &upstream);
    expect.on_record(kind, &status, &gateway.end().await);
}

#[tokio::test]
async fn read_reset_on_reused_connection() {
    ends_when_reused(Kind::Read, Answer::Reset(vec![]), no_answer()).await;
}

#[tokio::test]
async fn mutate_reset_on_reused_connection() {
    ends_when_reused(Kind::Mutate, Answer::Reset(vec![]), outcome_unknown()).await;
}

#[tokio::test]
async fn mutate_eof_on_reused_connection() {
    ends_when_reused(Kind::Mutate, Answer::Close(vec![]), outcome_unknown()).await;
}

/// A port that nobody listens on: it was free a moment ago.
async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn refused(kind: Kind) {
    let nobody = Upstream::start([]).await;
    let gateway = Gateway::start(free_port().await).await;
    let status = call(&gateway, kind).await.unwrap_err();
    let expect = Expect {
        reason: Some("UPSTREAM_UNREACHABLE"),
        requests: 0,
        ..says(Code::Unavailable, "upstream is unreachable; the call was not forwarded").forwarded("no")
    };
    expect.met(kind, &status, &nobody);
    expect.on_record(kind, &status, &gateway.end().await);
}

#[tokio::test]
async fn read_connection_refused() {
    refused(Kind::Read).await;
}

#[tokio::test]
async fn mutate_connection_refused() {
    refused(Kind::Mutate).await;
}

/// Executed or not: nobody can tell from an answer that is not read to its end.
async fn too_large(kind: Kind) {
    let body = format!(r#"{{"prebuild":{{"id":"{}"}}}}"#, "x".repeat(2_000));
    let upstream =
        Upstream::start([Answer::Bytes(http(200, "content-type: application/json\r\n", &body))]).await;
    let gateway = Gateway::with(upstream.address, |config| config.upstream.max_response_bytes = 1_000).await;
    let status = call(&gateway, kind).await.unwrap_err();
    invalid().met(kind, &status, &upstream);
    invalid().on_record(kind, &status, &gateway.end().await);
}

#[tokio::test]
async fn read_too_large() {
    too_large(Kind::Read).await;
}

#[tokio::test]
async fn mutate_too_large() {
    too_large(Kind::Mutate).await;
}

/// By hand: tonic's own client would time out by itself.
async fn in_150_ms(gateway: &Gateway, method: &str, body: bytes::Bytes) -> tonic::Status {
    let mut raw = Raw::connect(gateway.address).await;
    let request = raw.grpc(method).header("grpc-timeout", "150m");
    let status = raw.call(request, body).await.grpc();
    let told = (status.code(), status.message(), status.reason());
    let wanted = (Code::DeadlineExceeded, "deadline exceeded", Some("DEADLINE_EXCEEDED".to_owned()));
    assert_eq!(told, wanted, "{status:?}");
    status
}

#[tokio::test]
async fn read_slower_than_the_deadline() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let status = in_150_ms(&gateway, "GetPrebuild", framed(&get())).await;
    assert_eq!(status.pushback(), None);
    upstream.abandoned(1).await;
    assert_eq!(upstream.seen().len(), 1);
}

/// Not retryable: it runs on, and nobody knows yet how it ends.
#[tokio::test]
async fn mutate_slower_than_the_deadline() {
    let (gate, answer) = Answer::held(json(200, &value!({"prebuild": {"id": "p1"}})));
    let upstream = Upstream::start([answer]).await;
    let gateway = Gateway::start(upstream.address).await;
    let status = in_150_ms(&gateway, "CreatePrebuild", framed(&create())).await;
    assert_eq!(status.pushback(), Some("-1"), "{status:?}");
    assert_eq!((upstream.seen().len(), upstream.given_up()), (1, 0));
    gate.cancel();
    let audited = gateway.end().await;
    assert_eq!(audited.stages(&status.id()), ["intent", "outcome"]);
    assert_eq!(audited.only("outcome")["end"]["code"], "OK");
}
