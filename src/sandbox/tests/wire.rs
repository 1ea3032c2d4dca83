//! HTTP and the Connect protocol, as strict as the real thing.

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Bench, STEP};
use crate::sandbox::{Life, Rules, prebuilds::CAPACITY};

#[tokio::test]
async fn what_is_not_json_is_an_invalid_argument() {
    let bench = Bench::start().await;
    for body in [
        "",
        " ",
        "nonsense",
        "[]",
        "null",
        "\"{}\"",
        "{",
        "{}{}",
        r#"{"pagination":[]}"#,
        r#"{"filter":[]}"#,
        r#"{"filter":{"projectIds":"x"}}"#,
        r#"{"filter":{"projectIds":[null]}}"#,
        r#"{"filter":{"phases":["NO_SUCH_PHASE"]}}"#,
        r#"{"pagination":{"pageSize":1.5}}"#,
        r#"{"pagination":{"pageSize":4294967296}}"#,
        r#"{"pagination":{"pageSize":1,"page_size":1}}"#,
        r#"{"pagination":{"token":7}}"#,
    ] {
        let answer = bench.send(bench.request("ListPrebuilds").body(body.into()).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (400, &json!("invalid_argument")),
            "{body}"
        );
    }
    let bytes = Bytes::from_static(b"{\"pagination\":{\"token\":\"\xff\"}}");
    let answer = bench.send(bench.request("ListPrebuilds").body(bytes.into()).unwrap()).await.unwrap();
    assert_eq!(answer.status, 400);
    bench.stop().await;
}

#[tokio::test]
async fn null_is_absent_and_unknown_fields_are_ignored() {
    let bench = Bench::start().await;
    for body in [
        json!({ "pagination": null, "filter": null, "novelty": [1] }),
        json!({ "pagination": { "pageSize": null, "token": null }, "filter": { "phases": null } }),
        json!({ "pagination": { "pageSize": "10", "token": "" } }),
    ] {
        assert_eq!(bench.ok("ListPrebuilds", body).await, json!({}));
    }
    bench.stop().await;
}

#[tokio::test]
async fn paths_methods_and_content_types() {
    let bench = Bench::start().await;
    let send = async |method: &str, path: &str, content_type: &str| {
        let mut request = bench.request("").method(method).body("{}".into()).unwrap();
        *request.uri_mut() = format!("{}{path}", bench.base).parse().unwrap();
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        bench.send(request).await.unwrap().status.as_u16()
    };
    let (path, json) = ("/gitpod.v1.PrebuildService/ListPrebuilds", "application/json");
    assert_eq!(send("POST", path, json).await, 200);
    assert_eq!(send("POST", &format!("/some/api{path}"), "Application/JSON; charset=UTF-8").await, 200);
    assert_eq!(send("POST", "/gitpod.v1.PrebuildService/StartPrebuild", json).await, 404);
    assert_eq!(send("POST", "/gitpod.v1.IdentityService/ListPrebuilds", json).await, 404);
    assert_eq!(send("POST", "/", json).await, 404);
    assert_eq!(send("GET", path, json).await, 405);
    assert_eq!(send("POST", path, "application/proto").await, 415);
    assert_eq!(send("POST", path, "application/json; charset=latin1").await, 415);
    bench.stop().await;
}

#[tokio::test]
async fn the_headers_of_the_connect_protocol_are_checked() {
    let bench = Bench::start().await;
    for (name, value, status) in [
        ("connect-protocol-version", "1", 200),
        ("connect-protocol-version", "2", 400),
        ("connect-timeout-ms", "1", 200),
        ("connect-timeout-ms", "9999999999", 200),
        ("connect-timeout-ms", "10000000000", 400),
        ("connect-timeout-ms", "-1", 400),
        ("connect-timeout-ms", "1s", 400),
        ("content-encoding", "identity", 200),
        ("content-encoding", "gzip", 501),
    ] {
        let request = bench.request("ListPrebuilds").header(name, value).body("{}".into()).unwrap();
        assert_eq!(bench.send(request).await.unwrap().status, status, "{name}: {value}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound() {
    let bench = Bench::start().await;
    for (padding, status) in [((1 << 20) - 2, 200), ((1 << 20) - 1, 429)] {
        let body = format!("{{}}{}", " ".repeat(padding));
        let answer = bench.send(bench.request("ListPrebuilds").body(body.into()).unwrap()).await.unwrap();
        assert_eq!(answer.status, status);
    }
    bench.stop().await;
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_remembered() {
    let bench = Bench::start().await;
    bench.ok("ListPrebuilds", json!({})).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let mut request = bench.request("ListPrebuilds").header("x-more", "1").body("{ }".into()).unwrap();
    *request.uri_mut() = format!("{}?token=", request.uri()).parse().unwrap();
    assert_eq!(client.request(request).await.unwrap().status(), 200);
    let seen = bench.sandbox.seen();
    let versions: Vec<_> = seen.iter().map(|seen| seen.version).collect();
    assert_eq!(versions, [http::Version::HTTP_11, http::Version::HTTP_2]);
    let last = &seen[1];
    assert_eq!(
        (last.path.as_str(), last.query.as_str()),
        ("/gitpod.v1.PrebuildService/ListPrebuilds", "token=")
    );
    assert_eq!(
        (last.method.as_str(), &last.headers["x-more"], &last.body[..]),
        ("POST", &"1".parse().unwrap(), &b"{ }"[..])
    );
    assert_eq!(bench.sandbox.executed("ListPrebuilds"), 2);
    drop(client);
    bench.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_open_calls_end_and_drops_the_silent() {
    let bench = Bench::start().await;
    let address = bench.base.trim_start_matches("http://").to_owned();
    let mut half = TcpStream::connect(&address).await.unwrap();
    half.write_all(
        b"POST /gitpod.v1.PrebuildService/ListPrebuilds HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
    )
    .await
    .unwrap();
    let _silent = TcpStream::connect(&address).await.unwrap();
    // A call that is under way when the shutdown begins: it has been seen, and it waits.
    let mut open = Box::pin(bench.faulty("delay=300ms", "ListPrebuilds"));
    while bench.sandbox.seen().is_empty() {
        tokio::select! {
            biased;
            _ = &mut open => unreachable!("answered before it was seen"),
            () = tokio::task::yield_now() => {}
        }
    }
    bench.shutdown.cancel();
    assert_eq!(open.await.unwrap().status, 200);
    // The half request would stay for ever: the drain's end drops it.
    bench.stop().await;
}

#[tokio::test]
async fn ten_thousand_prebuilds_are_kept_and_the_oldest_finished_is_forgotten() {
    let life = Life { step: STEP, warn_every: 0, fail_every: 0 };
    let bench = Bench::with(Rules::Official, life).await;
    let body = json!({ "projectId": bench.project().id.to_string(), "spec": {} }).to_string();
    let mut first: Value = json!(null);
    for index in 0..CAPACITY {
        let request = bench.request("CreatePrebuild").body(body.clone().into()).unwrap();
        let answer = bench.send(request).await.unwrap();
        assert_eq!(answer.status, 200);
        if index == 0 {
            first = answer.json()["prebuild"]["id"].take();
        }
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    bench.refused("CreatePrebuild", body.clone(), "resource_exhausted").await;
    bench.steps(4);
    bench.ok("CreatePrebuild", body).await;
    bench.refused("GetPrebuild", json!({ "prebuildId": first }), "not_found").await;
    assert_eq!(bench.sandbox.seen().len(), 10_000);
    bench.stop().await;
}
