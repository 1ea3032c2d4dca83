//! Peers that were refused too often: their tokens cause no work elsewhere.

use std::time::SystemTime;

use serde_json::json;

use super::{
    super::{PATIENCE, Phase},
    Issuer, Jwks, WHEN_ASKED, ok, until,
};
use crate::identity::jwt::{
    Issuers, Refusal,
    tests::{
        ISSUER, claims, entry,
        forge::{Signer, jwks},
    },
};

#[tokio::test]
async fn a_limited_peers_tokens_cause_no_fetch() {
    let signer = Signer::p256();
    let issuer = Issuer::start(ok(&jwks(&[signer.jwk("es")]))).await;
    let (keys, _kept) = issuer.keep(WHEN_ASKED);
    let issuers = Issuers::new(vec![(entry("idp", ISSUER, ""), keys.clone())], ["acme".into()].into());
    let judged = async |key: &str, peer_is_limited| {
        let token = signer.token(&json!({"alg": "ES256", "typ": "JWT", "kid": key}), &claims());
        issuers.identify(&token, SystemTime::now(), peer_is_limited).await.unwrap()
    };
    until(|| keys.0.state.borrow().phase == Phase::Ready).await;
    for count in 0..100 {
        assert_eq!(judged(&format!("made-up-{count}"), true).await, Err(Refusal::UnknownKey));
    }
    assert!(judged("es", true).await.is_ok(), "known callers there are not touched");
    assert_eq!(judged("made-up", false).await, Err(Refusal::UnknownKey));
    assert_eq!(issuer.asked(), 2, "at the start, and for the last one");
}

#[tokio::test]
async fn a_limited_peer_does_not_wait_for_the_first_keys() {
    let signer = Signer::p256();
    let issuers =
        Issuers::new(vec![(entry("idp", ISSUER, ""), Jwks::fetched("idp"))], ["acme".into()].into());
    let token = signer.token(&json!({"alg": "ES256", "typ": "JWT", "kid": "es"}), &claims());
    // Nobody fetches them: who waited would wait for long.
    let judged = issuers.identify(&token, SystemTime::now(), true);
    let judged = tokio::time::timeout(PATIENCE / 2, judged).await.unwrap();
    assert_eq!(judged, Some(Err(Refusal::NoKeys)));
}
