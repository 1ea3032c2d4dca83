//! A pool's bounds never cross through one gateway, though every update names only one of them.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use prebuild_gateway::{
    config::Credential,
    proto::gitpod::v1::{
        CreateWarmPoolRequest, DeleteWarmPoolRequest, GetWarmPoolRequest, UpdateWarmPoolRequest, WarmPool,
    },
    sandbox::{Org, Rules},
};
use serde_json::{Value, json as value};
use tonic::{Code, Status};

use crate::harness::{
    ACME_TOKEN, Answer, Client, GLOBEX_KEY, GLOBEX_TOKEN, Gateway, ID, Sandboxed, Told, Upstream, json, soon,
};

/// Racing pairs in all, and the pools they are spread over.
const PAIRS: usize = 1_000;
const POOLS: usize = 20;
/// Of the org's credential, each under a race.
const ROTATIONS: u64 = 30;

fn update(id: &str, min: Option<i32>, max: Option<i32>) -> UpdateWarmPoolRequest {
    UpdateWarmPoolRequest { warm_pool_id: id.to_owned(), min_size: min, max_size: max, ..Default::default() }
}

async fn create(client: &mut Client, project: &str, class: &str) -> WarmPool {
    let request = CreateWarmPoolRequest {
        project_id: project.to_owned(),
        environment_class_id: class.to_owned(),
        min_size: Some(5),
        max_size: Some(15),
        ..Default::default()
    };
    client.create_warm_pool(request).await.unwrap().into_inner().warm_pool.unwrap()
}

/// One side raises the minimum above what the other side makes the maximum: either may win, never both.
async fn race(one: &Client, other: &Client, id: &str, loser: &AtomicUsize) {
    let (mut one, mut other) = (one.clone(), other.clone());
    one.update_warm_pool(update(id, Some(5), Some(15))).await.unwrap();
    // The same UUID in capitals is the same pool.
    let capitals = id.to_ascii_uppercase();
    let (min, max) = tokio::join!(
        one.update_warm_pool(update(id, Some(12), None)),
        other.update_warm_pool(update(&capitals, None, Some(8)))
    );
    let lost: Vec<_> = [min, max].into_iter().filter_map(Result::err).collect();
    assert_eq!(lost.len(), 1, "exactly one side loses: {lost:?}");
    assert_eq!(lost[0].reason().as_deref(), Some("GUARDRAIL"));
    loser.fetch_add(usize::from(lost[0].fields() == ["max_size"]), Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_racing_pairs() {
    let mut acme = Org::demo("acme", ACME_TOKEN.into());
    let more = (0..POOLS).map(|_| uuid::Uuid::new_v4());
    acme.projects[0].classes = more.collect();
    let upstream = Sandboxed::with(Rules::None, acme.clone(), Org::demo("globex", GLOBEX_TOKEN.into())).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = gateway.client().await;
    let project = acme.projects[0].id.to_string();
    let mut pools = Vec::new();
    for class in &acme.projects[0].classes {
        pools.push(create(&mut client, &project, &class.to_string()).await.id);
    }
    let max_lost = AtomicUsize::new(0);
    join_all(pools.iter().map(async |id| {
        for _ in 0..PAIRS / POOLS {
            race(&client, &client, id, &max_lost).await;
        }
    }))
    .await;
    assert_eq!(upstream.sandbox.inverted_pools(), 0);
    assert_eq!(gateway.counted("prebuild_gateway_warm_pool_bounds_crossed_total").await, 0);
    let (wins, updates) = (max_lost.into_inner(), upstream.sandbox.executed("UpdateWarmPool"));
    assert_eq!(updates, 2 * PAIRS as u64, "a reset and a winner in each pair; min won {wins} times");
}

/// Whoever comes with a token of its own acts on the same pools as the org's own credential, whichever that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_and_a_callers_own_token_race_while_the_credential_is_replaced() {
    let upstream = Sandboxed::start(Rules::None).await;
    let acme = upstream.acme.organization_id;
    upstream.sandbox.issue(acme, "token-of-jane", Some("jane"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let holds = |token: &str| {
        let mut new = tempfile::NamedTempFile::new_in(&folder).unwrap();
        std::io::Write::write_all(&mut new, token.as_bytes()).unwrap();
        new.persist(&file).unwrap();
    };
    holds(ACME_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| {
        config.identity.upstream_tokens.enabled = true;
        config.orgs[0].credential = Credential::File(file.clone());
        config.upstream.reload_interval = Duration::from_millis(10);
    })
    .await;
    let (mut key, token) = (gateway.client().await, gateway.client_of("token-of-jane").await);
    let (project, class) = upstream.place();
    let id = create(&mut key, &project, &class).await.id;
    let lost = AtomicUsize::new(0);
    let taken = r#"prebuild_gateway_file_reloads_total{key="orgs[0].credential",result="taken"}"#;
    for round in 0..ROTATIONS {
        let new = format!("acme-token-{round}");
        upstream.sandbox.issue(acme, &new, None);
        holds(&new);
        let replaced = soon(async { while gateway.counted(taken).await <= round {} });
        let racing = async {
            race(&key, &token, &id, &lost).await;
            race(&token, &key, &id, &lost).await;
        };
        tokio::join!(replaced, racing);
    }
    race(&key, &token, &id, &lost).await;
    let last = format!("Bearer acme-token-{}", ROTATIONS - 1);
    let seen = upstream.sandbox.seen().into_iter();
    let bearers: BTreeSet<_> =
        seen.map(|seen| seen.headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert!(bearers.contains(&last), "{bearers:?}");
    assert!(bearers.len() > 20, "each was in use under a race, or most: {}", bearers.len());
    assert_eq!(upstream.sandbox.inverted_pools(), 0);
}

/// These tests can fail: what the gateway does in one step, done by two callers in two steps, crosses the bounds.
#[tokio::test]
async fn without_the_gateway_the_same_race_inverts_a_pool() {
    let upstream = Sandboxed::start(Rules::None).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = gateway.client().await;
    let (project, class) = upstream.place();
    let id = create(&mut client, &project, &class).await.id;
    // Both look, both see 5 to 15, both find their change in order, and both make it.
    for _ in 0..2 {
        let seen = client.get_warm_pool(GetWarmPoolRequest { warm_pool_id: id.clone() }).await.unwrap();
        let spec = seen.into_inner().warm_pool.unwrap().spec.unwrap();
        assert!(12 <= spec.max_size() && 8 >= spec.min_size());
    }
    for change in [value!({"warmPoolId": id, "minSize": 12}), value!({"warmPoolId": id, "maxSize": 8})] {
        past_the_gateway(&upstream, &change).await;
    }
    assert_eq!(upstream.sandbox.inverted_pools(), 1);
}

async fn past_the_gateway(upstream: &Sandboxed, change: &Value) {
    let client: legacy::Client<HttpConnector, Full<Bytes>> =
        legacy::Client::builder(TokioExecutor::new()).build_http();
    let request =
        http::Request::post(format!("http://{}/gitpod.v1.PrebuildService/UpdateWarmPool", upstream.address))
            .header("authorization", format!("Bearer {ACME_TOKEN}"))
            .header("content-type", "application/json")
            .body(change.to_string().into());
    assert_eq!(client.request(request.unwrap()).await.unwrap().status(), 200);
}

/// Whether a pool is another org's, gone, or was never there, the answer is the same to the byte, also where the
/// sizes would be invalid beside those of the real one.
#[tokio::test]
async fn a_foreign_pool_looks_like_an_absent_one() {
    let upstream = Sandboxed::start(Rules::Official).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut acme = gateway.client().await;
    let (project, class) = upstream.place();
    let foreign = create(&mut acme, &project, &class).await.id;
    let gone = create(&mut acme, &project, &upstream.acme.projects[0].classes[1].to_string()).await.id;
    acme.delete_warm_pool(DeleteWarmPoolRequest { warm_pool_id: gone.clone() }).await.unwrap();

    let mut globex = gateway.client_of(GLOBEX_KEY).await;
    // Valid beside 5 to 15, and invalid: a different answer would tell the foreigner the bounds.
    for (min, max) in [(Some(10), None), (Some(16), None), (None, Some(4)), (None, Some(10))] {
        let mut answers = Vec::new();
        for id in [&foreign, &gone, ID] {
            let status = globex.update_warm_pool(update(id, min, max)).await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound, "{status:?}");
            answers.push(bytes_of(&status));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    }
    assert_eq!(upstream.sandbox.executed("UpdateWarmPool"), 0);
}

/// Everything that the caller gets, but for id and time of the answer and what is left of its rate.
fn bytes_of(status: &Status) -> (Code, String, String, Vec<String>) {
    let details = String::from_utf8_lossy(status.details()).replace(&status.id(), "ID");
    let headers = status.metadata().clone().into_headers();
    let own = |name: &http::HeaderName| ["x-request-id", "date", "ratelimit"].contains(&name.as_str());
    let shown = headers.iter().filter(|(name, _)| !own(name)).map(|header| format!("{header:?}"));
    (status.code(), status.message().to_owned(), details, shown.collect())
}

fn pool(spec: &Value) -> Answer {
    Answer::Bytes(json(200, &value!({"warmPool": {"id": ID, "spec": spec}})))
}

/// Updates a pool that the look-up shows with this spec.
async fn update_of(spec: Value, min: Option<i32>, max: Option<i32>) -> (Result<(), Status>, usize) {
    let upstream = Upstream::start([pool(&spec), pool(&value!({}))]).await;
    let gateway = Gateway::start(upstream.address).await;
    let result = gateway.client().await.update_warm_pool(update(ID, min, max)).await.map(drop);
    (result, upstream.seen().len())
}

#[tokio::test]
async fn a_pool_without_bounds_counts_as_its_desired_size() {
    for (min, max, field) in [(Some(5), None, "min_size"), (None, Some(3), "max_size")] {
        let (result, requests) = update_of(value!({"desiredSize": 4}), min, max).await;
        let status = result.unwrap_err();
        assert_eq!((status.reason().as_deref(), requests), (Some("GUARDRAIL"), 1), "{status:?}");
        assert_eq!(status.fields(), [field]);
    }
    for (min, max) in [(Some(4), None), (None, Some(4))] {
        let (result, requests) = update_of(value!({"desiredSize": 4}), min, max).await;
        assert_eq!((result.is_ok(), requests), (true, 2), "{result:?}");
    }
}

/// What the other bound of such a pool is, upstream alone knows.
#[tokio::test]
async fn a_pool_with_one_bound_is_held_to_that_one() {
    let only_min = || value!({"minSize": 2});
    assert_eq!(update_of(only_min(), Some(3), None).await.1, 2);
    assert_eq!(update_of(only_min(), None, Some(1)).await.1, 1);
    assert_eq!(update_of(only_min(), None, Some(2)).await.1, 2);
}

/// An answer to the look-up without a pool in it shows nothing to check against.
#[tokio::test]
async fn a_look_up_that_shows_nothing_lets_nothing_pass() {
    let upstream = Upstream::start([Answer::Bytes(json(200, &value!({})))]).await;
    let gateway = Gateway::start(upstream.address).await;
    let status = gateway.client().await.update_warm_pool(update(ID, Some(3), None)).await.unwrap_err();
    assert_eq!((status.code(), upstream.seen().len()), (Code::Internal, 1), "{status:?}");
    assert_eq!(gateway.end().await.only("reject")["end"]["forwarded"], "no");
}

#[tokio::test]
async fn crossed_bounds_in_the_reply_are_counted_and_on_record() {
    let upstream = Upstream::start([pool(&value!({"minSize": 9, "maxSize": 8}))]).await;
    let gateway = Gateway::start(upstream.address).await;
    gateway.client().await.update_warm_pool(update(ID, Some(1), Some(2))).await.unwrap();
    assert_eq!(gateway.counted("prebuild_gateway_warm_pool_bounds_crossed_total").await, 1);
    assert_eq!(gateway.end().await.only("outcome")["end"]["bounds_crossed"], true);
}

/// The intent tells that the gateway looked before it let the change pass.
#[tokio::test]
async fn the_look_up_is_on_record() {
    let upstream = Upstream::start([pool(&value!({"minSize": 1, "maxSize": 8})), pool(&value!({}))]).await;
    let gateway = Gateway::start(upstream.address).await;
    gateway.client().await.update_warm_pool(update(ID, Some(3), None)).await.unwrap();
    let (seen, audited) = (upstream.seen(), gateway.end().await);
    assert_eq!(seen[1].body, value!({"warmPoolId": ID, "minSize": 3}), "the message is sent as it came");
    assert_eq!(audited.only("intent")["attempts"], value!([{"kind": "lookup", "object": ID}]));
}
