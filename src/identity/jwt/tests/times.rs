//! When a token is good.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{super::Refusal, ES, claims, forge::at, header, identify, issuers, known, refused, token, with};

#[tokio::test]
async fn an_end_is_required_and_a_time() {
    let issuers = issuers("");
    let mut endless = claims();
    endless.as_object_mut().unwrap().remove("exp");
    assert_eq!(refused(&issuers, &token(&endless)).await, Refusal::Expiry);
    for (exp, refusal) in [
        (json!(at(-31)), Refusal::Expired),
        (json!(0), Refusal::Expired),
        (json!(1.5e9), Refusal::Expired),
        (json!(-1), Refusal::Expiry),
        (json!(-1.5), Refusal::Expiry),
        (json!(at(600).to_string()), Refusal::Expiry),
        (json!("2099-01-01T00:00:00Z"), Refusal::Expiry),
        // Milliseconds by mistake, and numbers that wrap around somewhere.
        (json!(at(600) * 1000), Refusal::Expiry),
        (json!(i64::MAX), Refusal::Expiry),
        (json!(u64::MAX), Refusal::Expiry),
        (json!(1e300), Refusal::Expiry),
        (json!(true), Refusal::Expiry),
        (json!([at(600)]), Refusal::Expiry),
        (Value::Null, Refusal::Expiry),
    ] {
        assert_eq!(refused(&issuers, &token(&with(&json!({"exp": exp})))).await, refusal, "{exp}");
    }
    for exp in ["1e400", "-0.1e400", "NaN", "Infinity", "0x7fffffff", "+1"] {
        let text =
            claims().to_string().replace(&format!("\"exp\":{}", claims()["exp"]), &format!("\"exp\":{exp}"));
        let token = ES.written("ES256", &header("ES256", "es").to_string(), &text);
        // What is no JSON names no issuer, either.
        assert!(!matches!(identify(&issuers, &token).await, Some(Ok(_))), "{exp}");
    }
    // A NumericDate may have a fraction.
    #[expect(clippy::cast_precision_loss, reason = "a second more or less does not matter")]
    let fraction = at(600) as f64 + 0.5;
    known(&issuers, &token(&with(&json!({"exp": fraction})))).await;
}

#[tokio::test]
async fn a_begin_is_honoured_if_there_is_one() {
    let issuers = issuers("");
    for (name, wrong, ahead) in
        [("nbf", Refusal::NotBefore, Refusal::Early), ("iat", Refusal::IssuedAt, Refusal::IssuedAhead)]
    {
        assert_eq!(refused(&issuers, &token(&with(&json!({name: at(40)})))).await, ahead);
        for bad in [json!("0"), json!(-1), json!(u64::MAX), Value::Null, json!({})] {
            assert_eq!(refused(&issuers, &token(&with(&json!({name: bad})))).await, wrong, "{name} {bad}");
        }
        known(&issuers, &token(&with(&json!({name: at(-3600)})))).await;
        known(&issuers, &token(&with(&json!({name: at(20)})))).await;
    }
    let mut plain = claims();
    plain.as_object_mut().unwrap().remove("iat");
    known(&issuers, &token(&plain)).await;
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_no_more() {
    let late = token(&with(&json!({"exp": at(-5)})));
    known(&issuers(""), &late).await;
    assert_eq!(refused(&issuers("leeway = '1s'"), &late).await, Refusal::Expired);
    assert_eq!(
        refused(&issuers("leeway = '0s'"), &token(&with(&json!({"nbf": at(3)})))).await,
        Refusal::Early
    );
    known(&issuers("leeway = '5min'"), &token(&with(&json!({"exp": at(-250)})))).await;
}

#[tokio::test]
async fn a_token_may_not_be_older_than_the_entry_says() {
    let issuers = issuers("max_age = '10min'\nleeway = '0s'");
    let aged = |seconds: i64| token(&with(&json!({"iat": at(-seconds), "exp": at(86_400)})));
    known(&issuers, &aged(500)).await;
    assert_eq!(refused(&issuers, &aged(601)).await, Refusal::Old);
    let good = aged(0);
    known(&issuers, &good).await;
    // Also when it is known already.
    let later = SystemTime::now() + Duration::from_secs(601);
    assert_eq!(issuers.identify(&good, later, false).await, Some(Err(Refusal::Old)));
    let mut ageless = claims();
    ageless.as_object_mut().unwrap().remove("iat");
    assert_eq!(refused(&issuers, &token(&ageless)).await, Refusal::IssuedAt);
}
