//! An upstream that shows what it must not: other orgs' objects, other objects than were asked for (promise P7).

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use prebuild_gateway::sandbox::Org;
use serde_json::{Value, json as value};
use uuid::Uuid;

use crate::harness::{
    ACME_KEY, Answer, Gateway, ID, Upstream, http, json,
    raw::{Answered, Raw},
    spoken::{DIALECTS, Dialect, Spoken},
};

mod learning;
mod lists;
mod model;
mod strict;
mod walks;

/// Stands in every object of another org, and nowhere else.
const CANARY: &str = "CANARY-OF-ANOTHER-ORG";
const OTHER: &str = "0198c0de-0000-7000-8000-0000000000ff";
const JSON: Dialect = Dialect("application/json");
const GRPC: Dialect = Dialect("application/grpc");

/// Calls that are about one object, whose answers show it.
const SHOWING: [(&str, &str); 4] = [
    ("GetPrebuild", "prebuild"),
    ("CancelPrebuild", "prebuild"),
    ("GetWarmPool", "warmPool"),
    ("UpdateWarmPool", "warmPool"),
];

/// A gateway in front of a scripted upstream.
struct Bench {
    gateway: Gateway,
    upstream: Upstream,
    raw: Raw,
}

impl Bench {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut prebuild_gateway::config::Config)) -> Self {
        let upstream = Upstream::start([]).await;
        let gateway = Gateway::with(upstream.address, |config| {
            config.upstream.response_metadata = vec!["x-shelf".to_owned()];
            change(config);
        })
        .await;
        let raw = Raw::connect(gateway.address).await;
        Self { gateway, upstream, raw }
    }

    async fn call(&mut self, dialect: Dialect, method: &str, answer: Answer) -> Answered {
        self.upstream.then(answer);
        let request = dialect.request(&self.raw, method);
        self.raw.call(request, dialect.body(&message(dialect, method))).await
    }

    async fn told(&mut self, dialect: Dialect, method: &str, answer: Answer) -> Spoken {
        dialect.read(self.call(dialect, method, answer).await)
    }

    async fn mismatches(&self, method: &str, kind: &str) -> u64 {
        let labels = format!(r#"{{org="acme",method="{method}",kind="{kind}"}}"#);
        self.gateway.counted(&format!("prebuild_gateway_upstream_tenancy_mismatches_total{labels}")).await
    }
}

/// A request for the object [`ID`], or for one like it.
fn message(dialect: Dialect, method: &str) -> Vec<u8> {
    let json = match method {
        "CreatePrebuild" => value!({"projectId": ID, "spec": {}}),
        "CreateWarmPool" => value!({"projectId": ID, "environmentClassId": ID, "maxSize": 1}),
        "ListPrebuilds" | "ListWarmPools" => value!({}),
        "UpdateWarmPool" => value!({"warmPoolId": ID, "minSize": 1, "maxSize": 2}),
        method if method.contains("WarmPool") => value!({"warmPoolId": ID}),
        _ => value!({"prebuildId": ID}),
    };
    encoded(dialect, method, &json)
}

/// A request message in the dialect's codec.
fn encoded(dialect: Dialect, method: &str, json: &Value) -> Vec<u8> {
    use prebuild_gateway::{
        connect::json::{Duplicates, to_wire},
        rpc::PREBUILD_METHODS,
    };
    let text = json.to_string().into_bytes();
    if dialect.is_json() {
        return text;
    }
    let method = PREBUILD_METHODS.iter().find(|row| row.name == method).unwrap();
    to_wire((method.schema)(), method.input().unwrap(), &text, Duplicates::Reject).unwrap().0.to_vec()
}

fn ours() -> String {
    Org::demo("acme", String::new().into()).organization_id.to_string()
}

fn theirs() -> String {
    Org::demo("globex", String::new().into()).organization_id.to_string()
}

fn own(id: &str) -> Value {
    value!({"id": id, "metadata": {"organizationId": ours()}, "status": {"failureMessage": "own"}})
}

fn foreign(id: &str) -> Value {
    value!({
        "id": id,
        "metadata": {"organizationId": theirs()},
        "status": {"failureMessage": CANARY},
        "novelty": CANARY,
    })
}

fn shows(field: &str, object: &Value) -> Answer {
    let body = value!({ field: object, "shelf": CANARY }).to_string();
    let headers = format!("content-type: application/json\r\nx-shelf: {CANARY}\r\nretry-after: 3\r\n");
    Answer::Bytes(http(200, &headers, &body))
}

/// Upstream's own way to say that there is none.
fn absent() -> Answer {
    let info = STANDARD_NO_PAD.encode([0x0a, 4, b'G', b'O', b'N', b'E']);
    let body = value!({
        "code": "not_found",
        "message": format!("prebuild {ID} not found"),
        "details": [{"type": "google.rpc.ErrorInfo", "value": info}],
    });
    let headers =
        "content-type: application/json\r\nx-shelf: 7\r\nretry-after: 9\r\nx-should-retry: true\r\n";
    Answer::Bytes(http(404, headers, &body.to_string()))
}

/// Everything that the caller gets but for the request's id, the date and what is left of its rate, with what is in base64
/// laid open.
fn bytes_of(answered: Answered) -> String {
    let id = answered.id();
    let open = |text: &str| {
        let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut lines = vec![answered.status.to_string()];
    for (name, value) in answered.headers.iter().chain(&answered.trailers) {
        let value = value.to_str().unwrap();
        match name.as_str() {
            // The length of what has them in it is not the same, either.
            "date" | "x-request-id" | "ratelimit" | "content-length" => {}
            bin if bin.ends_with("-bin") => lines.push(format!("{bin}: {}", open(value))),
            name => lines.push(format!("{name}: {value}")),
        }
    }
    let is_text = lines.iter().any(|line| line.contains("grpc-web-text"));
    let body = if is_text { STANDARD.decode(&answered.body).unwrap().into() } else { answered.body };
    let body = match body.first() {
        // The trailers of gRPC-Web, behind their length.
        Some(0x80) => {
            let trailers = String::from_utf8_lossy(&body[5..]).into_owned();
            trailers.lines().filter(|line| !line.starts_with("ratelimit:")).collect::<Vec<_>>().join("\n")
        }
        _ => String::from_utf8_lossy(&body).into_owned(),
    };
    // Details in a Connect body, and in a gRPC-Web trailer.
    let words = body.split(['"', ' ', '\r', '\n']).map(|word| match word.starts_with('C') {
        true if word.len() > 100 => open(word),
        _ => word.to_owned(),
    });
    lines.push(words.collect::<Vec<_>>().join("|"));
    lines.join("\n").replace(&id, "ID")
}

#[tokio::test]
async fn foreign_and_absent_are_the_same_to_the_byte() {
    let mut bench = Bench::start().await;
    for (method, field) in SHOWING {
        for dialect in DIALECTS {
            let absent = bytes_of(bench.call(dialect, method, absent()).await);
            for id in [ID, OTHER, ""] {
                let foreign = bytes_of(bench.call(dialect, method, shows(field, &foreign(id))).await);
                assert_eq!(foreign, absent, "{method} {dialect:?}");
                assert!(!foreign.contains(CANARY) && !foreign.contains(&theirs()), "{foreign}");
            }
        }
        assert_eq!(bench.mismatches(method, "organization").await, 3 * DIALECTS.len() as u64);
    }
}

/// What shows no object says in the same words that there is none.
#[tokio::test]
async fn absence_is_told_in_one_way_by_every_call_about_one_object() {
    let mut bench = Bench::start().await;
    for method in [
        "GetPrebuild",
        "CancelPrebuild",
        "DeletePrebuild",
        "CreatePrebuildLogsToken",
        "GetWarmPool",
        "UpdateWarmPool",
        "DeleteWarmPool",
    ] {
        for dialect in [GRPC, JSON] {
            let wrong = bench.told(dialect, method, absent()).await.result.unwrap_err();
            assert_eq!((wrong.code, wrong.reason.as_deref()), (5, Some("NOT_FOUND")), "{method}");
            assert_eq!(
                (wrong.details.len(), &*wrong.message),
                (1, "no such prebuild, warm pool, project or environment class")
            );
        }
    }
    let wrong = bench.told(GRPC, "CreatePrebuild", absent()).await.result.unwrap_err();
    assert_eq!((wrong.code, wrong.reason), (5, None), "the call names no object: upstream's own words");
}

#[tokio::test]
async fn another_object_than_was_asked_for_is_refused() {
    let mut bench = Bench::start().await;
    let nameless = value!({"metadata": {"organizationId": ours()}});
    let orgless = value!({"id": OTHER, "status": {"failureMessage": "own"}});
    for (method, field) in SHOWING {
        for dialect in DIALECTS {
            for object in [own(OTHER), nameless.clone(), orgless.clone()] {
                let spoken = bench.told(dialect, method, shows(field, &object)).await;
                let wrong = spoken.result.unwrap_err();
                assert_eq!((wrong.code, wrong.reason.as_deref()), (13, Some("UPSTREAM_TENANCY")), "{method}");
            }
            for id in [ID.to_owned(), ID.to_ascii_uppercase()] {
                let spoken = bench.told(dialect, method, shows(field, &own(&id))).await;
                assert!(spoken.result.is_ok(), "{method} {dialect:?}: {spoken:?}");
            }
        }
        assert_eq!(bench.mismatches(method, "id").await, 3 * DIALECTS.len() as u64);
    }
}

#[tokio::test]
async fn an_object_that_does_not_say_whose_it_is_is_shown_and_counted() {
    let mut bench = Bench::start().await;
    let series = r#"prebuild_gateway_upstream_organizations_missing_total{method="GetPrebuild"}"#;
    for (seen, dialect) in [GRPC, JSON].into_iter().enumerate() {
        assert_eq!(bench.gateway.counted(series).await, seen as u64);
        assert!(
            bench.told(dialect, "GetPrebuild", shows("prebuild", &value!({"id": ID}))).await.result.is_ok()
        );
    }
    assert!(bench.told(JSON, "GetPrebuild", shows("prebuild", &own(ID))).await.result.is_ok());
    assert_eq!(bench.gateway.counted(series).await, 2);
}

#[tokio::test]
async fn what_was_created_for_another_org_is_told_as_executed_and_not_shown() {
    let mut bench = Bench::start().await;
    for (method, field) in [("CreatePrebuild", "prebuild"), ("CreateWarmPool", "warmPool")] {
        for dialect in [GRPC, JSON] {
            let answered = bench.call(dialect, method, shows(field, &foreign(OTHER))).await;
            assert!(!format!("{answered:?}").contains(CANARY), "{answered:?}");
            let id = answered.id();
            let mark = match dialect.is_connect() {
                true => answered.headers["x-should-retry"] == "false",
                false => answered.headers["grpc-retry-pushback-ms"] == "-1",
            };
            assert!(mark, "{answered:?}");
            let wrong = dialect.read(answered).result.unwrap_err();
            assert_eq!((wrong.code, wrong.reason.as_deref()), (13, Some("UPSTREAM_TENANCY")));
            let audited = bench.gateway.audited();
            assert_eq!(audited.stages(&id), ["intent", "outcome"]);
            let end = &audited.of(&id)[1]["end"];
            assert_eq!((&end["forwarded"], &end["reason"]), (&value!("yes"), &value!("UPSTREAM_TENANCY")));
            assert_eq!(end["mismatch"], value!({"kind": "organization", "objects": 1}));
        }
    }
}

/// Of a key that stands twice the last one counts; the text of the first must not go on with it.
#[tokio::test]
async fn what_a_repeated_key_hides_is_not_shown() {
    let mut bench = Bench::start().await;
    let hidden = [
        format!(r#"{{"prebuild":{},"prebuild":{}}}"#, foreign(ID), own(ID)),
        format!(r#"{{"prebuild":{},"preb\u0075ild":{}}}"#, foreign(ID), own(ID)),
        format!(
            r#"{{"prebuild":{{"status":{{}},"id":"{ID}","status":{{"failureMessage":"{CANARY}"}},"status":{{}}}}}}"#
        ),
    ];
    for body in hidden {
        let answer = Answer::Bytes(http(200, "content-type: application/json\r\n", &body));
        let shown = bench.told(JSON, "GetPrebuild", answer).await.result.unwrap();
        assert!(!String::from_utf8_lossy(&shown).contains(CANARY), "{shown:?}");
    }
}

/// Nobody has judged what stands elsewhere.
#[tokio::test]
async fn an_answer_without_the_object_is_none() {
    let mut bench = Bench::start().await;
    let plain = |body: &str| Answer::Bytes(http(200, "content-type: application/json\r\n", body));
    for (method, field) in SHOWING.into_iter().chain([("CreatePrebuild", ""), ("CreateWarmPool", "")]) {
        for body in [
            "{}".to_owned(),
            format!(r#"{{"{field}":null}}"#),
            format!(r#"{{"Prebuild":{0},"WarmPool":{0},"data":{0}}}"#, foreign(ID)),
            format!(r#"{{"prebuild":{0},"prebuild":null,"warmPool":{0},"warmPool":null}}"#, foreign(ID)),
        ] {
            for dialect in DIALECTS {
                let answered = bench.call(dialect, method, plain(&body)).await;
                assert!(!format!("{answered:?}").contains(CANARY), "{answered:?}");
                let wrong = dialect.read(answered).result.unwrap_err();
                let expected = (13, Some("UPSTREAM_INVALID_RESPONSE"));
                assert_eq!((wrong.code, wrong.reason.as_deref()), expected, "{method} {dialect:?} {body}");
            }
        }
    }
    for method in ["DeletePrebuild", "DeleteWarmPool", "CreatePrebuildLogsToken", "ListPrebuilds"] {
        assert!(bench.told(JSON, method, plain("{}")).await.result.is_ok(), "{method}");
    }
    let series = r#"prebuild_gateway_upstream_errors_total{method="GetPrebuild",kind="invalid"}"#;
    assert_eq!(bench.gateway.counted(series).await, 4 * DIALECTS.len() as u64);
}

#[tokio::test]
async fn a_mismatch_is_an_alarm_on_record_and_closes_the_connection() {
    let mut bench = Bench::start().await;
    let fine = || shows("prebuild", &own(ID));
    for answer in
        [fine(), fine(), shows("prebuild", &foreign(ID)), fine(), shows("prebuild", &own(OTHER)), fine()]
    {
        bench.call(GRPC, "GetPrebuild", answer).await;
    }
    let seen = bench.upstream.seen();
    let is_same: Vec<_> = seen.windows(2).map(|two| two[0].connection == two[1].connection).collect();
    assert_eq!(is_same, [true, true, false, true, false]);
    assert_eq!(bench.mismatches("GetPrebuild", "organization").await, 1);
    assert_eq!(bench.mismatches("GetPrebuild", "id").await, 1);
    let audited = bench.gateway.end().await;
    let found: Vec<_> = audited.0.iter().map(|record| record["end"]["mismatch"]["kind"].as_str()).collect();
    assert_eq!(found, [None, None, Some("organization"), None, Some("id"), None]);
    let log = format!("{audited:?}");
    assert!(!log.contains(CANARY) && !log.contains(&theirs()) && !log.contains(OTHER), "{log}");
}

/// The look-up of an update that names one bound is held to the same, and nothing is forwarded after it.
#[tokio::test]
async fn a_look_up_that_shows_a_foreign_pool_finds_none() {
    let mut bench = Bench::start().await;
    let mut update = async |dialect: Dialect, answer: Answer| {
        bench.upstream.then(answer);
        let body = encoded(dialect, "UpdateWarmPool", &value!({"warmPoolId": ID, "maxSize": 2}));
        let request = dialect.request(&bench.raw, "UpdateWarmPool");
        bench.raw.call(request, dialect.body(&body)).await
    };
    for dialect in DIALECTS {
        let absent = bytes_of(update(dialect, absent()).await);
        let foreign = bytes_of(update(dialect, shows("warmPool", &foreign(ID))).await);
        assert_eq!(foreign, absent, "{dialect:?}");
        let other = dialect.read(update(dialect, shows("warmPool", &own(OTHER))).await).result.unwrap_err();
        assert_eq!((other.code, other.reason.as_deref()), (13, Some("UPSTREAM_TENANCY")));
    }
    assert!(bench.upstream.seen().iter().all(|seen| seen.target.ends_with("/GetWarmPool")));
    assert_eq!(bench.upstream.seen().len(), 3 * DIALECTS.len());
    assert_eq!(bench.mismatches("GetWarmPool", "organization").await, DIALECTS.len() as u64);
    let audited = bench.gateway.end().await;
    assert!(audited.0.iter().all(|record| record["end"]["forwarded"] == "no"));
    assert_eq!(audited.number_of("NOT_FOUND"), 2 * DIALECTS.len() as u64);
    // What may be an attack is told each time.
    let kinds = audited.0.iter().filter_map(|record| record["end"]["mismatch"]["kind"].as_str());
    assert_eq!(kinds.filter(|kind| *kind == "organization").count(), DIALECTS.len());
}
