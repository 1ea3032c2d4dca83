//! All eleven RPCs, there and back: values, pages, orgs, metadata, and what upstream gets to see of a caller.

use prebuild_gateway::{
    config::Config,
    proto::gitpod::v1::{
        CancelPrebuildRequest, CreatePrebuildLogsTokenRequest, CreatePrebuildRequest, CreateWarmPoolRequest,
        DeletePrebuildRequest, DeleteWarmPoolRequest, GetPrebuildRequest, GetWarmPoolRequest,
        ListPrebuildsRequest, ListWarmPoolsRequest, PaginationRequest, Prebuild, PrebuildPhase, PrebuildSpec,
        Subject, UpdateWarmPoolRequest, list_prebuilds_request::Filter, prebuild_metadata::PrebuildTrigger,
    },
    sandbox::Rules,
};
use prost_types::{Duration, Timestamp};
use serde_json::json as value;
use tonic::{Code, Status};

use crate::harness::{
    ACME_KEY, ACME_TOKEN, Answer, Client, GLOBEX_KEY, GLOBEX_TOKEN, Gateway, ID, Sandboxed, Upstream, create,
    get, http, json,
    raw::{Raw, framed},
    shown,
};

const TIMEOUT: Duration = Duration { seconds: 3_600, nanos: 500_000_001 };

async fn prebuild(client: &mut Client, project: &str) -> Prebuild {
    let request = CreatePrebuildRequest {
        project_id: project.to_owned(),
        environment_class_id: None,
        spec: Some(PrebuildSpec { timeout: Some(TIMEOUT), ..Default::default() }),
    };
    client.create_prebuild(request).await.unwrap().into_inner().prebuild.unwrap()
}

#[tokio::test]
async fn a_prebuild_from_its_creation_to_its_deletion() {
    let upstream = Sandboxed::start(Rules::Official).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = gateway.client().await;
    let (project, class) = upstream.place();
    let created = prebuild(&mut client, &project).await;
    let metadata = created.metadata.clone().unwrap();
    assert_eq!(metadata.organization_id, upstream.acme.organization_id.to_string());
    assert_eq!((metadata.project_id, metadata.environment_class_id), (project.clone(), class));
    assert_eq!(created.spec.unwrap().timeout, Some(TIMEOUT));

    let prebuild_id = created.id;
    let got = client.get_prebuild(GetPrebuildRequest { prebuild_id: prebuild_id.clone() }).await.unwrap();
    let status = got.into_inner().prebuild.unwrap().status.unwrap();
    assert_eq!(status.phase(), PrebuildPhase::Completed);
    assert!(status.completion_time.is_some() && status.snapshot_size_bytes > i64::from(i32::MAX));

    let filter = Filter {
        project_ids: vec![project],
        phases: vec![PrebuildPhase::Completed.into()],
        triggered_by: vec![PrebuildTrigger::Manual.into()],
        ..Default::default()
    };
    let list = ListPrebuildsRequest { filter: Some(filter), ..Default::default() };
    let listed = client.list_prebuilds(list).await.unwrap().into_inner().prebuilds;
    assert_eq!(listed.iter().map(|prebuild| &prebuild.id).collect::<Vec<_>>(), [&prebuild_id]);

    let logs = CreatePrebuildLogsTokenRequest { prebuild_id: prebuild_id.clone() };
    assert!(!client.create_prebuild_logs_token(logs).await.unwrap().into_inner().access_token.is_empty());
    // It is over already: upstream's own word for that comes through.
    let cancelled = client.cancel_prebuild(CancelPrebuildRequest { prebuild_id: prebuild_id.clone() }).await;
    if let Err(status) = cancelled {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    }
    client.delete_prebuild(DeletePrebuildRequest { prebuild_id: prebuild_id.clone() }).await.unwrap();
    let gone = client.get_prebuild(GetPrebuildRequest { prebuild_id }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone:?}");
}

/// An explicit zero is not the same as nothing, in both directions.
#[tokio::test]
async fn a_pool_that_may_scale_to_zero() {
    let upstream = Sandboxed::start(Rules::Official).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = gateway.client().await;
    let (project_id, environment_class_id) = upstream.place();
    prebuild(&mut client, &project_id).await;
    let request = CreateWarmPoolRequest {
        project_id,
        environment_class_id,
        min_size: Some(0),
        max_size: Some(3),
        ..Default::default()
    };
    let created = client.create_warm_pool(request).await.unwrap().into_inner().warm_pool.unwrap();
    let sizes = |pool: prebuild_gateway::proto::gitpod::v1::WarmPool| {
        let spec = pool.spec.unwrap();
        (spec.min_size, spec.max_size, spec.snapshot_id.is_some())
    };
    let warm_pool_id = created.id.clone();
    let sent: serde_json::Value =
        serde_json::from_slice(&upstream.sandbox.seen().pop().unwrap().body).unwrap();
    assert_eq!((&sent["minSize"], sent.get("desiredSize")), (&value!(0), None), "an unset size is not sent");
    assert_eq!((created.spec.unwrap().min_size, created.id), (Some(0), warm_pool_id.clone()));

    let update =
        UpdateWarmPoolRequest { warm_pool_id: warm_pool_id.clone(), max_size: Some(4), ..Default::default() };
    client.update_warm_pool(update).await.unwrap();
    let got = client.get_warm_pool(GetWarmPoolRequest { warm_pool_id: warm_pool_id.clone() }).await.unwrap();
    assert_eq!(sizes(got.into_inner().warm_pool.unwrap()), (Some(0), Some(4), true));
    let listed = client.list_warm_pools(ListWarmPoolsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.warm_pools.into_iter().map(sizes).collect::<Vec<_>>(), [(Some(0), Some(4), true)]);
    client.delete_warm_pool(DeleteWarmPoolRequest { warm_pool_id: warm_pool_id.clone() }).await.unwrap();
    let gone = client.get_warm_pool(GetWarmPoolRequest { warm_pool_id }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

/// The largest numbers and the finest times, as upstream writes them and as it reads them.
#[tokio::test]
async fn extreme_values() {
    let answer = value!({"prebuild": {
        "metadata": {"createdAt": "2026-01-02T03:04:05.123456789Z", "updatedAt": "0001-01-01T00:00:00Z",
            "creator": {"id": "u1", "principal": "PRINCIPAL_RUNNER_MANAGER"}, "triggeredBy": 2},
        "spec": {"specVersion": "18446744073709551615", "timeout": "0.000000001s"},
        "status": {"snapshotSizeBytes": "-9223372036854775808", "snapshotCompletionPercentage": 100,
            "failureMessage": "line\nbreak \u{1f980}"},
    }});
    let upstream = Upstream::start([Answer::Bytes(json(200, &answer))]).await;
    let gateway = Gateway::start(upstream.address).await;
    let spec = PrebuildSpec {
        spec_version: u64::MAX,
        timeout: Some(Duration { seconds: 7_199, nanos: 999_999_999 }),
        desired_phase: PrebuildPhase::Completed.into(),
    };
    let request = CreatePrebuildRequest { spec: Some(spec), ..create() };
    let response = gateway.client().await.create_prebuild(request).await.unwrap();
    let prebuild = response.into_inner().prebuild.unwrap();
    let (metadata, status) = (prebuild.metadata.unwrap(), prebuild.status.unwrap());
    assert_eq!(metadata.created_at, Some(Timestamp { seconds: 1_767_323_045, nanos: 123_456_789 }));
    assert_eq!(metadata.updated_at, Some(Timestamp { seconds: -62_135_596_800, nanos: 0 }));
    assert_eq!(metadata.creator, Some(Subject { id: "u1".to_owned(), principal: 6 }));
    assert_eq!(metadata.triggered_by, 2);
    let spec = prebuild.spec.unwrap();
    assert_eq!((spec.spec_version, spec.timeout), (u64::MAX, Some(Duration { seconds: 0, nanos: 1 })));
    assert_eq!((status.snapshot_size_bytes, status.snapshot_completion_percentage), (i64::MIN, 100));
    assert_eq!(status.failure_message, "line\nbreak \u{1f980}");
    assert_eq!(
        upstream.seen()[0].body,
        value!({"projectId": ID, "spec": {"specVersion": "18446744073709551615",
            "desiredPhase": "PREBUILD_PHASE_COMPLETED", "timeout": "7199.999999999s"}})
    );
}

#[tokio::test]
async fn three_pages() {
    let upstream = Sandboxed::start(Rules::Official).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = gateway.client().await;
    let (project, _) = upstream.place();
    let mut wanted = Vec::new();
    for _ in 0..5 {
        wanted.push(prebuild(&mut client, &project).await.id);
    }
    wanted.reverse();
    let (mut token, mut pages) = (String::new(), Vec::new());
    // Bounded: a gateway that loses the token would page over the first page for ever.
    for _ in 0..5 {
        let pagination = Some(PaginationRequest { page_size: 2, token });
        let list = ListPrebuildsRequest { pagination, ..Default::default() };
        let page = client.list_prebuilds(list).await.unwrap().into_inner();
        pages.push(page.prebuilds.into_iter().map(|prebuild| prebuild.id).collect::<Vec<_>>());
        token = page.pagination.unwrap_or_default().next_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, wanted.chunks(2).map(<[String]>::to_vec).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_orgs_cannot_see_each_other() {
    let upstream = Sandboxed::start(Rules::Official).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut acme = gateway.client().await;
    let (project_id, environment_class_id) = upstream.place();
    let prebuild_id = prebuild(&mut acme, &project_id).await.id;
    let pool = CreateWarmPoolRequest {
        project_id: project_id.clone(),
        environment_class_id,
        max_size: Some(1),
        ..Default::default()
    };
    let warm_pool_id = acme.create_warm_pool(pool).await.unwrap().into_inner().warm_pool.unwrap().id;

    let mut globex = gateway.client_of(GLOBEX_KEY).await;
    assert!(
        globex
            .list_prebuilds(ListPrebuildsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .prebuilds
            .is_empty()
    );
    assert!(
        globex
            .list_warm_pools(ListWarmPoolsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .warm_pools
            .is_empty()
    );
    let (id, pool) = (|| prebuild_id.clone(), || warm_pool_id.clone());
    let foreign: [Result<(), Status>; 7] = [
        globex.get_prebuild(GetPrebuildRequest { prebuild_id: id() }).await.map(drop),
        globex.cancel_prebuild(CancelPrebuildRequest { prebuild_id: id() }).await.map(drop),
        globex.delete_prebuild(DeletePrebuildRequest { prebuild_id: id() }).await.map(drop),
        globex
            .create_prebuild_logs_token(CreatePrebuildLogsTokenRequest { prebuild_id: id() })
            .await
            .map(drop),
        globex.get_warm_pool(GetWarmPoolRequest { warm_pool_id: pool() }).await.map(drop),
        globex.delete_warm_pool(DeleteWarmPoolRequest { warm_pool_id: pool() }).await.map(drop),
        globex.create_prebuild(CreatePrebuildRequest { project_id, ..create() }).await.map(drop),
    ];
    for result in foreign {
        assert_eq!(result.unwrap_err().code(), Code::NotFound);
    }
    // Nothing of it has happened.
    acme.get_prebuild(GetPrebuildRequest { prebuild_id: id() }).await.unwrap();
    acme.get_warm_pool(GetWarmPoolRequest { warm_pool_id: pool() }).await.unwrap();
    let tokens: Vec<_> =
        upstream.sandbox.seen().iter().map(|seen| seen.headers["authorization"].clone()).collect();
    let known = [ACME_TOKEN, GLOBEX_TOKEN].map(|token| format!("Bearer {token}"));
    assert!(tokens.iter().all(|token| known.iter().any(|known| token == known)), "only the orgs' own");
}

fn listed(config: &mut Config) {
    config.upstream.request_metadata = vec!["x-team".to_owned(), "x-proof-bin".to_owned()];
    config.upstream.response_metadata = vec!["x-cost".to_owned(), "x-proof-bin".to_owned()];
}

/// Promise P14: what a caller makes up does not reach upstream, whatever it looks like.
#[tokio::test]
async fn upstream_sees_only_what_the_gateway_says() {
    let upstream = Upstream::start([Answer::Bytes(shown())]).await;
    let gateway = Gateway::with(upstream.address, listed).await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = raw
        .bare("/gitpod.v1.PrebuildService/GetPrebuild?to=http://elsewhere.example/&x=../..")
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {ACME_KEY}"))
        .header("x-team", "blue")
        .header("x-team", "green")
        .header("x-proof-bin", "/////w==")
        .header("connect-timeout-ms", "1")
        .header("connect-protocol-version", "2")
        .header("content-encoding", "gzip")
        .header("cookie", "session=1")
        .header("forwarded", "for=1.2.3.4")
        .header("grpc-accept-encoding", "gzip")
        .header("proxy-authorization", "Bearer x")
        .header("te", "trailers")
        .header("trailer-x-team", "red")
        .header("user-agent", "caller/1")
        .header("x-forwarded-host", "elsewhere.example")
        .header("x-http-method-override", "DELETE")
        .header("x-sandbox-fault", "reset")
        .header("x-stainless-retry-count", "3");
    let answered = raw.call(request, framed(&get())).await;
    assert_eq!(answered.grpc().code(), Code::Ok);

    let seen = upstream.seen().remove(0);
    assert_eq!((&*seen.method, &*seen.target), ("POST", "/api/gitpod.v1.PrebuildService/GetPrebuild"));
    assert_eq!(seen.body, value!({"prebuildId": ID}));
    let names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = [
        "authorization",
        "connect-protocol-version",
        "connect-timeout-ms",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-proof-bin",
        "x-team",
        "x-team",
    ];
    assert_eq!(names, wanted);
    let agent = format!("prebuild-gateway/{}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("authorization", format!("Bearer {ACME_TOKEN}")),
        ("connect-protocol-version", "1".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("host", upstream.address.to_string()),
        ("user-agent", agent),
        ("x-proof-bin", "/////w==".to_owned()),
    ] {
        assert_eq!(seen.header(name), Some(value.as_str()), "{name}");
    }
}

/// What upstream sends along: leading metadata leads, trailing trails, and what is not listed stays behind.
const ALONG: &str = "content-type: application/json\r\nx-cost: 7\r\nx-cost: 8\r\nx-proof-bin: AQID\r\n\
    trailer-x-cost: 9\r\ntrailer-x-proof-bin: !!\r\nset-cookie: a=b\r\nx-internal: 10.0.0.7\r\n\
    server: nginx\r\nretry-after: 2\r\n";

#[tokio::test]
async fn metadata_of_an_answer() {
    let upstream = Upstream::start([Answer::Bytes(http(200, ALONG, r#"{"prebuild":{}}"#))]).await;
    let gateway = Gateway::with(upstream.address, listed).await;
    let mut raw = Raw::connect(gateway.address).await;
    let answered = raw.call(raw.grpc("CreatePrebuild"), framed(&create())).await;
    assert_eq!(answered.grpc().code(), Code::Ok);
    let values = |map: &http::HeaderMap, name| -> Vec<String> {
        map.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&answered.headers, "x-cost"), ["7", "8"]);
    assert_eq!(values(&answered.headers, "x-proof-bin"), ["AQID"]);
    assert_eq!(values(&answered.trailers, "x-cost"), ["9"]);
    assert!(values(&answered.trailers, "x-proof-bin").is_empty(), "it is no base64");
    let mut names: Vec<_> = answered.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let gateways = ["content-type", "date", "ratelimit", "ratelimit-policy", "x-request-id"];
    names.retain(|name| !gateways.contains(name));
    assert_eq!(names, ["retry-after", "x-cost", "x-proof-bin"]);
}

#[tokio::test]
async fn metadata_of_an_error() {
    let body = value!({"code": "failed_precondition", "message": "no"}).to_string();
    let upstream = Upstream::start([Answer::Bytes(http(400, ALONG, &body))]).await;
    let gateway = Gateway::with(upstream.address, listed).await;
    let status = gateway.client().await.get_prebuild(get()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let metadata = status.metadata();
    let costs: Vec<_> = metadata.get_all("x-cost").iter().collect();
    assert_eq!(costs, ["7", "8", "9"], "an error has one place for both");
    assert_eq!(metadata.get_bin("x-proof-bin").unwrap().to_bytes().unwrap().as_ref(), [1, 2, 3]);
    for name in ["set-cookie", "x-internal", "server"] {
        assert!(metadata.get(name).is_none(), "{name}");
    }
}
