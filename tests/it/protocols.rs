//! One front: whatever protocol a call comes in, it is the same call, and ends in the same words.

use bytes::Bytes;
use http::request::Builder;
use prebuild_gateway::proto::gitpod::v1::{CreatePrebuildResponse, GetPrebuildResponse};
use prost::Message as _;
use serde_json::{Value, json as value};

use crate::harness::{
    Answer, Gateway, ID, Upstream, create, get, http, json,
    raw::Raw,
    shown,
    spoken::{DIALECTS, Dialect, Spoken},
};

/// A request in both codecs.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    json: Value,
    wire: Vec<u8>,
}

fn read() -> Asked {
    Asked { method: "GetPrebuild", json: value!({ "prebuildId": ID }), wire: get().encode_to_vec() }
}

fn change() -> Asked {
    let json = value!({ "projectId": ID, "spec": {} });
    Asked { method: "CreatePrebuild", json, wire: create().encode_to_vec() }
}

impl Asked {
    fn body(&self, dialect: Dialect) -> Bytes {
        let json = self.json.to_string();
        dialect.body(if dialect.is_json() { json.as_bytes() } else { &self.wire })
    }
}

/// Each dialect asks through a gateway of its own, whose upstream answers so; how each call ended, and its records.
async fn in_every_dialect(
    asked: &Asked,
    answer: Option<Answer>,
    change: impl Fn(Builder) -> Builder,
) -> Vec<(Dialect, Spoken, Vec<Value>)> {
    let mut told = Vec::new();
    for dialect in DIALECTS {
        let upstream = Upstream::start(answer.clone()).await;
        let gateway = Gateway::start(upstream.address).await;
        let mut raw = Raw::connect(gateway.address).await;
        let request = change(dialect.request(&raw, asked.method));
        let answered = raw.call(request, asked.body(dialect)).await;
        let id = answered.id();
        assert_eq!(upstream.seen().len(), usize::from(answer.is_some()), "{dialect:?}");
        let records = gateway.end().await.of(&id).into_iter().cloned().collect();
        told.push((dialect, dialect.read(answered), records));
    }
    told
}

/// What must not depend on the protocol in a record.
fn essence(records: &[Value]) -> Vec<Value> {
    let one = |record: &Value| {
        let end = &record["end"];
        value!([
            record["stage"],
            record["method"],
            record["org"],
            end["code"],
            end["reason"],
            end["forwarded"]
        ])
    };
    records.iter().map(one).collect()
}

#[tokio::test]
async fn a_reply_is_the_same_call_in_every_protocol() {
    let body = value!({"prebuild": {"id": ID, "status": {"phase": "PREBUILD_PHASE_RUNNING"}}});
    let headers = "content-type: application/json\r\nx-team: a\r\ntrailer-x-team: b\r\n";
    for (asked, stages) in [(read(), 1), (change(), 2)] {
        let answer = Answer::Bytes(http(200, headers, &body.to_string()));
        let told = in_every_dialect(&asked, Some(answer), |request| request).await;
        for (dialect, spoken, records) in &told {
            let message = spoken.result.as_ref().unwrap();
            let id = match (dialect.is_json(), asked.method) {
                (true, _) => {
                    assert_eq!(message, &body.to_string(), "as it came");
                    ID.to_owned()
                }
                (false, "GetPrebuild") => {
                    GetPrebuildResponse::decode(&message[..]).unwrap().prebuild.unwrap().id
                }
                (false, _) => CreatePrebuildResponse::decode(&message[..]).unwrap().prebuild.unwrap().id,
            };
            assert_eq!(id, ID, "{dialect:?}");
            assert_eq!(spoken.headers["content-type"], dialect.0);
            assert!(!spoken.metadata.contains_key("x-team"), "it is on no list");
            assert_eq!(records.len(), stages, "{records:?}");
            assert_eq!(essence(records), essence(&told[0].2), "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn an_error_is_told_in_the_same_words_in_every_protocol() {
    let details = value!({
        "code": "failed_precondition", "message": "50% of é",
        "details": [{"type": "google.rpc.ErrorInfo", "value": "CgFh"}, {"type": "x.Y", "value": "AQID"}],
    });
    let html = || Answer::Bytes(http(503, "content-type: text/html\r\n", "<html></html>"));
    let limited =
        http(429, "content-type: application/json\r\nretry-after: 7\r\n", r#"{"code":"resource_exhausted"}"#);
    let conflict = value!({"code": "already_exists", "message": "there is one"});
    // The mark of Connect is that of gRPC, but for what the SDKs would do of themselves.
    for (name, asked, answer, status, should_retry) in [
        ("details", read(), Answer::Bytes(json(400, &details)), 400, None),
        ("details", change(), Answer::Bytes(json(400, &details)), 400, Some("false")),
        ("html", read(), html(), 503, None),
        ("html", change(), html(), 500, Some("false")),
        ("throttled", read(), Answer::Bytes(limited.clone()), 429, None),
        ("throttled", change(), Answer::Bytes(limited), 429, Some("false")),
        ("conflict", change(), Answer::Bytes(json(409, &conflict)), 409, Some("false")),
        ("reset", read(), Answer::Reset(Vec::new()), 503, None),
        ("reset", change(), Answer::Reset(Vec::new()), 500, Some("false")),
        (
            "cut off",
            change(),
            Answer::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()),
            500,
            Some("false"),
        ),
    ] {
        let told = in_every_dialect(&asked, Some(answer), |request| request).await;
        let first = told[0].1.result.clone().unwrap_err();
        for (dialect, spoken, records) in &told {
            let what = format!("{name} {} {}", asked.method, dialect.0);
            assert_eq!(spoken.result.as_ref().unwrap_err(), &first, "{what}");
            assert_eq!(essence(records), essence(&told[0].2), "{what}");
            let mark = |name: &str| spoken.metadata.get(name).map(|value| value.to_str().unwrap());
            if dialect.is_connect() {
                assert_eq!(spoken.status, status, "{what}");
                assert_eq!(mark("x-should-retry"), should_retry, "{what}");
                assert_eq!(mark("grpc-retry-pushback-ms"), None, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_same_words_in_every_protocol() {
    let mut too_long = change();
    too_long.json["spec"] = value!({"timeout": "7201s"});
    // projectId as above, and spec { timeout { seconds: 7201 } }.
    too_long.wire.truncate(too_long.wire.len() - 2);
    too_long.wire.extend([0x1a, 5, 0x1a, 3, 0x08, 0xa1, 0x38]);
    let wrong_key = |mut request: Builder| {
        let key = "Bearer pgw_made-up".parse().unwrap();
        request.headers_mut().unwrap().insert("authorization", key);
        request
    };
    let late = |request: Builder| request.header("grpc-timeout", "0m").header("connect-timeout-ms", "0");
    let unclear = |request: Builder| request.header("grpc-timeout", "x").header("connect-timeout-ms", "x");
    type Change = fn(Builder) -> Builder;
    let cases: [(&str, Asked, Change, &str, u16); 4] = [
        ("guardrail", too_long, |request| request, "GUARDRAIL", 400),
        ("stranger", read(), wrong_key, "UNAUTHENTICATED", 401),
        ("late", read(), late, "DEADLINE_EXCEEDED", 504),
        ("unclear", change(), unclear, "MALFORMED_TIMEOUT", 400),
    ];
    for (name, asked, change, reason, status) in cases {
        let told = in_every_dialect(&asked, None, change).await;
        let first = told[0].1.result.clone().unwrap_err();
        assert_eq!(first.reason.as_deref(), Some(reason));
        for (dialect, spoken, records) in &told {
            assert_eq!(spoken.result.as_ref().unwrap_err(), &first, "{name} {}", dialect.0);
            assert_eq!(essence(records), essence(&told[0].2), "{name} {}", dialect.0);
            if dialect.is_connect() {
                assert_eq!(spoken.status, status, "{name}");
            }
        }
    }
}

/// The callers of one org share its rate whatever they speak.
#[tokio::test]
async fn the_limits_are_the_same_for_all() {
    let upstream = Upstream::start(DIALECTS.map(|_| Answer::Bytes(shown()))).await;
    let policy = "rates.org.all = { per_second = 1, burst = 1 }";
    let gateway = Gateway::with_policy(upstream.address, policy, |_| {}).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut limited = 0;
    for dialect in DIALECTS {
        let answered = raw.call(dialect.request(&raw, "GetPrebuild"), read().body(dialect)).await;
        let Err(wrong) = dialect.read(answered).result else { continue };
        assert_eq!(wrong.reason.as_deref(), Some("RATE_LIMITED"));
        limited += 1;
    }
    // A machine that sleeps for a second between two calls gives one back.
    assert!(limited >= DIALECTS.len() / 2, "{limited}");
}
