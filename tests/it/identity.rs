//! Who the caller is, as the gateway knows it: never whose credential the gateway holds.

use prebuild_gateway::{
    config::Config,
    proto::gitpod::v1::{
        GetAuthenticatedIdentityRequest, GetAuthenticatedIdentityResponse, Principal,
        identity_service_client::IdentityServiceClient,
    },
};
use serde_json::{Value, json as value};
use tonic::{Code, Response, Status, service::interceptor::InterceptedService, transport::Channel};

use crate::harness::{
    ACME_KEY, ACME_TOKEN, Answer, Bearer, GLOBEX_KEY, GLOBEX_TOKEN, Gateway, Told, Upstream, http, json,
    policy,
    raw::{Raw, frame},
    request_id, unknown_organizations,
};

/// What upstream calls the orgs.
const ACME: &str = "0198c0de-0000-7000-8000-00000000acce";
const GLOBEX: &str = "0198c0de-0000-7000-8000-00000000610b";
/// Whom acme's credential belongs to upstream.
const OWNER: &str = "0198c0de-0000-7000-8000-0000000c0de5";
const METHOD: &str = "gitpod.v1.IdentityService/GetAuthenticatedIdentity";

type Client = IdentityServiceClient<InterceptedService<Channel, Bearer>>;

async fn client(gateway: &Gateway, key: &'static str) -> Client {
    IdentityServiceClient::with_interceptor(gateway.channel().await, Bearer::of(key))
}

async fn ask(client: &mut Client) -> Result<Response<GetAuthenticatedIdentityResponse>, Status> {
    client.get_authenticated_identity(GetAuthenticatedIdentityRequest {}).await
}

/// Upstream's own answer.
fn says(organization: &str) -> Answer {
    Answer::Bytes(json(
        200,
        &value!({
            "subject": {"id": OWNER, "principal": "PRINCIPAL_USER"},
            "organizationId": organization,
            "organizationTier": "enterprise",
        }),
    ))
}

fn configured(config: &mut Config) {
    config.orgs[0].upstream_organization_id = Some(ACME.to_owned());
}

fn is_the_caller(identity: &GetAuthenticatedIdentityResponse, organization: &str, tier: &str) {
    let subject = identity.subject.as_ref().unwrap();
    assert_eq!((&*subject.id, subject.principal()), ("ci", Principal::ServiceAccount));
    assert_eq!((&*identity.organization_id, &*identity.organization_tier), (organization, tier));
}

#[tokio::test]
async fn a_configured_organization_is_told_without_upstream() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with(upstream.address, configured).await;
    let mut acme = client(&gateway, ACME_KEY).await;
    let answer = ask(&mut acme).await.unwrap();
    is_the_caller(answer.get_ref(), ACME, "");
    let id = request_id(answer.metadata());
    assert!(upstream.seen().is_empty());
    let series = "prebuild_gateway_requests_total{method=\"GetAuthenticatedIdentity\",code=\"OK\",org=\"acme\",\
                  decision=\"allowed\"}";
    assert_eq!(gateway.counted(series).await, 1);
    let audited = gateway.end().await;
    assert_eq!(audited.stages(&id), ["outcome"]);
    let record = audited.only("outcome");
    assert_eq!((&record["method"], &record["org"]), (&value!(METHOD), &value!("acme")));
    let end = &record["end"];
    assert_eq!(
        (&end["code"], &end["decision"], &end["forwarded"]),
        (&value!("OK"), &value!("allowed"), &value!("no")),
    );
}

#[tokio::test]
async fn an_organization_is_learnt_once_per_org_with_its_own_credential() {
    let upstream = Upstream::start([says(ACME), says(GLOBEX)]).await;
    let gateway = Gateway::with(upstream.address, unknown_organizations).await;
    let (mut acme, mut globex) = (client(&gateway, ACME_KEY).await, client(&gateway, GLOBEX_KEY).await);
    for _ in 0..3 {
        is_the_caller(ask(&mut acme).await.unwrap().get_ref(), ACME, "enterprise");
        is_the_caller(ask(&mut globex).await.unwrap().get_ref(), GLOBEX, "enterprise");
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    for (request, token) in seen.iter().zip([ACME_TOKEN, GLOBEX_TOKEN]) {
        assert_eq!((&*request.method, &*request.target), ("POST", &*format!("/api/{METHOD}")));
        assert_eq!(request.body, value!({}));
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {token}")));
        assert!(request.header("connect-timeout-ms").is_some());
    }
    let answered =
        "prebuild_gateway_upstream_request_duration_seconds_count{method=\"GetAuthenticatedIdentity\"}";
    assert_eq!(gateway.counted(answered).await, 2);
    let forwarded: Vec<Value> =
        gateway.end().await.0.iter().map(|record| record["end"]["forwarded"].clone()).collect();
    assert_eq!(forwarded, ["yes", "yes", "no", "no", "no", "no"]);
}

#[tokio::test]
async fn the_owner_of_the_credential_is_never_shown() {
    let leaky = http(
        200,
        &format!("content-type: application/json\r\nx-owner: {OWNER}\r\ntrailer-x-owner: {OWNER}\r\n"),
        &value!({"subject": {"id": OWNER, "name": OWNER}, "organizationId": ACME, "owner": OWNER})
            .to_string(),
    );
    let upstream = Upstream::start([Answer::Bytes(leaky)]).await;
    let gateway = Gateway::with(upstream.address, |config| {
        unknown_organizations(config);
        config.upstream.response_metadata = vec!["x-owner".to_owned()];
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..2 {
        let request = raw
            .bare(&format!("/{METHOD}"))
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {ACME_KEY}"));
        let answered = raw.call(request, frame(0, b"")).await;
        assert_eq!(answered.grpc().code(), Code::Ok);
        let body = String::from_utf8_lossy(&answered.body);
        assert!(body.contains(ACME) && !body.contains(OWNER), "{body}");
        assert!(!format!("{:?} {:?}", answered.headers, answered.trailers).contains(OWNER), "{answered:?}");
    }
    let audit = format!("{:?}", gateway.end().await);
    assert!(!audit.contains(OWNER), "{audit}");
}

#[tokio::test]
async fn a_failure_is_told_and_not_remembered() {
    let bad = |status, body| Answer::Bytes(json(status, &body));
    let (unavailable, denied) = (
        value!({"code": "unavailable", "message": format!("{OWNER} is throttled")}),
        value!({"code": "unauthenticated", "message": "no such token"}),
    );
    let cases = [
        (bad(200, value!({"subject": {"id": OWNER}})), Code::Internal, Some("UPSTREAM_INVALID_RESPONSE")),
        (bad(200, value!({"organizationId": ""})), Code::Internal, Some("UPSTREAM_INVALID_RESPONSE")),
        (bad(200, value!({"organizationId": 7})), Code::Internal, Some("UPSTREAM_INVALID_RESPONSE")),
        (bad(503, unavailable), Code::Unavailable, None),
        (bad(401, denied), Code::Internal, Some("UPSTREAM_CREDENTIAL")),
        (Answer::Reset(Vec::new()), Code::Unavailable, None),
    ];
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with(upstream.address, unknown_organizations).await;
    let mut acme = client(&gateway, ACME_KEY).await;
    let failures = cases.len();
    for (answer, code, reason) in cases {
        upstream.then(answer);
        let status = ask(&mut acme).await.unwrap_err();
        assert_eq!((status.code(), status.reason().as_deref()), (code, reason), "{status:?}");
        assert!(!format!("{status:?}").contains(OWNER), "{status:?}");
    }
    upstream.then(says(ACME));
    is_the_caller(ask(&mut acme).await.unwrap().get_ref(), ACME, "enterprise");
    is_the_caller(ask(&mut acme).await.unwrap().get_ref(), ACME, "enterprise");
    assert_eq!(upstream.seen().len(), failures + 1);
}

#[tokio::test]
async fn asking_upstream_takes_no_longer_than_the_caller_waits() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let gateway = Gateway::with(upstream.address, unknown_organizations).await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = raw
        .bare(&format!("/{METHOD}"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "200m")
        .header("authorization", format!("Bearer {ACME_KEY}"));
    let late = raw.call(request, frame(0, b"")).await.grpc();
    assert_eq!((late.code(), late.reason().as_deref()), (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED")));
    upstream.abandoned(1).await;
}

#[tokio::test]
async fn it_is_held_to_identity_rate_and_message_like_any_other_call() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with_policy(upstream.address, &policy::tight("acme"), configured).await;
    let stranger = ask(&mut client(&gateway, "pgw_nobody").await).await.unwrap_err();
    assert_eq!(stranger.reason().as_deref(), Some("UNAUTHENTICATED"));
    let mut raw = Raw::connect(gateway.address).await;
    let request = raw
        .bare(&format!("/{METHOD}"))
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {ACME_KEY}"));
    let malformed = raw.call(request, frame(0, &[0x98])).await.grpc();
    assert_eq!(malformed.reason().as_deref(), Some("MALFORMED_MESSAGE"));
    let mut acme = client(&gateway, ACME_KEY).await;
    let mut refused = None;
    // One passes in a second; a busy machine may take long over a few.
    for _ in 0..100 {
        if let Err(status) = ask(&mut acme).await {
            refused = Some(status);
            break;
        }
    }
    assert_eq!(refused.unwrap().reason().as_deref(), Some("RATE_LIMITED"));
    assert!(upstream.seen().is_empty());
}
