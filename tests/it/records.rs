//! What records tell of calls over real connections: at each level, of who has left, and of floods.

use std::{fs, time::Duration};

use bytes::Bytes;
use prebuild_gateway::{
    audit::{
        hash::Keys,
        level::{Level, OrgLevels},
    },
    config::Config,
    front::Unknown,
    proto::gitpod::v1::{
        CreatePrebuildLogsTokenRequest, GetPrebuildRequest, ListPrebuildsRequest, PaginationRequest,
    },
};
use serde_json::{Value, json as value};
use tonic::Code;

use crate::harness::{
    Answer, GLOBEX_KEY, Gateway, ID, Told, Upstream, create, get, json,
    raw::{Raw, frame, framed},
    request_id, shown, soon,
    spoken::Dialect,
};

const JSON: Dialect = Dialect("application/json");
const TOKEN: &str = "upstream's own token of a page";

fn list() -> ListPrebuildsRequest {
    let pagination = Some(PaginationRequest { page_size: 5, token: TOKEN.to_owned() });
    ListPrebuildsRequest { pagination, filter: None }
}

fn answers() -> [Answer; 4] {
    let page = value!({"pagination": {"nextToken": TOKEN}});
    [
        Answer::Bytes(shown()),
        Answer::Bytes(json(200, &page)),
        Answer::Bytes(json(200, &value!({"accessToken": "a secret"}))),
        Answer::Bytes(shown()),
    ]
}

/// A mutation, a list, a call that returns a secret, and a read that is refused; the records of each.
async fn told_at(change: impl FnOnce(&mut Config)) -> (Vec<Vec<Value>>, Keys) {
    let upstream = Upstream::start(answers()).await;
    let gateway = Gateway::with(upstream.address, change).await;
    let mut client = gateway.client().await;
    let mut ids = vec![request_id(client.create_prebuild(create()).await.unwrap().metadata())];
    ids.push(request_id(client.list_prebuilds(list()).await.unwrap().metadata()));
    let token = CreatePrebuildLogsTokenRequest { prebuild_id: ID.to_owned() };
    ids.push(request_id(client.create_prebuild_logs_token(token).await.unwrap().metadata()));
    let refused = client.get_prebuild(GetPrebuildRequest { prebuild_id: "x".to_owned() }).await.unwrap_err();
    ids.push(refused.id());
    let keys = Keys::read(&gateway.audit().join("hash-keys")).unwrap();
    let audited = gateway.end().await;
    (ids.iter().map(|id| audited.of(id).into_iter().cloned().collect()).collect(), keys)
}

#[tokio::test]
async fn each_level_tells_what_it_says() {
    for level in [Level::Metadata, Level::Request, Level::RequestResponse] {
        let (told, keys) = told_at(|config| config.audit.level.default = level).await;
        let [created, listed, issued, refused] = &told[..] else { unreachable!() };
        let token = keys.digest(TOKEN);
        let request = |is_shown, data: Value| if is_shown { data } else { Value::Null };
        let (asks, answers) = (level >= Level::Request, level >= Level::RequestResponse);
        // The effective request stands in the intent, and once is enough.
        assert_eq!(created[0]["request"], request(asks, value!({"projectId": ID, "spec": {}})));
        assert_eq!(created[1]["request"], Value::Null);
        assert_eq!(created[1]["end"]["response"]["prebuild"]["id"], request(answers, value!(ID)));
        assert_eq!(
            listed[0]["request"],
            request(asks, value!({"pagination": {"pageSize": 5, "token": token}}))
        );
        assert_eq!(
            listed[0]["end"]["response"],
            request(answers, value!({"pagination": {"nextToken": token}}))
        );
        assert_eq!(issued[1]["end"]["response"], request(answers, value!({})), "a secret is never shown");
        assert_eq!(refused[0]["request"], request(asks, value!({"prebuildId": "invalid"})));
        // At every level each intent and reject has who, from where, and what policy may see.
        for record in [&created[0], &issued[0], &refused[0]] {
            assert!(record["facts"].is_object() && record["scopes"].is_array(), "{record}");
            assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1"), "{record}");
        }
        assert!(created[0]["decided"].is_string() && issued[0]["decided"].is_string());
    }
}

#[tokio::test]
async fn at_level_none_a_read_leaves_no_record_and_others_do() {
    let none = |config: &mut Config| {
        let methods = [("read".to_owned(), Level::None)].into_iter().collect();
        config.audit.level.orgs.insert("acme".into(), OrgLevels { default: None, methods });
    };
    let (told, _) = told_at(none).await;
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 2, 0]);

    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with(upstream.address, none).await;
    let mut globex = gateway.client_of(GLOBEX_KEY).await;
    let refused = globex.get_prebuild(GetPrebuildRequest { prebuild_id: "x".to_owned() }).await.unwrap_err();
    let id = refused.id();
    assert_eq!(gateway.end().await.stages(&id), ["reject"], "another org's are on record");
}

/// The list of what went upstream, and when the call came how far.
#[tokio::test]
async fn an_outcome_tells_the_way_of_the_call() {
    let (told, _) = told_at(|_| {}).await;
    let outcome = &told[0][1];
    let attempt = &outcome["tried"][0];
    assert_eq!(
        (&attempt["kind"], &attempt["code"], &attempt["sent"]),
        (&value!("call"), &value!("OK"), &value!("yes"))
    );
    assert!(attempt["took_us"].is_u64());
    assert_eq!(outcome["tried"].as_array().unwrap().len(), 1);
    assert_eq!(told[1][0]["tried"][0]["kind"], "page");
    assert_eq!(outcome["end"]["client"], "there");
    let refused = &told[3][0];
    assert_eq!(refused["tried"], Value::Null, "nothing went upstream");
}

/// Promise P3 and point of the whole: upstream's true status, also where nobody waits for it any more.
#[tokio::test]
async fn a_read_that_is_reset_is_on_record_as_gone() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    let pending = raw.begin(raw.grpc("GetPrebuild"), Some(framed(&get()))).await;
    upstream.arrived(1).await;
    // RST_STREAM, on a connection that lives on.
    drop(pending);
    upstream.abandoned(1).await;
    let audited = gateway.end().await;
    let outcome = audited.only("outcome");
    let end = &outcome["end"];
    assert_eq!((&end["reason"], &end["client"]), (&value!("CALLER_GONE"), &value!("gone")));
    assert_eq!(end["forwarded"], "maybe");
    // It had not ended.
    assert_eq!(outcome["tried"], value!([{"kind": "call"}]));
}

/// Upstream answers while the caller is going: whatever it said is on record.
#[tokio::test]
async fn a_secret_whose_caller_left_is_on_record_with_upstreams_answer() {
    let (gate, answer) = Answer::held(json(200, &value!({"accessToken": "a secret"})));
    let upstream = Upstream::start([answer]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    let token = CreatePrebuildLogsTokenRequest { prebuild_id: ID.to_owned() };
    let pending = raw.begin(raw.grpc("CreatePrebuildLogsToken"), Some(framed(&token))).await;
    upstream.arrived(1).await;
    drop(pending);
    // An answer to a later request: the earlier one has been looked at.
    raw.call(raw.grpc("StartPrebuild"), framed(&create())).await;
    let gone = "prebuild_gateway_requests_total{method=\"CreatePrebuildLogsToken\",code=\"CANCELLED\",org=\"acme\",decision=\"allowed\"}";
    soon(async {
        while gateway.counted(gone).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    gate.cancel();
    let audited = gateway.end().await;
    let end = &audited.only("outcome")["end"];
    assert_eq!(
        (&end["code"], &end["client"], &end["forwarded"]),
        (&value!("OK"), &value!("gone"), &value!("yes"))
    );
}

/// A JSON key may hold anything: its hash is told, and its place.
#[tokio::test]
async fn unknown_fields_are_placed_and_their_names_hashed() {
    for (unknown, status, stage) in [(Unknown::Drop, 200, "outcome"), (Unknown::Reject, 400, "reject")] {
        let upstream = Upstream::start([Answer::Bytes(shown())]).await;
        let change = |config: &mut Config| config.requests.unknown_fields = unknown;
        let gateway = Gateway::with(upstream.address, change).await;
        let mut raw = Raw::connect(gateway.address).await;
        let body = format!(r#"{{"prebuildId": "{ID}", "n0t-a-field": 1}}"#);
        let answered = raw.call(JSON.request(&raw, "GetPrebuild"), body).await;
        assert_eq!(answered.status, status);
        let keys = Keys::read(&gateway.audit().join("hash-keys")).unwrap();
        let audited = gateway.end().await;
        assert_eq!(
            audited.only(stage)["unknown"],
            value!({"count": 1, "places": ["?"], "names": [keys.digest("n0t-a-field")]})
        );
    }
}

/// With the log away, a read is refused, unless the operator lets reads go on; and a mutation in any case.
#[tokio::test]
async fn reads_pass_where_they_may() {
    for passes in [false, true] {
        let upstream = Upstream::start([Answer::Bytes(shown()), Answer::Bytes(shown())]).await;
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("audit");
        let change = |config: &mut Config| {
            config.audit.directory.clone_from(&directory);
            config.audit.reads_pass = passes;
        };
        let gateway = Gateway::with(upstream.address, change).await;
        let mut client = gateway.client().await;
        fs::remove_dir_all(&directory).unwrap();
        let refused = client.create_prebuild(create()).await.unwrap_err();
        assert_eq!(refused.reason().as_deref(), Some("AUDIT_UNAVAILABLE"));
        let read = client.get_prebuild(get()).await;
        assert_eq!(
            read.as_ref().map_err(|status| status.code()).err(),
            (!passes).then_some(Code::Unavailable)
        );
        assert_eq!(upstream.seen().len(), usize::from(passes), "what is not answered is not asked");
        let refused = client.create_prebuild(create()).await.unwrap_err();
        assert_eq!(refused.reason().as_deref(), Some("AUDIT_UNAVAILABLE"));
    }
}

/// A thousand strangers' calls, and a caller that asks the same wrong thing again and again.
#[tokio::test]
async fn a_flood_of_refusals_is_counted() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..500 {
        let path = "/gitpod.v1.PrebuildService/GetPrebuild";
        let stranger = raw.bare(path).header("content-type", "application/grpc");
        raw.call(stranger, Bytes::new()).await;
        let wrong = raw.grpc("GetPrebuild");
        raw.call(wrong, frame(0, b"\x0a\x01x")).await;
    }
    let audited = gateway.end().await;
    for reason in ["UNAUTHENTICATED", "GUARDRAIL"] {
        let alike: Vec<_> = audited.0.iter().filter(|record| record["end"]["reason"] == reason).collect();
        let number: u64 = alike.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
        assert_eq!(number, 500, "{reason}");
        assert!(alike.len() <= 4, "{reason}: {}", alike.len());
        assert_eq!(alike[0]["stage"], "reject");
        assert_eq!(alike.last().unwrap()["stage"], "aggregate");
    }
}
