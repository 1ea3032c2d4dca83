//! What only Connect callers can say, and how the SDKs say it.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use prebuild_gateway::front::Unknown;
use serde_json::{Value, json as value};

use crate::harness::{
    Answer, Gateway, ID, Upstream, http, json,
    raw::{Answered, Raw},
    shown,
    spoken::{Dialect, Spoken},
};

const JSON: Dialect = Dialect("application/json");

struct Bench {
    upstream: Upstream,
    gateway: Gateway,
    raw: Raw,
}

impl Bench {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let upstream = Upstream::start(answers).await;
        let gateway = Gateway::start(upstream.address).await;
        Self::of(upstream, gateway).await
    }

    async fn of(upstream: Upstream, gateway: Gateway) -> Self {
        let raw = Raw::connect(gateway.address).await;
        Self { upstream, gateway, raw }
    }

    async fn post(&mut self, method: &str, body: impl Into<Bytes>) -> Spoken {
        JSON.read(self.raw.call(JSON.request(&self.raw, method), body).await)
    }

    async fn get(&mut self, target: &str) -> Answered {
        let request = JSON.request(&self.raw, target).method("GET");
        self.raw.call(request, Bytes::new()).await
    }
}

fn fine() -> Answer {
    Answer::Bytes(json(200, &value!({})))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Contract, section 2: a JSON caller loses nothing that upstream says.
#[tokio::test]
async fn a_json_reply_keeps_what_the_schema_does_not_know() {
    let body = r#"{ "prebuild": {"id":"0198C0DE-0000-7000-8000-000000000001","new":[1,{"a":null}],"status":{"phase":"PREBUILD_PHASE_TELEPORTING"}},"also":1e3 }"#;
    let answer = http(200, "content-type: application/json; charset=utf-8\r\n", body);
    let mut bench = Bench::start([Answer::Bytes(answer)]).await;
    let spoken = bench.post("GetPrebuild", value!({ "prebuildId": ID }).to_string()).await;
    assert_eq!(spoken.result.unwrap(), body);
}

/// Contract, section 2: gen-1 clients send nulls; sizes of 0 are sizes.
#[tokio::test]
async fn absent_null_and_zero_mean_what_they_mean_to_upstream() {
    let pool = || Answer::Bytes(json(200, &value!({"warmPool": {}})));
    let mut bench = Bench::start([pool(), pool()]).await;
    let pool = value!({ "projectId": ID, "environmentClassId": ID, "minSize": null, "maxSize": 3, "desiredSize": null });
    assert!(bench.post("CreateWarmPool", pool.to_string()).await.result.is_ok());
    let pool = value!({ "project_id": ID, "environment_class_id": ID, "min_size": 0, "max_size": "2" });
    assert!(bench.post("CreateWarmPool", pool.to_string()).await.result.is_ok());
    let bodies: Vec<_> = bench.upstream.seen().into_iter().map(|seen| seen.body).collect();
    let sent = |sizes: Value| {
        let mut whole = value!({ "projectId": ID, "environmentClassId": ID });
        whole.as_object_mut().unwrap().extend(sizes.as_object().unwrap().clone());
        whole
    };
    assert_eq!(bodies, [sent(value!({"maxSize": 3})), sent(value!({"minSize": 0, "maxSize": 2}))]);
}

/// Two readers could each take another one of the two.
#[tokio::test]
async fn a_field_that_is_given_twice_is_refused_in_either_spelling() {
    let mut bench = Bench::start([]).await;
    for body in [
        format!(r#"{{"projectId":"{ID}","projectId":"{ID}","spec":{{}}}}"#),
        format!(r#"{{"projectId":"{ID}","project_id":"{ID}","spec":{{}}}}"#),
        format!(r#"{{"projectId":"{ID}","spec":{{"timeout":"1s","timeout":"2s"}}}}"#),
    ] {
        let wrong = bench.post("CreatePrebuild", body.clone()).await.result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (3, Some("MALFORMED_MESSAGE")), "{body}");
        assert_eq!(wrong.fields.len(), 1, "{body}");
    }
    assert!(bench.upstream.seen().is_empty());
}

#[tokio::test]
async fn unknown_fields_are_named_to_the_caller_and_never_kept() {
    let upstream = Upstream::start([Answer::Bytes(shown())]).await;
    let gateway =
        Gateway::with(upstream.address, |config| config.requests.unknown_fields = Unknown::Drop).await;
    let mut bench = Bench::of(upstream, gateway).await;
    let body = value!({ "projectId": ID, "spec": {"CANARY_key": "CANARY-value", "a CANARY\r\n": 1} });
    let spoken = bench.post("CreatePrebuild", body.to_string()).await;
    assert!(spoken.result.is_ok());
    assert_eq!(spoken.headers["x-dropped-fields"], "spec.CANARY_key, spec.?");
    assert_eq!(bench.upstream.seen()[0].body, value!({ "projectId": ID, "spec": {} }));
    let audited = bench.gateway.end().await;
    assert_eq!(audited.only("intent")["unknown_fields"], value!(["spec.?", "spec.?"]));
    assert!(!format!("{audited:?}").contains("CANARY"));
}

/// Contract, section 5.
#[tokio::test]
async fn the_page_of_the_url_goes_upstream_in_body_and_url() {
    let mut bench = Bench::start([fine(), fine(), fine(), fine()]).await;
    let body = r#"{"pagination":{"pageSize":5,"token":"one"},"filter":{}}"#;
    for query in ["", "?token=two+2", "?token=a%26b&pageSize=7", "?token=&pageSize=1"] {
        let spoken = bench.post(&format!("ListPrebuilds{query}"), body).await;
        assert!(spoken.result.is_ok(), "{query}");
    }
    let seen = bench.upstream.seen().into_iter();
    let seen: Vec<_> = seen.map(|seen| (seen.target, seen.body["pagination"].clone())).collect();
    let path = "/api/gitpod.v1.PrebuildService/ListPrebuilds";
    assert_eq!(
        seen,
        [
            (format!("{path}?token=one&pageSize=5"), value!({"pageSize": 5, "token": "one"})),
            (format!("{path}?token=two+2&pageSize=5"), value!({"pageSize": 5, "token": "two 2"})),
            (format!("{path}?token=a%26b&pageSize=7"), value!({"pageSize": 7, "token": "a&b"})),
            (format!("{path}?token=one&pageSize=1"), value!({"pageSize": 1, "token": "one"})),
        ]
    );
    let wrong = bench.post("ListPrebuilds?pageSize=many", body).await.result.unwrap_err();
    assert_eq!(
        (wrong.reason.as_deref(), &wrong.fields[..]),
        (Some("MALFORMED_MESSAGE"), &["pagination.page_size".to_owned()][..])
    );
}

#[tokio::test]
async fn the_four_reads_are_there_by_get_too() {
    let mut bench = Bench::start([]).await;
    for method in ["ListPrebuilds", "GetPrebuild", "GetWarmPool", "ListWarmPools"] {
        let id = if method == "GetWarmPool" { "warmPoolId" } else { "prebuildId" };
        let message = if method.starts_with("Get") {
            format!("%7B%22{id}%22:%22{ID}%22%7D")
        } else {
            "%7B%7D".to_owned()
        };
        let shown = match method {
            "GetPrebuild" => value!({"prebuild": {"id": ID}}),
            "GetWarmPool" => value!({"warmPool": {"id": ID}}),
            _ => value!({}),
        };
        bench.upstream.then(Answer::Bytes(json(200, &shown)));
        let answered = bench.get(&format!("{method}?connect=v1&encoding=json&message={message}")).await;
        let body: Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!((answered.status.as_u16(), body), (200, shown), "{method}");
    }
    assert!(bench.upstream.seen().iter().all(|seen| seen.method == "POST"));
    for method in [
        "CreatePrebuild",
        "CancelPrebuild",
        "DeletePrebuild",
        "CreatePrebuildLogsToken",
        "CreateWarmPool",
        "UpdateWarmPool",
        "DeleteWarmPool",
    ] {
        let shown = match method {
            "GetPrebuild" => value!({"prebuild": {"id": ID}}),
            "GetWarmPool" => value!({"warmPool": {"id": ID}}),
            _ => value!({}),
        };
        bench.upstream.then(Answer::Bytes(json(200, &shown)));
        let answered = bench.get(&format!("{method}?connect=v1&encoding=json&message=%7B%7D")).await;
        assert_eq!(
            (answered.status.as_u16(), &answered.headers["allow"]),
            (405, &"POST".parse().unwrap()),
            "{method}"
        );
    }
    assert_eq!(bench.upstream.seen().len(), 4);
}

#[tokio::test]
async fn gzip_goes_both_ways_and_is_bounded() {
    let long = value!({"prebuild": {"id": ID, "status": {"failureMessage": "x".repeat(4096)}}});
    let mut bench = Bench::start([Answer::Bytes(json(200, &long))]).await;
    let request = JSON
        .request(&bench.raw, "GetPrebuild")
        .header("content-encoding", "gzip")
        .header("accept-encoding", "gzip");
    let answered = bench.raw.call(request, gzip(value!({ "prebuildId": ID }).to_string().as_bytes())).await;
    assert_eq!(
        (answered.status.as_u16(), &answered.headers["content-encoding"]),
        (200, &"gzip".parse().unwrap())
    );
    let mut inflated = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&answered.body[..]), &mut inflated).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&inflated).unwrap(), long);

    for (coding, body, status, reason) in [
        ("gzip", gzip(&vec![b' '; 16 << 20]), 429, "MESSAGE_TOO_LARGE"),
        ("gzip", b"{}".to_vec(), 400, "MALFORMED_MESSAGE"),
        ("br", b"{}".to_vec(), 501, "UNSUPPORTED_ENCODING"),
        ("identity", vec![b' '; (64 << 10) + 1], 429, "MESSAGE_TOO_LARGE"),
    ] {
        let request = JSON.request(&bench.raw, "GetPrebuild").header("content-encoding", coding);
        let spoken = JSON.read(bench.raw.call(request, body).await);
        let wrong = spoken.result.unwrap_err();
        assert_eq!((spoken.status, wrong.reason.as_deref()), (status, Some(reason)), "{coding}");
        assert_eq!(spoken.headers["x-should-retry"], "false", "or gen-1 would send it three times");
    }
    assert_eq!(bench.upstream.seen().len(), 1);
}

#[tokio::test]
async fn the_prefix_of_the_base_url_is_known_and_no_other_is() {
    let upstream = Upstream::start([fine(), fine(), fine()]).await;
    let gateway = Gateway::with(upstream.address, |config| {
        config.requests.path_prefixes = vec!["/api".to_owned(), "/prebuilds/v1".to_owned()];
    })
    .await;
    let mut bench = Bench::of(upstream, gateway).await;
    for (prefix, status) in [
        ("", 200),
        ("/api", 200),
        ("/prebuilds/v1", 200),
        ("/prebuilds", 404),
        ("/api/api", 404),
        ("/API", 404),
        ("/api/", 404),
        ("//", 404),
        ("/api/..", 404),
    ] {
        let path = format!("{prefix}/gitpod.v1.PrebuildService/ListPrebuilds");
        let request = bench.raw.bare(&path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {}", crate::harness::ACME_KEY));
        let answered = bench.raw.call(request, "{}").await;
        assert_eq!(answered.status, status, "{prefix}");
    }
    assert!(
        bench
            .upstream
            .seen()
            .iter()
            .all(|seen| seen.target == "/api/gitpod.v1.PrebuildService/ListPrebuilds")
    );
}

/// Nobody but the gateway says what it says in headers, and what SDKs say of themselves stays here.
#[tokio::test]
async fn headers_of_the_sdks_do_not_travel() {
    let mut bench = Bench::start([fine()]).await;
    let request = JSON
        .request(&bench.raw, "ListPrebuilds")
        .header("x-stainless-lang", "python")
        .header("x-stainless-retry-count", "0")
        .header("connect-protocol-version", "1")
        .header("connect-timeout-ms", "5000");
    assert_eq!(bench.raw.call(request, "{}").await.status, 200);
    let seen = &bench.upstream.seen()[0];
    assert_eq!((seen.header("x-stainless-lang"), seen.header("x-stainless-retry-count")), (None, None));
    let left: u64 = seen.header("connect-timeout-ms").unwrap().parse().unwrap();
    assert!((1..=5000).contains(&left), "{left}");
}

/// Promise P8, as the SDKs of the first generation obey it.
#[tokio::test]
async fn only_what_was_not_forwarded_may_be_tried_again() {
    let gateway = {
        // Nobody listens there any more.
        let gone = Upstream::start([]).await.address;
        Gateway::start(gone).await
    };
    let mut raw = Raw::connect(gateway.address).await;
    let body = value!({ "projectId": ID, "spec": {} }).to_string();
    let spoken = JSON.read(raw.call(JSON.request(&raw, "CreatePrebuild"), body).await);
    assert_eq!((spoken.status, &spoken.headers["x-should-retry"]), (503, &"true".parse().unwrap()));
    assert_eq!(spoken.result.unwrap_err().reason.as_deref(), Some("UPSTREAM_UNREACHABLE"));
}

/// A page token may be as long as a message; a URL may not.
#[tokio::test]
async fn a_token_that_is_too_long_for_a_url_goes_in_the_body_alone() {
    let mut bench = Bench::start([fine(), fine()]).await;
    for (length, in_url) in [(2 << 10, true), (60 << 10, false)] {
        let token = "t".repeat(length);
        let body = value!({"pagination": {"token": token}}).to_string();
        assert!(bench.post("ListPrebuilds", body).await.result.is_ok(), "{length}");
        let seen = bench.upstream.seen().pop().unwrap();
        assert_eq!(seen.body["pagination"]["token"], token);
        assert_eq!(seen.target.contains("?token="), in_url, "{length}");
    }
}

/// The SDKs' `get_authenticated_identity(empty=True)`.
#[tokio::test]
async fn a_message_without_fields_may_say_that_it_is_empty() {
    let organization = value!({ "organizationId": ID });
    let upstream = Upstream::start([Answer::Bytes(json(200, &organization))]).await;
    let gateway = Gateway::with(upstream.address, crate::harness::unknown_organizations).await;
    let mut raw = Raw::connect(gateway.address).await;
    for body in [r#"{"empty":true}"#, "{}"] {
        let request = raw
            .bare("/api/gitpod.v1.IdentityService/GetAuthenticatedIdentity")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", crate::harness::ACME_KEY));
        let spoken = JSON.read(raw.call(request, body).await);
        let told: Value = serde_json::from_slice(&spoken.result.unwrap()).unwrap();
        assert_eq!(told["organizationId"], ID, "{body}");
    }
    assert_eq!(upstream.seen()[0].body, value!({}));
}

/// Over HTTP/1 as over HTTP/2, whatever the protocol.
#[tokio::test]
async fn a_caller_that_breaks_off_is_no_malformed_request() {
    use tokio::io::AsyncWriteExt as _;
    let bench = Bench::start([]).await;
    for (dialect, method) in [
        ("application/json", "CreatePrebuild"),
        ("application/grpc-web+proto", "CreatePrebuild"),
        // The same again would only be counted.
        ("application/grpc-web-text+proto", "GetPrebuild"),
    ] {
        let mut tcp = tokio::net::TcpStream::connect(bench.gateway.address).await.unwrap();
        let head = format!(
            "POST /gitpod.v1.PrebuildService/{method} HTTP/1.1\r\nhost: x\r\ncontent-type: {dialect}\r\n\
             authorization: Bearer {}\r\ncontent-length: 200\r\n\r\n\0\0\0",
            crate::harness::ACME_KEY
        );
        tcp.write_all(head.as_bytes()).await.unwrap();
    }
    let rejects = || {
        let audited = bench.gateway.audited().0;
        audited.into_iter().filter(|record| record["stage"] == "reject").collect::<Vec<_>>()
    };
    crate::harness::soon(async {
        while rejects().len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    for record in rejects() {
        assert_eq!(record["end"]["reason"], "CALLER_GONE", "{record}");
    }
}

/// A load balancer that checks a path by plain HTTP must not take any answer for health.
#[tokio::test]
async fn health_is_grpc_alone() {
    let mut bench = Bench::start([]).await;
    let path = "/grpc.health.v1.Health/Check";
    for (method, content_type) in [("GET", ""), ("POST", "application/json"), ("POST", "text/plain")] {
        let request = bench.raw.bare(path).method(method).header("content-type", content_type);
        let answered = bench.raw.call(request, "{}").await;
        assert_eq!(answered.status, 401, "{method} {content_type}");
    }
}
