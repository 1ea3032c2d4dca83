//! Callers known by tokens of upstream's own, which the gateway passes on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::request::Builder;
use prebuild_gateway::{
    config::Config,
    identity::{Expiry, api_key::KeyHash},
    proto::gitpod::v1::{GetAuthenticatedIdentityResponse, ListPrebuildsRequest, Principal},
    sandbox::{Org, Rules},
};
use prost::Message as _;
use serde_json::json as value;

use crate::harness::{
    ACME_KEY, ACME_TOKEN, Answer, Gateway, Sandboxed, Told, Upstream, json,
    raw::{Raw, frame},
    soon,
    spoken::{DIALECTS, Dialect},
};

mod abuse;
mod orgs;

const GRPC: Dialect = Dialect("application/grpc");
const JSON: Dialect = Dialect("application/json");
const JANE: &str = "0198c0de-0000-7000-8000-00000000a11e";
/// Jane's token: nothing but requests upstream may ever have it.
const TOKEN: &str = "CANARY-token-of-jane";
const LOOK_UPS: &str = "prebuild_gateway_upstream_token_lookups_total";
const ALARM: &str = r#"prebuild_gateway_upstream_credential_refused_total{org="acme"}"#;
const ASKS: &str = "GetAuthenticatedIdentity";

/// Claims of a caller's that must travel nowhere.
const CLAIMS: [(&str, &str); 5] = [
    ("x-org-id", "globex"),
    ("x-forwarded-for", "203.0.113.9"),
    ("impersonate-user", "root"),
    ("cookie", "session=CANARY"),
    ("x-team", "platform"),
];

fn enabled(config: &mut Config) {
    config.identity.upstream_tokens.enabled = true;
}

struct Bench {
    upstream: Sandboxed,
    gateway: Gateway,
    raw: Raw,
}

impl Bench {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let upstream = Sandboxed::start(Rules::default()).await;
        assert!(upstream.sandbox.issue(upstream.acme.organization_id, TOKEN, Some(JANE)));
        let gateway = Gateway::with(upstream.address, |config| {
            enabled(config);
            change(config);
        })
        .await;
        let raw = Raw::connect(gateway.address).await;
        Self { upstream, gateway, raw }
    }

    /// How a list by that token ends: the reason of the gateway's own, or nothing.
    async fn list(&mut self, token: &str) -> Result<(), String> {
        let answered = self.raw.call(by(&self.raw, "ListPrebuilds", token), frame(0, b"")).await;
        let result = GRPC.read(answered).result;
        result.map(|_| ()).map_err(|wrong| wrong.reason.expect("the gateway speaks"))
    }

    /// Who the gateway says that the caller is.
    async fn who(&mut self, token: &str) -> Result<GetAuthenticatedIdentityResponse, String> {
        let request = self
            .raw
            .bare(&format!("/gitpod.v1.IdentityService/{ASKS}"))
            .header("content-type", GRPC.0)
            .header("authorization", format!("Bearer {token}"));
        let result = GRPC.read(self.raw.call(request, frame(0, b"")).await).result;
        result
            .map(|message| GetAuthenticatedIdentityResponse::decode(message).unwrap())
            .map_err(|wrong| wrong.reason.expect("the gateway speaks"))
    }

    fn asked(&self) -> usize {
        self.upstream.sandbox.seen().iter().filter(|seen| seen.path.ends_with(ASKS)).count()
    }
}

fn by(raw: &Raw, method: &str, token: &str) -> Builder {
    raw.bare(&format!("/gitpod.v1.PrebuildService/{method}"))
        .header("content-type", GRPC.0)
        .header("authorization", format!("Bearer {token}"))
}

fn refused() -> Result<(), String> {
    Err("UNAUTHENTICATED".to_owned())
}

#[tokio::test]
async fn in_every_protocol_a_callers_own_token_is_what_upstream_gets() {
    let mut bench = Bench::start().await;
    let body: [Bytes; 2] = [Bytes::new(), Bytes::from_static(b"{}")];
    for dialect in DIALECTS {
        let mut request = bench
            .raw
            .bare("/gitpod.v1.PrebuildService/ListPrebuilds")
            .header("content-type", dialect.0)
            .header("authorization", format!("Bearer {TOKEN}"));
        for (name, claim) in CLAIMS {
            request = request.header(name, claim);
        }
        let message = dialect.body(&body[usize::from(dialect.is_json())]);
        let answered = bench.raw.call(request, message).await;
        assert!(!format!("{answered:?}").contains("CANARY"), "{answered:?}");
        assert!(dialect.read(answered).result.is_ok(), "{dialect:?}");
    }
    let seen = bench.upstream.sandbox.seen();
    assert_eq!(seen.len(), 1 + DIALECTS.len(), "one look-up for all");
    assert!(seen[0].path.ends_with(ASKS) && seen[0].body == "{}");
    for request in seen {
        assert_eq!(
            request.headers.get_all("authorization").iter().collect::<Vec<_>>(),
            [&format!("Bearer {TOKEN}")]
        );
        for (name, _) in CLAIMS {
            assert!(!request.headers.contains_key(name), "{name}: {request:?}");
        }
    }
    assert_eq!(bench.gateway.counted(&format!("{LOOK_UPS}{{result=\"known\"}}")).await, 1);
    let metrics = bench.gateway.metrics().await;
    let audited = bench.gateway.end().await;
    assert_eq!(audited.0.len(), DIALECTS.len());
    for record in &audited.0 {
        assert_eq!((&record["subject"], &record["org"]), (&value!(JANE), &value!("acme")));
        let credential = record["credential"].as_str().unwrap();
        assert!(credential.starts_with("upstream-token-") && credential.len() == 15 + 16, "{credential}");
    }
    assert!(!format!("{metrics}{audited:?}").contains("CANARY"), "the token shows");
}

#[tokio::test]
async fn only_tokens_of_exactly_one_org_are_good() {
    let initech = Org::demo("initech", "initech-token".into());
    let (acme, globex) = (Org::demo("acme", ACME_TOKEN.into()), Org::demo("globex", "globex-token".into()));
    let organization = |org: &Org| {
        Answer::Bytes(json(
            200,
            &value!({"subject": {"id": "jane"},
        "organizationId": org.organization_id.to_string()}),
        ))
    };
    let said = |body| Answer::Bytes(json(200, &body));
    let id = acme.organization_id.to_string();
    let bad_subject = |subject| said(value!({"subject": subject, "organizationId": id}));
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with(upstream.address, enabled).await;
    let mut raw = Raw::connect(gateway.address).await;
    let cases = [
        ("of another organization", organization(&initech)),
        ("unknown", Answer::Bytes(json(401, &value!({"code": "unauthenticated", "message": "CANARY"})))),
        ("of none", said(value!({"subject": {"id": "jane"}}))),
        ("nothing said", said(value!({}))),
        ("may not ask", Answer::Bytes(json(403, &value!({"code": "permission_denied"})))),
        ("nobody's", said(value!({"organizationId": id}))),
        ("without an id", bad_subject(value!({"principal": "PRINCIPAL_USER"}))),
        ("with a name that is none", bad_subject(value!({"id": "two words"}))),
        ("with a long name", bad_subject(value!({"id": "x".repeat(256)}))),
    ];
    let mut answers = Vec::new();
    for (number, (case, answer)) in cases.into_iter().enumerate() {
        upstream.then(answer);
        let token = format!("{TOKEN}-{number}");
        for _ in 0..2 {
            let answered = raw.call(by(&raw, "ListPrebuilds", &token), frame(0, b"")).await;
            let wrong = GRPC.read(answered).result.unwrap_err();
            assert_eq!((wrong.code, wrong.reason.as_deref()), (16, Some("UNAUTHENTICATED")), "{case}");
            answers.push(wrong);
        }
        assert_eq!(upstream.seen().len(), number + 1, "{case}: asked once");
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "all the same");
    // A failure of upstream's is no refusal, and is not remembered.
    for (status, body) in [(503, value!({"code": "unavailable"})), (200, value!([])), (302, value!({}))] {
        upstream.then(Answer::Bytes(json(status, &body)));
        let answered = raw.call(by(&raw, "ListPrebuilds", TOKEN), frame(0, b"")).await;
        let wrong = GRPC.read(answered).result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (14, Some("IDENTITY_UNAVAILABLE")), "{status}");
    }
    for (org, token) in [(&acme, TOKEN), (&globex, "CANARY-of-globex")] {
        upstream.then(organization(org));
        upstream.then(said(value!({})));
        assert_eq!(
            raw.call(by(&raw, "ListPrebuilds", token), frame(0, b"")).await.grpc().code(),
            tonic::Code::Ok
        );
    }
    let orgs: Vec<_> =
        gateway.end().await.0.iter().filter_map(|record| record["org"].as_str().map(str::to_owned)).collect();
    assert_eq!(orgs, ["acme", "globex"]);
}

#[tokio::test]
async fn the_caller_is_told_who_upstream_says_it_is() {
    let mut bench = Bench::start().await;
    let told = bench.who(TOKEN).await.unwrap();
    let subject = told.subject.as_ref().unwrap();
    assert_eq!((&*subject.id, subject.principal()), (JANE, Principal::User));
    assert_eq!(told.organization_id, bench.upstream.acme.organization_id.to_string());
    assert_eq!(told.organization_tier, "enterprise");
    // Who has a key is a service of the gateway's.
    let told = bench.who(ACME_KEY).await.unwrap();
    assert_eq!(told.subject.unwrap().principal(), Principal::ServiceAccount);
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn scopes_hold_for_them_too() {
    let mut bench = Bench::with(|config| {
        config.identity.upstream_tokens.scopes = vec!["read".to_owned().try_into().unwrap()];
    })
    .await;
    assert_eq!(bench.list(TOKEN).await, Ok(()));
    let request = by(&bench.raw, "CreatePrebuild", TOKEN);
    let create = crate::harness::create().encode_to_vec();
    let denied = bench.raw.call(request, frame(0, &create)).await.grpc();
    assert_eq!(denied.reason().as_deref(), Some("SCOPE_MISSING"));
}

#[tokio::test]
async fn a_look_up_of_a_pool_goes_by_the_callers_token_too() {
    let mut bench = Bench::start().await;
    let (project, class) = bench.upstream.place();
    let mut call = async |method: &str, body: serde_json::Value| {
        let request = bench
            .raw
            .bare(&format!("/gitpod.v1.PrebuildService/{method}"))
            .header("content-type", JSON.0)
            .header("authorization", format!("Bearer {TOKEN}"));
        let result = JSON.read(bench.raw.call(request, body.to_string()).await).result.unwrap();
        serde_json::from_slice::<serde_json::Value>(&result).unwrap()
    };
    let pool = value!({"projectId": project, "environmentClassId": class, "minSize": 1, "maxSize": 3});
    let id = call("CreateWarmPool", pool).await["warmPool"]["id"].clone();
    call("UpdateWarmPool", value!({"warmPoolId": id, "maxSize": 4})).await;
    let seen = bench.upstream.sandbox.seen();
    let methods: Vec<_> = seen.iter().map(|seen| seen.path.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(methods, [ASKS, "CreateWarmPool", "GetWarmPool", "UpdateWarmPool"]);
    assert!(seen.iter().all(|seen| seen.headers["authorization"] == format!("Bearer {TOKEN}")));
}

#[tokio::test]
async fn upstreams_401_is_the_callers_and_ends_what_is_known_at_once() {
    let mut bench = Bench::start().await;
    assert_eq!(bench.list(TOKEN).await, Ok(()));
    bench.upstream.sandbox.revoke(TOKEN);
    for _ in 0..3 {
        assert_eq!((bench.list(TOKEN).await, bench.asked()), (refused(), 1));
    }
    assert_eq!(bench.gateway.counted(ALARM).await, 0, "the org's credential is good");
    assert_eq!(bench.list(ACME_KEY).await, Ok(()));
    let audited = bench.gateway.end().await;
    let stages: Vec<_> = audited.0.iter().map(|record| record["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["outcome", "outcome", "reject", "outcome", "aggregate"]);
    assert_eq!(audited.0[1]["end"]["code"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn what_upstream_has_said_counts_for_its_time_and_no_longer() {
    let (ttl, refused_ttl) = (Duration::from_millis(400), Duration::from_millis(200));
    let mut bench = Bench::with(|config| {
        (config.identity.upstream_tokens.ttl, config.identity.upstream_tokens.refused_ttl) =
            (ttl, refused_ttl);
    })
    .await;
    let begun = Instant::now();
    bench.who(TOKEN).await.unwrap();
    bench.upstream.sandbox.revoke(TOKEN);
    // The gateway answers this one by itself, so that nothing but the time tells.
    soon(async { while bench.who(TOKEN).await.is_ok() {} }).await;
    assert!(begun.elapsed() >= ttl && bench.asked() == 2, "{:?}", begun.elapsed());
    bench.upstream.sandbox.issue(bench.upstream.acme.organization_id, TOKEN, Some(JANE));
    let issued = Instant::now();
    soon(async { while bench.who(TOKEN).await.is_err() {} }).await;
    assert!(issued.elapsed() <= refused_ttl + Duration::from_secs(2) && bench.asked() == 3);
}

#[tokio::test]
async fn keys_are_never_taken_for_tokens_of_upstreams() {
    let mut bench = Bench::with(|config| {
        let mut key = config.identity.api_keys[0].clone();
        key.id = "expired".into();
        key.sha256 = KeyHash::of("expired-and-unmarked");
        key.expires = Some(Expiry::try_from("2020-01-01T00:00:00Z").unwrap());
        config.identity.api_keys.push(key);
        config.server.max_header_list_size = 4 << 20;
    })
    .await;
    let long = "x".repeat(1 << 20);
    for token in ["pgw_made-up", "expired-and-unmarked", "two words", "", &long, &long[..(8 << 10) + 1]] {
        assert_eq!(bench.list(token).await, refused());
    }
    assert_eq!(bench.list(ACME_KEY).await, Ok(()));
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn unless_they_are_enabled_nobody_is_asked() {
    let mut bench = Bench::with(|config| config.identity.upstream_tokens.enabled = false).await;
    assert_eq!(bench.list(TOKEN).await, refused());
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn an_org_that_is_not_known_yet_is_asked_for() {
    let upstream = Sandboxed::start(Rules::default()).await;
    upstream.sandbox.issue(upstream.acme.organization_id, TOKEN, Some(JANE));
    let gateway = Gateway::with(upstream.address, |config| {
        enabled(config);
        crate::harness::unknown_organizations(config);
    })
    .await;
    let raw = Raw::connect(gateway.address).await;
    let mut bench = Bench { upstream, gateway, raw };
    assert_eq!(bench.list(TOKEN).await, Ok(()));
    assert_eq!(bench.asked(), 3, "the token's, and each org's");
    assert_eq!(bench.list(TOKEN).await, Ok(()));
    assert_eq!(bench.asked(), 3);
}
