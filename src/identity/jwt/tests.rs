//! Tokens that are good, and what they say. Those that are not are in `attacks` and `times`.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{Config, Issuers, Refusal};
use crate::{
    call::Identity,
    identity::{
        Orgs,
        jwks::{Jwks, KeySet},
    },
};

mod attacks;
pub(in crate::identity) mod forge;
mod paths;
mod times;

use forge::{RSA, Signer, at, jwks};

pub(in crate::identity) const ISSUER: &str = "https://idp.example.com";
const OTHER: &str = "https://other.example.com";

static ES: LazyLock<Signer> = LazyLock::new(Signer::p256);
static ES384: LazyLock<Signer> = LazyLock::new(Signer::p384);
static ED: LazyLock<Signer> = LazyLock::new(Signer::ed);
/// The other issuer's.
static OTHERS: LazyLock<Signer> = LazyLock::new(Signer::p256);

/// An entry with the defaults, and what is added to it.
pub(in crate::identity) fn entry(id: &str, issuer: &str, more: &str) -> Config {
    let org = if more.contains("org") { "" } else { "org = 'acme'\n" };
    let text = format!("id = '{id}'\nissuer = '{issuer}'\naudiences = ['gateway', 'gateway-2']\n{org}{more}");
    toml::from_str(&text).unwrap()
}

fn orgs() -> Orgs {
    ["acme", "globex"].map(Into::into).into()
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(jwks(keys).as_bytes()).unwrap()
}

/// One issuer with a key of each kind, with `more` in its entry; another with one key.
fn issuers(more: &str) -> Issuers {
    let keys = [RSA.jwk("rsa"), ES.jwk("es"), ES384.jwk("es384"), ED.jwk("ed")];
    let (idp, other) = (Jwks::read("idp", set(&keys)), Jwks::read("other", set(&[OTHERS.jwk("others")])));
    Issuers::new(vec![(entry("idp", ISSUER, more), idp), (entry("other", OTHER, ""), other)], orgs())
}

fn header(algorithm: &str, key: &str) -> Value {
    json!({"alg": algorithm, "typ": "JWT", "kid": key})
}

pub(in crate::identity) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "gateway", "sub": "ci@example.com", "exp": at(600), "iat": at(0)})
}

/// The claims, with others.
fn with(more: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// A token that is good but for what is in these claims.
fn token(claims: &Value) -> String {
    ES.token(&header("ES256", "es"), claims)
}

async fn identify(issuers: &Issuers, token: &str) -> Option<Result<Identity, Refusal>> {
    issuers.identify(token, SystemTime::now(), false).await
}

async fn known(issuers: &Issuers, token: &str) -> Identity {
    identify(issuers, token).await.unwrap().unwrap()
}

async fn refused(issuers: &Issuers, token: &str) -> Refusal {
    identify(issuers, token).await.unwrap().unwrap_err()
}

fn names(identity: &Identity) -> Vec<&str> {
    identity.scopes.names().collect()
}

#[tokio::test]
async fn a_token_by_every_kind_of_key_is_its_subject_and_org() {
    let issuers = issuers("algorithms = ['RS256', 'RS384', 'PS256', 'ES256', 'ES384', 'EdDSA']");
    let signers: [(&Signer, &str, &str); 7] = [
        (&RSA, "RS256", "rsa"),
        (&RSA, "RS384", "rsa"),
        (&RSA, "PS256", "rsa"),
        (&ES, "ES256", "es"),
        (&ES384, "ES384", "es384"),
        (&ED, "EdDSA", "ed"),
        (&ED, "Ed25519", "ed"),
    ];
    for (signer, algorithm, key) in signers {
        let identity = known(&issuers, &signer.token(&header(algorithm, key), &claims())).await;
        assert_eq!(identity.subject.as_str(), "ci@example.com", "{algorithm}");
        assert_eq!((identity.org.as_str(), identity.credential.as_str()), ("acme", "idp"));
        assert_eq!(names(&identity), ["read", "mutate", "secret"]);
    }
    let other = with(&json!({"iss": OTHER, "aud": ["else", "gateway-2"]}));
    let identity = known(&issuers, &OTHERS.token(&header("ES256", "others"), &other)).await;
    assert_eq!(identity.credential.as_str(), "other");
}

#[tokio::test]
async fn a_token_without_a_key_id_needs_one_key_that_fits() {
    let headless = json!({"alg": "ES256", "typ": "at+jwt"});
    let issuers = issuers("");
    known(&issuers, &ES.token(&headless, &claims())).await;
    let two = set(&[ES.jwk("a"), OTHERS.jwk("b")]);
    let two = Issuers::new(vec![(entry("idp", ISSUER, ""), Jwks::read("idp", two))], orgs());
    assert_eq!(refused(&two, &ES.token(&headless, &claims())).await, Refusal::UnfitKey);
}

/// A signed token is never compressed, and some issuers say so.
#[tokio::test]
async fn a_token_that_says_that_it_is_not_compressed_is_one() {
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "es", "zip": "NONE"});
    known(&issuers(""), &ES.token(&header, &claims())).await;
}

/// Entra ID's with 200 groups have 10.7 KB.
#[tokio::test]
async fn a_token_may_have_many_groups() {
    let groups: Vec<_> = (0..200).map(|group| format!("0198c0de-0000-7000-8000-{group:012}")).collect();
    let token = token(&with(&json!({"groups": groups})));
    assert!(token.len() > 10 << 10, "{}", token.len());
    known(&issuers(""), &token).await;
}

#[tokio::test]
async fn types_are_compared_as_media_types_are() {
    let issuers = issuers("types = ['JWT', 'application/at+jwt']");
    for typ in ["JWT", "jwt", "application/jwt", "at+jwt", "AT+JWT", "Application/AT+JWT"] {
        let header = json!({"alg": "ES256", "typ": typ, "kid": "es"});
        known(&issuers, &ES.token(&header, &claims())).await;
    }
}

#[tokio::test]
async fn a_token_without_a_type_is_accepted_where_the_entry_says_so() {
    let untyped = ES.token(&json!({"alg": "ES256", "kid": "es"}), &claims());
    assert_eq!(refused(&issuers(""), &untyped).await, Refusal::Type);
    known(&issuers("untyped = true"), &untyped).await;
}

#[tokio::test]
async fn the_org_is_fixed_or_in_a_claim_or_in_a_table() {
    let by_claim = issuers("org_claim = 'realm.org'");
    let by_table =
        issuers("org_claim = '/https:~1~1example.com~1team'\norgs = { red = 'acme', blue = 'globex' }");
    let url = "https://example.com/team";
    let realm = |org: Value| with(&json!({"realm": {"org": org}}));
    assert_eq!(known(&by_claim, &token(&realm(json!("globex")))).await.org.as_str(), "globex");
    assert_eq!(known(&by_table, &token(&with(&json!({url: "blue"})))).await.org.as_str(), "globex");
    for wrong in [json!("initech"), json!(""), json!(7), json!(["acme"]), json!({"acme": 1}), Value::Null] {
        assert_eq!(refused(&by_claim, &token(&realm(wrong.clone()))).await, Refusal::Org, "{wrong}");
        // A value of the table is no key of it.
        for value in [wrong, json!("acme")] {
            assert_eq!(refused(&by_table, &token(&with(&json!({url: value})))).await, Refusal::Org);
        }
    }
    assert_eq!(refused(&by_claim, &token(&claims())).await, Refusal::Org);
    assert_eq!(refused(&by_claim, &token(&with(&json!({"realm": "acme"})))).await, Refusal::Org);
}

#[tokio::test]
async fn the_subject_is_within_the_bounds_that_the_config_has() {
    let issuers = issuers("subject_claim = 'act.email'\n");
    let email = |value: Value| with(&json!({"act": {"email": value}}));
    let workspace = "organization:acme:project:Default Project:workspace:web:run_phase:apply";
    for good in ["a", &"x".repeat(255), "repo:o/r:environment:Production EU", workspace] {
        assert_eq!(known(&issuers, &token(&email(good.into()))).await.subject.as_str(), good);
    }
    let long = "x".repeat(256);
    for bad in ["", " ", " a", "a ", "a\tb", "a\u{a0}b", "line\nbreak", "é", "\u{0}", "\u{7f}", long.as_str()]
    {
        assert_eq!(refused(&issuers, &token(&email(bad.into()))).await, Refusal::Subject, "{bad:?}");
    }
    for bad in [json!(7), json!(["a"]), Value::Null] {
        assert_eq!(refused(&issuers, &token(&email(bad))).await, Refusal::Subject);
    }
    assert_eq!(refused(&issuers, &token(&claims())).await, Refusal::Subject);
}

#[tokio::test]
async fn scopes_are_what_the_entry_and_the_token_both_have() {
    let issuers = issuers("scope_claim = 'scope'\nscopes = ['read', 'CreatePrebuild']");
    for (scope, expected) in [
        (json!("read openid profile"), &["read"][..]),
        (json!("read mutate secret"), &["read", "CreatePrebuild"]),
        (json!(["mutate"]), &["CreatePrebuild"]),
        (json!(["GetPrebuild", "secret", "CreateWarmPool"]), &["GetPrebuild"]),
        (json!("READ  Mutate"), &[]),
        (json!(""), &[]),
        (json!([]), &[]),
    ] {
        let identity = known(&issuers, &token(&with(&json!({"scope": scope})))).await;
        assert_eq!(names(&identity), expected, "{scope}");
    }
    assert!(names(&known(&issuers, &token(&claims())).await).is_empty(), "no claim, no scope");
    for bad in [json!(7), json!({"read": true}), json!(["read", 7]), Value::Null] {
        assert_eq!(refused(&issuers, &token(&with(&json!({"scope": bad})))).await, Refusal::Scope);
    }
}

#[tokio::test]
async fn what_is_known_is_judged_again_by_its_times_and_its_keys() {
    let jwks = Jwks::read("idp", set(&[ES.jwk("es")]));
    let issuers = Issuers::new(vec![(entry("idp", ISSUER, ""), jwks.clone())], orgs());
    let good = token(&claims());
    known(&issuers, &good).await;
    known(&issuers, &good).await;
    let later = SystemTime::now() + Duration::from_secs(600 + 31);
    assert_eq!(issuers.identify(&good, later, false).await, Some(Err(Refusal::Expired)));
    assert!(!jwks.replace(set(&[ES.jwk("es")])), "the same keys");
    known(&issuers, &good).await;
    assert!(jwks.replace(set(&[OTHERS.jwk("es")])));
    assert_eq!(refused(&issuers, &good).await, Refusal::Signature);
    assert!(jwks.replace(KeySet::parse(br#"{"keys": []}"#).unwrap()));
    assert_eq!(refused(&issuers, &good).await, Refusal::UnknownKey);
}

/// What another way to be known may still take.
#[tokio::test]
async fn what_is_of_no_configured_issuer_is_none_of_ours() {
    for none in ["", "pgw_key", "a.b.c", "..", "a.b", &token(&with(&json!({"iss": "https://idp"})))] {
        assert_eq!(identify(&issuers(""), none).await, None, "{none}");
    }
    // What looks like one and cannot be read may be a configured one's.
    let long = format!("{}x", token(&with(&json!({"x": "x".repeat(16 << 10)}))));
    for broken in ["eyJ.b.c", "eyJ.b.c.d", "eyJ..", &long] {
        assert_eq!(identify(&issuers(""), broken).await, Some(Err(Refusal::Claims)), "{broken}");
    }
    assert_eq!(identify(&Issuers::default(), &token(&claims())).await, None);
}
