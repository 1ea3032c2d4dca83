//! Whoever is not known is told the same, byte for byte, whatever is wrong; and nobody is known by anything but a key.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, request::Builder};
use prebuild_gateway::{
    config::Config,
    identity::{Expiry, api_key::KeyHash},
};
use serde_json::json as value;

use crate::harness::{
    ACME_KEY, ACME_TOKEN, Answer, GLOBEX_KEY, Gateway, ID, Upstream, get,
    raw::{Answered, Raw},
    shown,
    spoken::{DIALECTS, Dialect},
};

const EXPIRED_KEY: &str = "pgw_expired-key";
/// Headers by which other systems let callers say who they are, or whom they speak for.
const CLAIMS: [(&str, &str); 14] = [
    ("x-org-id", "globex"),
    ("x-organization-id", "globex"),
    ("x-user", "root"),
    ("x-remote-user", "root"),
    ("x-api-key", GLOBEX_KEY),
    ("x-authorization", GLOBEX_KEY),
    ("proxy-authorization", GLOBEX_KEY),
    ("cookie", "authorization=pgw_globex-key"),
    ("forwarded", "for=203.0.113.9"),
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-user", "root"),
    ("x-forwarded-client-cert", "URI=spiffe://globex/ci"),
    ("impersonate-user", "root"),
    ("impersonate-group", "system:masters"),
];

/// One more key of acme's, which has ended.
fn with_expired(config: &mut Config) {
    let mut key = config.identity.api_keys[0].clone();
    key.id = "expired".into();
    key.sha256 = KeyHash::of(EXPIRED_KEY);
    key.expires = Some(Expiry::try_from("2020-01-01T00:00:00Z").unwrap());
    config.identity.api_keys.push(key);
    // Only so that a token of 1 MiB comes as far as identity.
    config.server.max_header_list_size = 4 << 20;
}

pub(crate) fn body(dialect: Dialect) -> bytes::Bytes {
    let json = value!({ "prebuildId": ID }).to_string();
    let wire = prost::Message::encode_to_vec(&get());
    dialect.body(if dialect.is_json() { json.as_bytes() } else { &wire })
}

/// The request with these `authorization` headers and no others.
pub(crate) fn with(mut request: Builder, values: &[&str]) -> Builder {
    request.headers_mut().unwrap().remove("authorization");
    values.iter().fold(request, |request, value| request.header("authorization", *value))
}

/// All bytes of an answer but its time and its request id, which is looked for inside base64, too.
pub(crate) fn bytes(dialect: Dialect, answered: &Answered) -> String {
    let id = answered.id();
    let lines = |headers: &HeaderMap| {
        let mut lines: Vec<_> = headers
            .iter()
            .filter(|(name, _)| *name != "date")
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines.join("\n")
    };
    let mut content = String::from_utf8_lossy(&answered.body).into_owned();
    if dialect.0.contains("-text") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(&answered.body).unwrap();
        content = String::from_utf8_lossy(&decoded).into_owned();
    }
    let (headers, trailers) = (lines(&answered.headers), lines(&answered.trailers));
    let text = format!("{}\n{headers}\n\n{content}\n\n{trailers}", answered.status);
    without(&text, &id)
}

fn without(text: &str, id: &str) -> String {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/".contains(c);
    let plain = text.replace(id, "ID");
    let mut masked = String::new();
    let mut found = 0;
    for piece in plain.split_inclusive(|c| !is_base64(c)) {
        let token = piece.trim_end_matches(|c| !is_base64(c));
        let decoded = STANDARD_NO_PAD.decode(token).ok().filter(|_| token.len() > id.len());
        match decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
            Some(inner) if inner.contains(id) => {
                found += 1;
                masked += &inner.replace(id, "ID");
                masked += &piece[token.len()..];
            }
            _ => masked += piece,
        }
    }
    assert!(found > 0, "the id stands in the details: {text}");
    masked
}

#[tokio::test]
async fn everything_unauthenticated_is_answered_with_the_same_bytes() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with(upstream.address, with_expired).await;
    let (good, other) = (format!("Bearer {ACME_KEY}"), format!("Bearer {GLOBEX_KEY}"));
    let long = format!("Bearer {}", "x".repeat(1 << 20));
    let (expired, hash) = (format!("Bearer {EXPIRED_KEY}"), format!("Bearer {}", KeyHash::of(ACME_KEY)));
    let cases: [(&str, &[&str]); 14] = [
        ("no header", &[]),
        ("empty", &[""]),
        ("the scheme alone", &["Bearer"]),
        ("another scheme", &["Basic YWNtZTpwZ3dfYWNtZS1rZXk="]),
        ("no scheme", &[ACME_KEY]),
        ("unknown", &["Bearer pgw_made-up"]),
        ("expired", &[&expired]),
        ("the hash of a key", &[&hash]),
        ("upstream's token", &["Bearer acme-token"]),
        ("1 MiB", &[&long]),
        ("a path and SQL", &["Bearer ../../etc/passwd' OR '1'='1"]),
        ("twice the same", &[&good, &good]),
        ("two that are known", &[&good, &other]),
        ("a known one last", &["Bearer pgw_made-up", &good]),
    ];
    let mut raw = Raw::connect(gateway.address).await;
    for dialect in DIALECTS {
        let mut told: Option<String> = None;
        for (name, values) in cases {
            let request = with(dialect.request(&raw, "GetPrebuild"), values);
            let answered = raw.call(request, body(dialect)).await;
            let bytes = bytes(dialect, &answered);
            let wrong = dialect.read(answered).result.unwrap_err();
            assert_eq!((wrong.code, wrong.reason.as_deref()), (16, Some("UNAUTHENTICATED")), "{name}");
            assert_eq!(&bytes, told.get_or_insert_with(|| bytes.clone()), "{name} in {}", dialect.0);
        }
    }
    assert!(upstream.seen().is_empty());
}

/// As the listener is by default, a token of that size does not even come so far, and harms nobody.
#[tokio::test]
async fn a_token_of_a_megabyte_is_refused_and_others_are_served() {
    let upstream = Upstream::start([Answer::Bytes(shown())]).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut client = gateway.client().await;
    let mut raw = Raw::connect(gateway.address).await;
    let long = format!("Bearer {}", "x".repeat(1 << 20));
    let request = with(raw.grpc("GetPrebuild"), &[&long]);
    // The listener may answer, or end the connection.
    let pending = raw.begin(request, None).await;
    let answer = tokio::time::timeout(Duration::from_secs(20), pending.answer).await.expect("it ends");
    assert!(answer.is_err() || answer.unwrap().status() == 431);
    client.get_prebuild(get()).await.unwrap();
}

#[tokio::test]
async fn no_other_header_says_who_calls_and_none_travels_upstream() {
    for dialect in DIALECTS {
        let upstream = Upstream::start([Answer::Bytes(shown())]).await;
        let gateway = Gateway::start(upstream.address).await;
        let mut raw = Raw::connect(gateway.address).await;
        let claim = |request: Builder| {
            CLAIMS.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        let answered = raw.call(claim(dialect.request(&raw, "GetPrebuild")), body(dialect)).await;
        let id = answered.id();
        assert!(dialect.read(answered).result.is_ok(), "{dialect:?}");
        // Without a key they are worth nothing.
        let stranger = with(claim(dialect.request(&raw, "GetPrebuild")), &[]);
        let refused = dialect.read(raw.call(stranger, body(dialect)).await).result.unwrap_err();
        assert_eq!(refused.reason.as_deref(), Some("UNAUTHENTICATED"), "{dialect:?}");

        let seen = upstream.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].header("authorization"), Some(&*format!("Bearer {ACME_TOKEN}")));
        for (name, value) in CLAIMS {
            assert_eq!(seen[0].header(name), None, "{dialect:?}");
            assert!(!seen[0].headers.iter().any(|(_, found)| found == value), "{value} in {dialect:?}");
        }
        let audited = gateway.end().await;
        let record = audited.of(&id)[0];
        assert_eq!(value!([record["org"], record["subject"]]), value!(["acme", "ci"]));
        assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    }
}

/// Nor can an operator let the ones through that proxies and platforms believe in.
#[test]
fn what_others_believe_in_cannot_be_put_on_the_allow_list() {
    let base = Config::parse(include_str!("../../deploy/gateway.example.toml")).unwrap();
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "forwarded",
        "x-forwarded-for",
        "X-Forwarded-User",
        "x-forwarded-client-cert",
        "impersonate-user",
        "Impersonate-Group",
    ] {
        let mut config = base.clone();
        config.orgs[0].credential = prebuild_gateway::config::Credential::Env("TOKEN".to_owned());
        config.upstream.request_metadata = vec![name.to_owned()];
        let error = config.resolve(&|name| Some(format!("token-of-{name}"))).unwrap_err();
        assert_eq!(error.key, "upstream.request_metadata", "{name}: {error}");
    }
}
