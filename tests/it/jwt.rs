//! Callers known by JSON Web Tokens, through the whole gateway. The attack table itself is a unit test of the room.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use prebuild_gateway::{config::Config, sandbox::Rules};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::{
    harness::{
        ACME_KEY, Gateway, Sandboxed, Told as _, Upstream,
        raw::{Answered, Raw, frame},
        soon,
        spoken::DIALECTS,
    },
    strangers::{body, bytes, with},
};

#[path = "../../src/identity/jwt/tests/forge.rs"]
mod forge;
#[path = "../../src/identity/jwks/tests/issuer.rs"]
mod issuer;

use forge::{RSA, Signer, at, jwks};
use issuer::{Issuer, ok};

const ISSUER: &str = "https://idp.example.com";
const FETCHES: &str = "prebuild_gateway_jwks_fetches_total{issuer=\"idp\",result=";
const PROMISED: Duration = Duration::from_secs(1);

/// One entry whose keys are at `source`.
fn entry(source: &str) -> String {
    format!(
        "[[identity.jwt]]\nid = 'idp'\nissuer = '{ISSUER}'\naudiences = ['gateway']\norg_claim = 'org'\n{source}\n"
    )
}

async fn gateway(upstream: &Sandboxed, source: &str) -> Gateway {
    let parsed: toml::Table = toml::from_str(&entry(source)).unwrap();
    let entries = parsed["identity"]["jwt"].clone().try_into().unwrap();
    Gateway::with(upstream.address, |config| config.identity.jwt = entries).await
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "gateway", "sub": "ada@example.com", "exp": at(600), "org": "acme"})
}

fn signed(signer: &Signer, key: &str) -> String {
    signer.token(&json!({"alg": "ES256", "typ": "JWT", "kid": key}), &claims())
}

/// How a read by that token ends.
async fn by(raw: &mut Raw, token: &str) -> Status {
    called(raw, token).await.grpc()
}

async fn called(raw: &mut Raw, token: &str) -> Answered {
    let request = raw
        .bare("/gitpod.v1.PrebuildService/ListPrebuilds")
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {token}"));
    raw.call(request, frame(0, b"")).await
}

async fn until(raw: &mut Raw, token: &str, code: Code) {
    soon(async { while by(raw, token).await.code() != code {} }).await;
}

/// Puts a file beside, and then in the place of the old one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(new, path).unwrap();
}

fn key_file(keys: &[Value]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    replace(&path, &jwks(keys));
    (directory, path)
}

#[tokio::test]
async fn a_token_calls_for_its_org_and_its_subject_is_on_record() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let signers = [("ES256", Signer::p256()), ("ES384", Signer::p384()), ("EdDSA", Signer::ed())];
    let (_directory, path) = key_file(&signers.each_ref().map(|(name, signer)| signer.jwk(name)));
    let source = format!("jwks_file = '{}'\nalgorithms = ['ES256', 'ES384', 'EdDSA']", path.display());
    let gateway = gateway(&upstream, &source).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut id = String::new();
    for (name, signer) in &signers {
        let token = signer.token(&json!({"alg": name, "typ": "JWT", "kid": name}), &claims());
        let answered = called(&mut raw, &token).await;
        assert_eq!(answered.grpc().code(), Code::Ok, "{name}");
        id = answered.id();
    }
    assert_eq!(by(&mut raw, ACME_KEY).await.code(), Code::Ok, "keys count beside it");
    let audited = gateway.end().await;
    let record = audited.of(&id)[0];
    assert_eq!(
        json!([record["org"], record["subject"], record["credential"]]),
        json!(["acme", "ada@example.com", "idp"])
    );
    let all = format!("{audited:?}");
    assert!(!all.contains("eyJ"), "a token is on record: {all}");
}

/// What is wrong with a token is told to nobody, in no protocol.
#[tokio::test]
async fn a_bad_token_is_answered_as_a_made_up_key_is() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let (signer, forger) = (Signer::p256(), Signer::p256());
    let (_directory, path) = key_file(&[signer.jwk("es"), RSA.jwk("rsa")]);
    let gateway = gateway(&upstream, &format!("jwks_file = '{}'", path.display())).await;
    let good = json!({"alg": "ES256", "typ": "JWT", "kid": "es"});
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signer.token(&good, &claims)
    };
    let tokens = [
        "pgw_made-up".to_owned(),
        signed(&forger, "es"),
        signed(&signer, "../../etc/passwd"),
        changed("exp", json!(at(-600))),
        changed("nbf", json!(at(600))),
        changed("aud", json!("else")),
        changed("iss", json!("https://evil.example.com")),
        changed("org", json!("initech")),
        changed("sub", json!("a\u{a0}b")),
        signer.token(&json!({"alg": "none", "typ": "JWT"}), &claims()),
        signer.token(&json!({"alg": "RS256", "typ": "JWT", "kid": "es"}), &claims()),
        signer.token(&json!({"alg": "ES256", "typ": "JWT", "kid": "es", "jwk": forger.jwk("es")}), &claims()),
        signer.token(&json!({"alg": "ES256", "typ": "JWT", "kid": "es", "crit": ["exp"]}), &claims()),
        format!("{}.{}", signed(&signer, "es"), signed(&signer, "es")),
    ];
    let mut raw = Raw::connect(gateway.address).await;
    for dialect in DIALECTS {
        let mut told: Option<String> = None;
        for token in &tokens {
            let value = format!("Bearer {token}");
            let request = with(dialect.request(&raw, "GetPrebuild"), &[&value]);
            let answered = raw.call(request, body(dialect)).await;
            let bytes = bytes(dialect, &answered);
            assert!(!bytes.contains("JWT"), "{bytes}");
            assert_eq!(&bytes, told.get_or_insert_with(|| bytes.clone()), "{token} in {}", dialect.0);
        }
    }
}

#[tokio::test]
async fn no_token_says_where_the_gateway_goes() {
    let upstream = Upstream::start([]).await;
    let signer = Signer::p256();
    let (issuer, elsewhere) = (
        Issuer::start(ok(&jwks(&[signer.jwk("es")]))).await,
        Issuer::start(ok(&jwks(&[signer.jwk("evil")]))).await,
    );
    let entries: toml::Table = toml::from_str(&entry(&format!("jwks_url = '{}'", issuer.url))).unwrap();
    let entries: Vec<_> = entries["identity"]["jwt"].clone().try_into().unwrap();
    let gateway = Gateway::with(upstream.address, |config| config.identity.jwt = entries).await;
    let mut raw = Raw::connect(gateway.address).await;
    let url = elsewhere.url.as_str();
    for more in [
        json!({"jku": url}),
        json!({"x5u": url}),
        json!({"jku": url, "kid": "evil"}),
        json!({"kid": url}),
        json!({"kid": "evil"}),
        json!({"crit": ["jku"], "jku": url}),
        json!({"jwk": {"kty": "EC", "jku": url}}),
        json!({"x5c": [url]}),
    ] {
        for name in ["iss", "sub", "jku", "jwks_uri"] {
            let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "es"});
            for (name, value) in more.as_object().unwrap() {
                header[name] = value.clone();
            }
            let mut claims = claims();
            claims[name] = url.into();
            let status = by(&mut raw, &signer.token(&header, &claims)).await;
            assert_eq!(status.code(), Code::Unauthenticated, "{header} {claims}");
        }
    }
    assert_eq!(elsewhere.asked(), 0);
    assert_eq!(issuer.asked(), 1, "at start, and not again within the interval");
    assert!(upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_made_up_key_ids_are_refused_cheaply_and_fail_no_call_by_a_key_that_is_known() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let signer = Arc::new(Signer::p256());
    let issuer = Issuer::start(ok(&jwks(&[signer.jwk("es")]))).await;
    let began = Instant::now();
    let source = format!("jwks_url = '{}'\njwks_min_interval = '500ms'", issuer.url);
    let gateway = gateway(&upstream, &source).await;
    until(&mut Raw::connect(gateway.address).await, &signed(&signer, "es"), Code::Ok).await;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut raw = Raw::connect(gateway.address).await;
    let valid = tokio::spawn({
        let (stop, served, signer) = (stop.clone(), served.clone(), signer.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                // Another token each time: nothing of it is known yet.
                assert_eq!(by(&mut raw, &signed(&signer, "es")).await.code(), Code::Ok);
                served.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut flood = Vec::new();
    for part in 0..4 {
        let (mut raw, forger) = (Raw::connect(gateway.address).await, Signer::p256());
        flood.push(tokio::spawn(async move {
            for count in 0..250 {
                let status = by(&mut raw, &signed(&forger, &format!("made-up-{part}-{count}"))).await;
                assert_eq!(status.code(), Code::Unauthenticated);
            }
        }));
    }
    for flood in flood {
        flood.await.unwrap();
    }
    let fetches = issuer.asked();
    let most = 1 + began.elapsed().as_millis() / 500;
    assert!(fetches as u128 <= most, "{fetches} fetches, {most} at most");
    stop.store(true, Ordering::Relaxed);
    valid.await.unwrap();
    assert!(served.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_key_that_is_taken_out_stops_working_on_an_open_connection() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let (old, stays) = (Signer::p256(), Signer::p256());
    let (_directory, path) = key_file(&[old.jwk("old"), stays.jwk("stays")]);
    let gateway = gateway(&upstream, &format!("jwks_file = '{}'", path.display())).await;
    let mut raw = Raw::connect(gateway.address).await;
    let (by_old, by_other) = (signed(&old, "old"), signed(&stays, "stays"));
    for _ in 0..3 {
        assert_eq!(by(&mut raw, &by_old).await.code(), Code::Ok);
        replace(&path, &jwks(&[stays.jwk("stays")]));
        let removed = Instant::now();
        until(&mut raw, &by_old, Code::Unauthenticated).await;
        assert!(removed.elapsed() < PROMISED, "{:?}", removed.elapsed());
        assert_eq!(by(&mut raw, &by_other).await.code(), Code::Ok);
        // Half a set is not taken.
        replace(&path, "{\"keys\": [");
        soon(async { while gateway.check("identity.jwt[0].jwks_file").await.0["ok"] == true {} }).await;
        assert_eq!(by(&mut raw, &by_other).await.code(), Code::Ok);
        replace(&path, &jwks(&[old.jwk("old"), stays.jwk("stays")]));
        until(&mut raw, &by_old, Code::Ok).await;
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_needed() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let (old, new) = (Signer::p256(), Signer::p256());
    let issuer = Issuer::start(ok(&jwks(&[old.jwk("old")]))).await;
    let source =
        format!("jwks_url = '{}'\njwks_min_interval = '100ms'\njwks_max_interval = '24h'", issuer.url);
    let gateway = gateway(&upstream, &source).await;
    let mut raw = Raw::connect(gateway.address).await;
    until(&mut raw, &signed(&old, "old"), Code::Ok).await;
    issuer.says(ok(&jwks(&[new.jwk("new")])));
    until(&mut raw, &signed(&new, "new"), Code::Ok).await;
    assert_eq!(by(&mut raw, &signed(&old, "old")).await.code(), Code::Unauthenticated);
    // The issuer is gone: its last keys stay.
    issuer.says(Some("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned()));
    soon(async {
        while gateway.counted(&format!("{FETCHES}\"failed\"}}")).await == 0 {
            assert_eq!(by(&mut raw, &signed(&old, "old")).await.code(), Code::Unauthenticated);
        }
    })
    .await;
    assert_eq!(by(&mut raw, &signed(&new, "new")).await.code(), Code::Ok);
    let (check, ready) = gateway.check("identity.jwt[0].jwks_url").await;
    assert_eq!((&check["ok"], ready), (&json!(false), true), "{check}");
    assert_eq!(gateway.counted(&format!("{FETCHES}\"changed\"}}")).await, 2);
}

/// It cannot be told who calls: that is no refusal of the credentials.
#[tokio::test]
async fn without_any_keys_a_token_is_unavailable_and_not_refused() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let signer = Signer::p256();
    let issuer = Issuer::start(Some("HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n".to_owned())).await;
    let gateway =
        gateway(&upstream, &format!("jwks_url = '{}'\njwks_min_interval = '100ms'", issuer.url)).await;
    let mut raw = Raw::connect(gateway.address).await;
    let status = by(&mut raw, &signed(&signer, "es")).await;
    assert_eq!(
        (status.code(), status.reason().as_deref()),
        (Code::Unavailable, Some("IDENTITY_UNAVAILABLE"))
    );
    assert_eq!(status.pushback(), None, "nothing says that it must not be tried again");
    // What can be told without them is told.
    assert_eq!(by(&mut raw, ACME_KEY).await.code(), Code::Ok);
    let none = signer.token(&json!({"alg": "none", "typ": "JWT"}), &claims());
    assert_eq!(by(&mut raw, &none).await.code(), Code::Unauthenticated);
    issuer.says(ok(&jwks(&[signer.jwk("es")])));
    until(&mut raw, &signed(&signer, "es"), Code::Ok).await;
}

fn closed(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The shipped example, with its paths and URLs put where this test has them.
#[tokio::test]
async fn the_example_is_served_with() {
    const EXAMPLE: &str = include_str!("../../deploy/identity-jwt.example.toml");
    let upstream = Sandboxed::start(Rules::default()).await;
    let person = Signer::p256();
    let issuer = Issuer::start(ok(&jwks(&[person.jwk("es"), RSA.jwk("github")]))).await;
    let (directory, path) = key_file(&[RSA.jwk("cluster")]);
    let token = closed(&directory, "acme-token", crate::harness::ACME_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| {
        let text = EXAMPLE
            .replace("https://idp.example.com/.well-known/jwks.json", &issuer.url)
            .replace("https://token.actions.githubusercontent.com/.well-known/jwks", &issuer.url)
            .replace("/etc/prebuild-gateway/cluster-jwks.json", &path.display().to_string())
            .replace("/run/secrets/acme-token", &token.display().to_string())
            .replace("GLOBEX_TOKEN", "globex");
        let mut example = Config::parse(&text).unwrap();
        example.audit.clone_from(&config.audit);
        example.upstream.clone_from(&config.upstream);
        *config = example;
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    let claims = |scope: &str, group: &str| {
        json!({
            "iss": "https://idp.example.com", "aud": ["prebuild-gateway"], "exp": at(600), "sub": "0001",
            "group": {"name": group}, "scope": scope,
        })
    };
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "es"});
    for (scope, group, code) in [
        ("openid read", "acme-inc", Code::Ok),
        ("read", "globex-corp", Code::Ok),
        ("openid mutate", "acme-inc", Code::PermissionDenied),
        ("read", "acme", Code::Unauthenticated),
    ] {
        until(&mut raw, &person.token(&header, &claims(scope, group)), code).await;
    }
    for (owner, code) in [("9919", Code::Ok), ("1", Code::Unauthenticated)] {
        let job = json!({
            "iss": "https://token.actions.githubusercontent.com", "aud": "prebuild-gateway", "exp": at(300),
            "sub": "repo:acme/app:environment:Production EU", "repository_owner": "acme",
            "repository_owner_id": owner,
        });
        let token = RSA.token(&json!({"alg": "RS256", "typ": "JWT", "kid": "github"}), &job);
        until(&mut raw, &token, code).await;
    }
    let account = |namespace: &str| {
        json!({
            "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["prebuild-gateway"], "iat": at(-60),
            "nbf": at(-60), "exp": at(3540), "sub": format!("system:serviceaccount:{namespace}:builder"),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": "builder", "uid": "0198c0de"}},
        })
    };
    let header = json!({"alg": "RS256", "kid": "cluster"});
    let mounted = |namespace: &str| RSA.token(&header, &account(namespace));
    // Any pod may mount a token for this audience.
    assert_eq!(by(&mut raw, &mounted("default")).await.code(), Code::Unauthenticated);
    let answered = called(&mut raw, &mounted("acme-ci")).await;
    assert_eq!(answered.grpc().code(), Code::Ok);
    let id = answered.id();
    let audited = gateway.end().await;
    assert_eq!(audited.of(&id)[0]["subject"], "system:serviceaccount:acme-ci:builder");
}

/// Secrets, as people and scripts break them on the way into a header.
#[tokio::test]
async fn a_broken_token_of_an_issuers_or_key_never_goes_upstream_as_its_own() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let signer = Signer::p256();
    let (_directory, path) = key_file(&[signer.jwk("k")]);
    let parsed: toml::Table = toml::from_str(&entry(&format!("jwks_file = '{}'", path.display()))).unwrap();
    let entries: Vec<_> = parsed["identity"]["jwt"].clone().try_into().unwrap();
    let gateway = Gateway::with(upstream.address, |config| {
        config.identity.jwt = entries;
        config.identity.upstream_tokens.enabled = true;
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    let good = signed(&signer, "k");
    assert_eq!(by(&mut raw, &good).await.code(), Code::Ok);
    let before = upstream.sandbox.seen().len();
    let parts: Vec<&str> = good.split('.').collect();
    let with = |payload: &str| format!("{}.{payload}.{}", parts[0], parts[2]);
    let of = |claims: Value| with(&URL_SAFE_NO_PAD.encode(claims.to_string()));
    let padded =
        URL_SAFE.encode(format!("{}{}", claims(), " ".repeat(3 - claims().to_string().len() % 3 - 1)));
    assert!(padded.ends_with('='), "{padded}");
    for token in [
        with(&padded),
        format!("{good}.x"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{good}=="),
        format!("{good},"),
        format!("\"{good}\""),
        of(json!({"iss": [ISSUER], "aud": "gateway", "sub": "ada"})),
        of(json!({"aud": "gateway", "sub": "ada"})),
        with("+/+/"),
        format!("\"{ACME_KEY}\""),
        format!("token={ACME_KEY}"),
    ] {
        assert_eq!(by(&mut raw, &token).await.code(), Code::Unauthenticated, "{token}");
        assert_eq!(upstream.sandbox.seen().len(), before, "{token}");
    }
    // Those of others are for upstream to judge.
    assert_eq!(by(&mut raw, &of(json!({"iss": "https://upstream"}))).await.code(), Code::Unauthenticated);
    assert_eq!(upstream.sandbox.seen().len(), before + 1);
}
