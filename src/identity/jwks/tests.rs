//! Key sets, and how often they are fetched.

use std::{io::Write as _, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Fetch, Jwks, JwksFile, KeySet, NoKey, NotAKeySet, Pace, SetupError, Url, UrlError};
use crate::{
    follow::{Follow as _, Taken},
    identity::jwt::{
        Algorithm,
        tests::forge::{RSA, Signer, jwks},
    },
    telemetry::Metrics,
};

mod https;
mod issuer;
mod limited;

use issuer::{Issuer, ok};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(20);
const NEVER: Pace = Pace { min: Duration::from_secs(3600), max: Duration::from_secs(3600) };
const OFTEN: Pace = Pace { min: Duration::from_millis(5), max: Duration::from_millis(5) };
const WHEN_ASKED: Pace = Pace { min: Duration::from_millis(1), max: Duration::from_secs(3600) };

impl Issuer {
    fn fetch(&self) -> Fetch {
        Fetch::new(Url::parse(&self.url).unwrap(), None).unwrap()
    }

    fn keep(&self, pace: Pace) -> (Jwks, Kept) {
        let (jwks, metrics) = (Jwks::fetched("idp"), Metrics::new());
        let task = tokio::spawn(jwks.clone().keep_fresh(self.fetch(), pace, metrics.clone()));
        (jwks, Kept { task, metrics })
    }
}

/// The task that fetches, until dropped.
struct Kept {
    task: JoinHandle<()>,
    metrics: Metrics,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, waited).await.expect("it comes");
}

fn parse(keys: &[Value]) -> KeySet {
    KeySet::parse(jwks(keys).as_bytes()).unwrap()
}

fn changed(key: &Value, more: &Value) -> Value {
    let mut key = key.clone();
    for (name, value) in more.as_object().unwrap() {
        key[name] = value.clone();
    }
    key
}

#[test]
fn keys_that_cannot_be_used_are_left_out() {
    let (ec, ed) = (Signer::p256().jwk("ec"), Signer::ed().jwk("ed"));
    let (rsa, p384) = (RSA.jwk("rsa"), Signer::p384().jwk("p384"));
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let bad = [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256"}),
        json!("no key"),
        json!({"kid": "nothing"}),
        changed(&ec, &json!({"kty": "ec"})),
        changed(&ec, &json!({"crv": "P-521"})),
        changed(&ec, &json!({"crv": "P-384"})),
        changed(&ec, &json!({"crv": "secp256k1"})),
        changed(&ec, &json!({"x": number(&[1; 31])})),
        changed(&ec, &json!({"y": "not base64!"})),
        changed(&ec, &json!({"use": "enc"})),
        changed(&ec, &json!({"use": 7})),
        changed(&ec, &json!({"use": "SIG"})),
        changed(&ec, &json!({"kty": null})),
        changed(&ec, &json!({"d": null, "k": "c2VjcmV0"})),
        changed(&ec, &json!({"alg": "Ed25519"})),
        changed(&ec, &json!({"key_ops": ["sign"]})),
        changed(&ec, &json!({"key_ops": []})),
        changed(&ec, &json!({"key_ops": "verify"})),
        changed(&ec, &json!({"alg": "RS256"})),
        changed(&ec, &json!({"alg": "HS256"})),
        changed(&ec, &json!({"alg": "none"})),
        changed(&ec, &json!({"kid": 7})),
        changed(&ec, &json!({"d": number(&[1; 32])})),
        changed(&ed, &json!({"crv": "X25519"})),
        changed(&ed, &json!({"x": number(&[1; 33])})),
        changed(&rsa, &json!({"n": number(&[255; 128])})),
        changed(&rsa, &json!({"n": number(&[&[127][..], &[255; 255]].concat())})),
        changed(&rsa, &json!({"n": number(&[255; 1025])})),
        changed(&rsa, &json!({"n": ""})),
        changed(&rsa, &json!({"e": number(&[1])})),
        changed(&rsa, &json!({"e": number(&[0, 0, 1])})),
        changed(&rsa, &json!({"e": number(&[2])})),
        changed(&rsa, &json!({"e": number(&[1; 9])})),
        changed(&rsa, &json!({"e": ""})),
        changed(&rsa, &json!({"use": "enc"})),
    ];
    for key in &bad {
        let set = KeySet::parse(jwks(std::slice::from_ref(key)).as_bytes());
        assert_eq!(set, Err(NotAKeySet::NoneUsable), "{key}");
        let set = parse(&[key.clone(), p384.clone()]);
        assert_eq!((set.len(), set.unused), (1, 1), "{key}");
    }
    let good = [
        changed(&ec, &json!({"use": "sig", "key_ops": ["sign", "verify"], "alg": "ES256"})),
        changed(&rsa, &json!({"alg": "PS256", "x5c": ["MIIB"], "x5t": "x"})),
        changed(&ed, &json!({"alg": "EdDSA", "use": "jwt-svid"})),
        changed(&ed, &json!({"alg": "Ed25519"})),
        changed(
            &ec,
            &json!({"d": null, "use": null, "key_ops": null, "alg": null, "kid": null, "x5c": null}),
        ),
        ed,
        p384,
    ];
    assert_eq!(parse(&good).len(), good.len());
}

#[test]
fn a_set_is_one_object_of_modest_size() {
    let key = Signer::p256().jwk("es");
    let text = key.to_string();
    for (bad, problem) in [
        (String::new(), NotAKeySet::Json),
        ("<html>".to_owned(), NotAKeySet::Json),
        ("[]".to_owned(), NotAKeySet::Json),
        (text.clone(), NotAKeySet::NoKeys),
        (format!("{{\"keys\":{text}}}"), NotAKeySet::NoKeys),
        (format!("{{\"keys\":[{text}],\"keys\":[]}}"), NotAKeySet::Json),
        (
            jwks(std::slice::from_ref(&key)).replace("\"kid\":\"es\"", "\"kid\":\"es\",\"kid\":\"et\""),
            NotAKeySet::Json,
        ),
        (jwks(&vec![key.clone(); 101]), NotAKeySet::TooMany),
    ] {
        assert_eq!(KeySet::parse(bad.as_bytes()), Err(problem), "{bad}");
    }
    assert_eq!(parse(&vec![key; 100]).len(), 100);
    assert!(KeySet::parse(br#"{"keys": []}"#).unwrap().is_empty());
}

#[test]
fn a_key_is_found_by_its_id_or_as_the_only_one() {
    let (one, two) = (Signer::p256(), Signer::p256());
    let twice = parse(&[one.jwk("a"), two.jwk("a"), RSA.jwk("a"), two.jwk("b")]);
    assert!(matches!(twice.find(Some("a"), Algorithm::ES256), Err(NoKey::Unfit)), "two of them fit");
    assert!(twice.find(Some("a"), Algorithm::RS256).is_ok(), "keys of two kinds may share an id");
    assert!(matches!(twice.find(Some("a"), Algorithm::EDDSA), Err(NoKey::Unfit)), "none of them fits");
    assert!(twice.find(Some("b"), Algorithm::ES256).is_ok());
    assert!(matches!(twice.find(Some("b"), Algorithm::RS256), Err(NoKey::Unfit)));
    assert!(matches!(twice.find(Some("c"), Algorithm::ES256), Err(NoKey::Unknown)));
    assert!(matches!(twice.find(None, Algorithm::ES256), Err(NoKey::Unfit)));
    assert!(twice.find(None, Algorithm::RS256).is_ok());
    assert!(matches!(twice.find(None, Algorithm::EDDSA), Err(NoKey::Unknown)));
    let bound = parse(&[changed(&RSA.jwk("r"), &json!({"alg": "PS256"}))]);
    assert!(bound.find(Some("r"), Algorithm::PS256).is_ok());
    assert!(matches!(bound.find(Some("r"), Algorithm::RS256), Err(NoKey::Unfit)));
}

#[test]
fn a_url_is_https_or_stays_on_this_host() {
    for good in [
        "https://a.example/k",
        "https://a.example:8443/k?x=1",
        "http://127.0.0.1:1/k",
        "http://[::1]/",
        "http://localhost",
    ] {
        assert!(Url::parse(good).is_ok(), "{good}");
    }
    for (bad, error) in [
        ("http://a.example/k", UrlError::Plaintext),
        ("http://127.0.0.1.example/k", UrlError::Plaintext),
        ("http://10.0.0.1/k", UrlError::Plaintext),
        ("https://user:secret@a.example/k", UrlError::UserInfo),
        ("http://127.0.0.1@a.example/k", UrlError::UserInfo),
        ("file:///etc/passwd", UrlError::Url),
        ("ftp://a.example/k", UrlError::Url),
        ("/k", UrlError::Url),
        ("", UrlError::Url),
        ("a.example", UrlError::Url),
    ] {
        assert_eq!(Url::parse(bad), Err(error), "{bad}");
    }
    let url = Url::parse("https://a.example/k").unwrap();
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Fetch::new(url.clone(), Some(empty.path())), Err(SetupError::NoCertificate(_))));
    assert!(matches!(Fetch::new(url, Some("none.pem".as_ref())), Err(SetupError::CaFile { .. })));
}

#[tokio::test]
async fn a_file_is_followed_and_never_replaced_by_a_bad_one() {
    let key = Signer::p256().jwk("a");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(jwks(&[key]).as_bytes()).unwrap();
    let followed = JwksFile::read("identity.jwt[0].jwks_file".to_owned(), "idp", file.path()).unwrap();
    assert!(followed.first() == followed.look());
    let first = followed.jwks().keys().unwrap();
    assert!(matches!(followed.take(Ok(b"{".to_vec())).await, Taken::Refused(_)));
    assert!(Arc::ptr_eq(&first, &followed.jwks().keys().unwrap()));
    let other = jwks(&[Signer::p256().jwk("b")]).into_bytes();
    assert_eq!(followed.take(Ok(other)).await, Taken::InForce);
    assert!(followed.jwks().keys().unwrap().find(Some("b"), Algorithm::ES256).is_ok());
}

#[tokio::test]
async fn bad_answers_are_no_keys_and_the_last_good_ones_stay() {
    let key = Signer::p256().jwk("a");
    let good = jwks(std::slice::from_ref(&key));
    let issuer = Issuer::start(ok(&good)).await;
    let (jwks_, kept) = issuer.keep(OFTEN);
    until(|| jwks_.keys().is_some()).await;
    let first = jwks_.keys().unwrap();
    let elsewhere = Issuer::start(ok(&jwks(&[Signer::p256().jwk("evil")]))).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
    let large = format!("{}{}", good, " ".repeat(1 << 20));
    for bad in [
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{good}", good.len()),
        redirect,
        "no HTTP".to_owned(),
        ok("<html>").unwrap(),
        ok(&large).unwrap(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{good}"),
    ] {
        let (asked, name) = (issuer.asked(), bad.chars().take(60).collect::<String>());
        issuer.says(Some(bad));
        // Two more: the first of them may have had the answer before.
        until(|| issuer.asked() > asked + 2).await;
        until(|| jwks_.problem().is_some()).await;
        assert!(Arc::ptr_eq(&first, &jwks_.keys().unwrap()), "{name}");
        issuer.says(ok(&good));
        until(|| jwks_.problem().is_none()).await;
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect is followed");
    let metrics = kept.metrics.encode();
    for result in ["changed\"} 1\n", "unchanged\"} ", "failed\"} "] {
        let series = format!("prebuild_gateway_jwks_fetches_total{{issuer=\"idp\",result=\"{result}");
        assert!(metrics.contains(&series), "{series}: {metrics}");
    }
}

/// A key that was taken out stops working without anybody's asking.
#[tokio::test]
async fn keys_are_fetched_again_and_again() {
    let issuer = Issuer::start(ok(&jwks(&[Signer::p256().jwk("a")]))).await;
    let (keys, _kept) = issuer.keep(OFTEN);
    let has = |id: &str| keys.keys().is_some_and(|keys| keys.find(Some(id), Algorithm::ES256).is_ok());
    until(|| has("a")).await;
    issuer.says(ok(&jwks(&[Signer::p256().jwk("b")])));
    until(|| has("b") && !has("a")).await;
}

#[tokio::test]
async fn all_who_wait_wait_for_one_fetch() {
    let issuer = Issuer::start(ok(&jwks(&[Signer::p256().jwk("a")]))).await;
    let (keys, _kept) = issuer.keep(NEVER);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let keys = keys.clone();
                async move { keys.refreshed().await }
            })
        })
        .collect();
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_some());
    }
    assert_eq!(issuer.asked(), 1);
    // It rests now, however often somebody asks.
    for _ in 0..1000 {
        assert!(keys.refreshed().await.is_some());
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn who_asks_gets_newer_keys_once_it_is_time() {
    let issuer = Issuer::start(ok(&jwks(&[Signer::p256().jwk("a")]))).await;
    let (keys, _kept) = issuer.keep(WHEN_ASKED);
    keys.refreshed().await.unwrap();
    issuer.says(ok(&jwks(&[Signer::p256().jwk("b")])));
    let newer = async {
        while keys.refreshed().await.unwrap().find(Some("b"), Algorithm::ES256).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, newer).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_is_silent_holds_up_a_few_and_no_more() {
    let issuer = Issuer::start(None).await;
    let (keys, kept) = issuer.keep(NEVER);
    until(|| issuer.asked() == 1).await;
    let waiting: Vec<_> = (0..super::MAX_WAITING)
        .map(|_| {
            tokio::spawn({
                let keys = keys.clone();
                async move { keys.refreshed().await }
            })
        })
        .collect();
    until(|| keys.0.places.available_permits() == 0).await;
    assert!(keys.refreshed().await.is_none(), "at once");
    for waiting in waiting {
        waiting.abort();
    }
    drop(kept);
}

#[tokio::test]
async fn an_issuer_that_fails_at_first_is_tried_again() {
    let issuer = Issuer::start(Some("no HTTP".to_owned())).await;
    let (keys, _kept) = issuer.keep(OFTEN);
    until(|| issuer.asked() > 2).await;
    assert!(keys.keys().is_none() && keys.problem().is_some());
    issuer.says(ok(&jwks(&[Signer::p256().jwk("a")])));
    until(|| keys.keys().is_some() && keys.problem().is_none()).await;
}
