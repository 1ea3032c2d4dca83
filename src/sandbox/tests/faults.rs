//! Failures on demand: each directive does what its line in the grammar says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

use super::{ACME, Bench};

fn create(bench: &Bench, fault: &str) -> http::Request<Full<Bytes>> {
    let body = json!({ "projectId": bench.project().id.to_string(), "spec": {} });
    bench
        .request("CreatePrebuild")
        .header(crate::sandbox::FAULT_HEADER, fault)
        .body(body.to_string().into())
        .unwrap()
}

#[tokio::test]
async fn statuses_codes_and_bodies() {
    let bench = Bench::start().await;
    for (fault, status, content_type, body) in [
        ("status=503", 503, None, ""),
        ("status=503, body=html", 503, Some("text/html"), "<html>"),
        ("body=html", 200, Some("text/html"), "<html>"),
        ("body=empty", 200, Some("application/json"), ""),
        ("body=notjson", 200, Some("application/json"), "upstream says"),
        ("code=unavailable", 503, Some("application/json"), r#"{"code":"unavailable","#),
        ("code=not_found,status=500", 500, Some("application/json"), r#"{"code":"not_found","#),
        ("code=aborted,body=truncated", 409, Some("application/json"), r#"{"code":"aborted","#),
    ] {
        let answer = bench.send(create(&bench, fault)).await.unwrap();
        assert_eq!(answer.status, status, "{fault}");
        assert_eq!(
            answer.headers.get("content-type").map(|value| value.to_str().unwrap()),
            content_type,
            "{fault}"
        );
        let text = std::str::from_utf8(&answer.body).unwrap();
        assert!(text.starts_with(body) && text.is_empty() == body.is_empty(), "{fault}: {text}");
    }
    assert_eq!(
        bench.sandbox.executed("CreatePrebuild"),
        3,
        "a spoiled body alone does not keep it from being done"
    );
    bench.send(create(&bench, "status=503,execute")).await.unwrap();
    assert_eq!(bench.sandbox.executed("CreatePrebuild"), 4);
    let truncated = bench.send(create(&bench, "body=truncated")).await.unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&truncated.body).is_err_and(|error| error.is_eof()));
    bench.stop().await;
}

#[tokio::test]
async fn headers() {
    let bench = Bench::start().await;
    let throttled = bench.faulty("status=429,retry-after=7", "ListPrebuilds").await.unwrap();
    assert_eq!((throttled.status.as_u16(), throttled.headers["retry-after"].to_str().unwrap()), (429, "7"));
    let redirect = bench.faulty("redirect", "ListPrebuilds").await.unwrap();
    assert_eq!(redirect.status, 307);
    assert_eq!(redirect.headers["location"], "/redirected/gitpod.v1.PrebuildService/ListPrebuilds");
    assert_eq!(bench.sandbox.executed("ListPrebuilds"), 0);
    bench.stop().await;
}

#[tokio::test]
async fn novelties() {
    let bench = Bench::start().await;
    let answer = bench.send(create(&bench, "unknown-field,unknown-enum")).await.unwrap().json();
    assert_eq!(answer["prebuild"]["status"]["phase"], "PREBUILD_PHASE_HIBERNATING");
    for object in [&answer, &answer["prebuild"], &answer["prebuild"]["metadata"]["creator"]] {
        assert!(object["sandboxNovelty"].is_object(), "{object}");
    }
    let answer = bench.send(create(&bench, "unknown-field=x,unknown-enum=Y")).await.unwrap().json();
    assert_eq!((&answer["prebuild"]["status"]["phase"], answer["x"].is_object()), (&json!("Y"), true));
    bench.stop().await;
}

#[tokio::test]
async fn delays_come_before_or_after() {
    let bench = Bench::start().await;
    for fault in ["delay=50ms", "delay-after=50ms"] {
        let start = Instant::now();
        assert_eq!(bench.send(create(&bench, fault)).await.unwrap().status, 200);
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_reset_is_one_on_the_wire() {
    let bench = Bench::start().await;
    let address = bench.base.trim_start_matches("http://").to_owned();
    let body = json!({ "projectId": bench.project().id.to_string(), "spec": {} }).to_string();
    for (fault, executed) in [("reset", 0), ("reset-after", 1)] {
        let mut line = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /gitpod.v1.PrebuildService/CreatePrebuild HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ACME}\r\n\
             content-type: application/json\r\nx-sandbox-fault: {fault}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        line.write_all(head.as_bytes()).await.unwrap();
        line.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let error = line.read_to_end(&mut answer).await.unwrap_err();
        assert_eq!((error.kind(), answer.len()), (std::io::ErrorKind::ConnectionReset, 0), "{fault}");
        assert_eq!(bench.sandbox.executed("CreatePrebuild"), executed, "{fault}");
    }
    assert_eq!(bench.sandbox.seen().len(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn a_cut_ends_in_the_middle_of_the_body() {
    let bench = Bench::start().await;
    let response = bench.client.request(create(&bench, "cut")).await.unwrap();
    let announced: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = response.into_body();
    let mut got = 0;
    let error = loop {
        match body.frame().await {
            Some(Ok(frame)) => got += frame.into_data().unwrap().len(),
            Some(Err(error)) => break error,
            None => unreachable!("the body came whole: {got} of {announced} bytes"),
        }
    };
    assert!(got == announced / 2, "{error:?} after {got} of {announced} bytes");
    assert_eq!(bench.sandbox.executed("CreatePrebuild"), 1);
    bench.stop().await;
}

#[tokio::test]
async fn resets_and_cuts_over_http2() {
    let bench = Bench::start().await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    for fault in ["reset", "reset-after"] {
        assert!(client.request(create(&bench, fault)).await.is_err(), "{fault}");
    }
    assert!(client.request(create(&bench, "cut")).await.unwrap().into_body().collect().await.is_err());
    assert_eq!(client.request(create(&bench, "delay=1ms")).await.unwrap().status(), 200);
    assert_eq!(bench.sandbox.executed("CreatePrebuild"), 3);
    drop(client);
    bench.stop().await;
}

#[tokio::test]
async fn a_malformed_header_is_refused_and_nothing_is_done() {
    let bench = Bench::start().await;
    for fault in [
        "",
        "nonsense",
        "status",
        "status=99",
        "status=101",
        "status=600",
        "code=nope",
        "body=pdf",
        "delay=61s",
        "delay=1",
        "delay",
        "reset=1",
        "cut,cut",
        "status=503,",
        "retry-after=soon",
        "RESET",
    ] {
        let answer = bench.send(create(&bench, fault)).await.unwrap();
        assert_eq!(answer.status, 400, "{fault:?}");
        let error = answer.json();
        assert_eq!(error["code"], "invalid_argument");
        assert!(
            error["message"].as_str().unwrap().starts_with("malformed x-sandbox-fault header: "),
            "{error}"
        );
    }
    assert_eq!(bench.sandbox.executed("CreatePrebuild"), 0);
    bench.stop().await;
}
