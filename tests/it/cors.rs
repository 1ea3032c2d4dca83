//! Web pages: which may call, and what their scripts may read.

use http::{HeaderMap, Method, Request, StatusCode};
use prebuild_gateway::front::cors::Origin;
use serde_json::json;

use crate::harness::{
    Answer, Gateway, ID, Upstream, get, http as answer, json as answer_json,
    raw::{Raw, framed},
    shown, soon,
};

const PAGE: &str = "https://console.example.com";
const FOREIGN: &str = "https://evil.example.com";
const PATH: &str = "/gitpod.v1.PrebuildService/GetPrebuild";

async fn gateway(upstream: &Upstream, origins: &[&str]) -> Gateway {
    let origins: Vec<Origin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    Gateway::with(upstream.address, |config| {
        config.cors.origins = origins;
        config.upstream.response_metadata = vec!["x-team".to_owned()];
    })
    .await
}

/// A preflight as browsers send it: without the key that the call will have.
async fn preflight(gateway: &Gateway, origin: &str) -> (StatusCode, HeaderMap) {
    let mut raw = Raw::connect(gateway.address).await;
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(format!("http://{}{PATH}", gateway.address))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,connect-protocol-version,content-type");
    let answered = soon(raw.begin(request, Some("".into())).await.answered()).await;
    (answered.status, answered.headers)
}

/// What a header says, in one line and lower case.
fn said(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
    values.join(",").to_ascii_lowercase()
}

fn names(headers: &HeaderMap, name: &str) -> Vec<String> {
    said(headers, name).split(',').map(|name| name.trim().to_owned()).collect()
}

fn is_silent(headers: &HeaderMap) -> bool {
    headers.keys().all(|name| !name.as_str().starts_with("access-control-") && name != "vary")
}

#[tokio::test]
async fn a_preflight_of_an_allowed_page_is_answered_without_a_key_and_is_no_call() {
    let upstream = Upstream::start([]).await;
    let gateway = gateway(&upstream, &["http://localhost:3000", PAGE]).await;
    let (status, headers) = preflight(&gateway, PAGE).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(said(&headers, "access-control-allow-origin"), PAGE);
    assert_eq!(names(&headers, "access-control-allow-methods"), ["get", "post"]);
    assert_eq!(
        names(&headers, "access-control-allow-headers"),
        ["authorization", "connect-protocol-version", "content-type"]
    );
    assert_eq!(said(&headers, "access-control-max-age"), "7200");
    assert!(!headers.contains_key("access-control-allow-credentials"), "no cookie is ever wanted");
    assert!(names(&headers, "vary").contains(&"origin".to_owned()), "{headers:?}");
    assert!(!headers.contains_key("x-request-id"), "it is no request of ours");
    assert!(!gateway.metrics().await.contains("prebuild_gateway_requests_total{"), "nor counted as one");
    assert!(gateway.end().await.0.is_empty(), "nor on record");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_foreign_page_is_not_allowed() {
    let upstream = Upstream::start([nothing()]).await;
    let gateway = gateway(&upstream, &[PAGE]).await;
    for foreign in [FOREIGN, "null", "http://console.example.com", "https://console.example.com.evil.example"]
    {
        let (_, headers) = preflight(&gateway, foreign).await;
        assert!(!headers.contains_key("access-control-allow-origin"), "{foreign}: {headers:?}");
        assert!(names(&headers, "vary").contains(&"origin".to_owned()), "{foreign}: {headers:?}");
    }
    // Whether the browser shows the answer is all that CORS decides; the call itself has its key.
    let mut raw = Raw::connect(gateway.address).await;
    let answered = raw.call(raw.grpc("GetPrebuild").header("origin", FOREIGN), framed(&get())).await;
    assert!(!answered.headers.contains_key("access-control-allow-origin"));
}

fn nothing() -> Answer {
    Answer::Bytes(shown())
}

#[tokio::test]
async fn scripts_may_read_what_is_said_of_a_call_good_or_bad() {
    let body = json!({"prebuild": {"id": ID}}).to_string();
    let upstream = Upstream::start([
        Answer::Bytes(answer(200, "content-type: application/json\r\nx-team: blue\r\n", &body)),
        Answer::Bytes(answer_json(404, &json!({"code": "not_found", "message": "no"}))),
    ])
    .await;
    let gateway = gateway(&upstream, &[PAGE]).await;
    let mut raw = Raw::connect(gateway.address).await;
    let good = raw.call(raw.grpc("GetPrebuild").header("origin", PAGE), framed(&get())).await;
    let bad = raw.call(raw.grpc("GetPrebuild").header("origin", PAGE), framed(&get())).await;
    let stranger = raw.bare(PATH).header("content-type", "application/grpc").header("origin", PAGE);
    let stranger = raw.call(stranger, framed(&get())).await;
    assert_eq!(said(&good.headers, "x-team"), "blue");
    assert_eq!(bad.grpc().code(), tonic::Code::NotFound);
    assert_eq!(stranger.grpc().code(), tonic::Code::Unauthenticated);
    for answered in [good, bad, stranger] {
        assert_eq!(said(&answered.headers, "access-control-allow-origin"), PAGE);
        assert!(names(&answered.headers, "vary").contains(&"origin".to_owned()), "{answered:?}");
        let mut exposed = names(&answered.headers, "access-control-expose-headers");
        exposed.sort();
        assert_eq!(
            exposed,
            [
                "grpc-accept-encoding",
                "grpc-encoding",
                "grpc-message",
                "grpc-retry-pushback-ms",
                "grpc-status",
                "grpc-status-details-bin",
                "ratelimit",
                "ratelimit-policy",
                "ratelimit-retryafter",
                "retry-after",
                "retry-after-ms",
                "trailer-ratelimit-retryafter",
                "trailer-retry-after",
                "trailer-retry-after-ms",
                "trailer-x-should-retry",
                "trailer-x-team",
                "x-dropped-fields",
                "x-policy-warning",
                "x-request-id",
                "x-should-retry",
                "x-team",
            ]
        );
    }
}

#[tokio::test]
async fn any_page_may_call_where_the_config_says_so() {
    let upstream = Upstream::start([nothing()]).await;
    let gateway = gateway(&upstream, &["*"]).await;
    let (_, headers) = preflight(&gateway, FOREIGN).await;
    assert_eq!(said(&headers, "access-control-allow-origin"), "*");
    let mut raw = Raw::connect(gateway.address).await;
    let answered = raw.call(raw.grpc("GetPrebuild").header("origin", FOREIGN), framed(&get())).await;
    assert_eq!(said(&answered.headers, "access-control-allow-origin"), "*");
}

#[tokio::test]
async fn without_configured_origins_there_is_no_cors() {
    let upstream = Upstream::start([nothing()]).await;
    let gateway = gateway(&upstream, &[]).await;
    let (status, headers) = preflight(&gateway, PAGE).await;
    assert!(is_silent(&headers) && !status.is_success(), "{status} {headers:?}");
    let mut raw = Raw::connect(gateway.address).await;
    let answered = raw.call(raw.grpc("GetPrebuild").header("origin", PAGE), framed(&get())).await;
    assert_eq!(answered.grpc().code(), tonic::Code::Ok);
    assert!(is_silent(&answered.headers), "{:?}", answered.headers);
}
