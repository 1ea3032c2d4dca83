//! The attack table: each row a token that somebody might try, and why it is refused. RFC 8725 names most of them.

use aws_lc_rs::{encoding::AsDer as _, hmac, signature::KeyPair as _};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::{
    super::Refusal::{self, *},
    ED, ES, ES384, ISSUER, OTHER, OTHERS, claims,
    forge::{RSA, Signer, unsigned},
    header, identify, issuers, known, token, with,
};
use crate::{
    error::{Code, Error},
    identity::Refused,
};

/// What it is, the token, and the verdict; none if no issuer can be named by it.
type Row = (&'static str, String, Option<Refusal>);

/// Every row is refused for its reason, and no caller can tell one from another.
async fn all_refused(rows: Vec<Row>) {
    let issuers = issuers("");
    let stranger = Error::from(Refused::Unauthenticated("unknown"));
    for (name, token, expected) in rows {
        // Twice: what is refused is not remembered as good.
        for _ in 0..2 {
            let verdict = identify(&issuers, &token).await;
            let Some(expected) = expected else {
                assert_eq!(verdict, None, "{name}");
                continue;
            };
            assert_eq!(verdict, Some(Err(expected)), "{name}");
            let error = Error::from(Refused::from(expected));
            assert_eq!((error.code, &error.message), (Code::Unauthenticated, &stranger.message), "{name}");
            assert_eq!((error.reason, error.retry), (stranger.reason, stranger.retry), "{name}");
            assert!(error.details.is_empty() && error.metadata.is_empty() && error.rule.is_none(), "{name}");
            assert!(!error.to_string().contains("JWT"), "{name}: {error}");
        }
    }
}

/// A good header, with other members.
fn head(more: &Value) -> Value {
    let mut header = header("ES256", "es");
    for (name, value) in more.as_object().unwrap() {
        header[name] = value.clone();
    }
    header
}

/// A token that is good but for its header.
fn headed(more: &Value) -> String {
    ES.token(&head(more), &claims())
}

fn hmac_signed(algorithm: hmac::Algorithm, name: &str, secret: &[u8]) -> String {
    let message = unsigned(&header(name, "rsa").to_string(), &claims().to_string());
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn the_algorithm_is_not_the_tokens_to_choose() {
    let mut rows = Vec::new();
    for name in ["none", "None", "nOnE", "NONE", "", "es256", "ES256 ", "ES512", "ES256K", "HS384", "A128KW"]
    {
        rows.push(("other algorithm", headed(&json!({"alg": name})), Some(Algorithm)));
        let message = unsigned(&head(&json!({"alg": name})).to_string(), &claims().to_string());
        rows.push(("without a signature", format!("{message}."), Some(Algorithm)));
    }
    for value in [Value::Null, json!(7), json!(["ES256"]), json!({"ES256": 1}), json!(true)] {
        rows.push(("algorithm of another type", headed(&json!({"alg": value})), Some(Algorithm)));
    }
    let missing = ES.token(&json!({"typ": "JWT", "kid": "es"}), &claims());
    rows.push(("no algorithm", missing, Some(Algorithm)));
    // The public key as the secret, in each form that it is published in.
    let Signer::Rsa(pair) = &*RSA else { panic!("no RSA") };
    let der = pair.public_key().as_der().unwrap().as_ref().to_vec();
    let lines: Vec<_> = STANDARD.encode(&der).as_bytes().chunks(64).map(<[u8]>::to_vec).collect();
    let pem =
        [&b"-----BEGIN PUBLIC KEY-----\n"[..], &lines.join(&b'\n'), b"\n-----END PUBLIC KEY-----\n"].concat();
    let jwk = RSA.jwk("rsa").to_string().into_bytes();
    let modulus = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
    for secret in [der, pem, jwk, modulus, pair.public_key().as_ref().to_vec(), Vec::new()] {
        rows.push((
            "public key as secret",
            hmac_signed(hmac::HMAC_SHA256, "HS256", &secret),
            Some(Algorithm),
        ));
        rows.push(("and called RS256", hmac_signed(hmac::HMAC_SHA256, "RS256", &secret), Some(Signature)));
        rows.push(("longer", hmac_signed(hmac::HMAC_SHA512, "HS512", &secret), Some(Algorithm)));
    }
    let not_allowed = [("RS384", &*RSA, "rsa"), ("ES384", &*ES384, "es384")];
    for (name, signer, key) in not_allowed {
        rows.push(("not allowed here", signer.token(&header(name, key), &claims()), Some(Algorithm)));
    }
    all_refused(rows).await;
}

#[tokio::test]
async fn a_key_is_for_its_algorithms_and_its_issuer() {
    let mut rows = Vec::new();
    for (name, key) in
        [("RS256", "es"), ("ES256", "rsa"), ("PS256", "ed"), ("EdDSA", "es"), ("ES256", "es384")]
    {
        rows.push(("for another algorithm", ES.token(&header(name, key), &claims()), Some(UnfitKey)));
    }
    for (name, signer, key) in [
        ("ES256", &*OTHERS, "es"),
        ("EdDSA", &Signer::ed(), "ed"),
        ("ES256", &*ED, "es"),
        ("EdDSA", &*ES, "ed"),
    ] {
        rows.push(("signed by another key", signer.token(&header(name, key), &claims()), Some(Signature)));
    }
    // RSA's two encodings are no substitute for each other.
    let message = unsigned(&header("PS256", "rsa").to_string(), &claims().to_string());
    let signature = URL_SAFE_NO_PAD.encode(RSA.sign("RS256", message.as_bytes()));
    rows.push(("RS256 called PS256", format!("{message}.{signature}"), Some(Signature)));
    let theirs = header("ES256", "others");
    rows.push(("another issuer's key", OTHERS.token(&theirs, &claims()), Some(UnknownKey)));
    rows.push((
        "another issuer's name",
        ES.token(&header("ES256", "es"), &with(&json!({"iss": OTHER}))),
        Some(UnknownKey),
    ));
    let confused = OTHERS.token(&header("ES256", "es"), &claims());
    rows.push(("another issuer's key by our id", confused, Some(Signature)));
    for id in [
        "",
        "ES",
        "es ",
        "es\u{0}",
        "../../../../dev/null",
        "/proc/self/environ",
        "es' OR '1'='1",
        "es'; DROP TABLE keys; --",
        "' UNION SELECT 'secret' --",
        "http://169.254.169.254/",
        "${jndi:ldap://x}",
        "%s%s%n",
        &"k".repeat(4000),
    ] {
        rows.push(("unknown key id", headed(&json!({"kid": id})), Some(UnknownKey)));
    }
    for id in [json!(0), json!(["es"]), json!({"es": 1}), Value::Null, json!(true)] {
        rows.push(("key id of another type", headed(&json!({"kid": id})), Some(KeyId)));
    }
    all_refused(rows).await;
}

#[tokio::test]
async fn no_key_comes_from_a_token_and_nothing_in_its_header_is_critical() {
    let forger = Signer::p256();
    let jwk = forger.jwk("es");
    let mut rows = Vec::new();
    for more in [
        json!({"jwk": jwk}),
        json!({"jwk": Value::Null}),
        json!({"jku": "https://evil.example.com/jwks.json"}),
        json!({"jku": ISSUER}),
        json!({"x5u": "https://evil.example.com/cert.pem"}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5c": []}),
        json!({"jwk": jwk, "kid": "evil"}),
    ] {
        rows.push(("brings a key", forger.token(&head(&more), &claims()), Some(EmbeddedKey)));
        rows.push(("brings a key, well signed", headed(&more), Some(EmbeddedKey)));
    }
    for more in [
        json!({"crit": ["exp"]}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"crit": []}),
        json!({"crit": Value::Null}),
        json!({"crit": ["http://example.com/unknown"], "http://example.com/unknown": 1}),
    ] {
        rows.push(("critical", headed(&more), Some(Critical)));
    }
    for more in [json!({"b64": false}), json!({"b64": true})] {
        rows.push(("unencoded payload", headed(&more), Some(Unencoded)));
    }
    for more in [
        json!({"enc": "A128GCM"}),
        json!({"zip": "DEF"}),
        json!({"zip": "none"}),
        json!({"zip": Value::Null}),
        json!({"epk": {}}),
    ] {
        rows.push(("encrypted or compressed", headed(&more), Some(Encrypted)));
    }
    for typ in ["JWT", "jwt", "application/jwt", "json"] {
        rows.push(("nested", headed(&json!({"cty": typ})), Some(Nested)));
    }
    for typ in [
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!(""),
        json!(7),
        json!(["JWT"]),
        json!(" JWT"),
    ] {
        rows.push(("made for something else", headed(&json!({"typ": typ})), Some(Type)));
    }
    rows.push(("of no type", ES.token(&json!({"alg": "ES256", "kid": "es"}), &claims()), Some(Type)));
    all_refused(rows).await;
}

#[tokio::test]
async fn a_signature_is_whole_and_over_every_byte() {
    let good = token(&claims());
    known(&issuers(""), &good).await;
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, payload) = message.split_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let signed = |bytes: &[u8]| format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
    let mut rows = vec![
        ("no signature", format!("{message}."), Some(Signature)),
        ("r and s zero", signed(&[0; 64]), Some(Signature)),
        ("r and s 255", signed(&[255; 64]), Some(Signature)),
        ("truncated", signed(&bytes[..63]), Some(Signature)),
        ("longer", signed(&[&bytes[..], &[0]].concat()), Some(Signature)),
        ("r alone", signed(&bytes[..32]), Some(Signature)),
        (
            "in DER",
            signed(&[&[0x30, 0x44, 2, 32][..], &bytes[..32], &[2, 32], &bytes[32..]].concat()),
            Some(Signature),
        ),
        ("padded", format!("{message}.{}", URL_SAFE.encode(&bytes)), Some(Signature)),
        ("the other base64", format!("{message}.{}", STANDARD.encode([251; 64])), Some(Signature)),
        ("space behind", format!("{good} "), Some(Signature)),
        ("space within", format!("{head}.{payload}. {signature}"), Some(Signature)),
        ("line break", format!("{good}\n"), Some(Signature)),
        ("space before", format!(" {good}"), Some(Header)),
        ("padded header", format!("{head}==.{payload}.{signature}"), Some(Header)),
        ("padded payload", format!("{head}.{payload}=.{signature}"), Some(Signature)),
        ("two parts", message.to_owned(), None),
        ("four parts", format!("{good}."), Some(Claims)),
        (
            "five parts, as of a JWE",
            format!("{head}.{payload}.{signature}.{payload}.{signature}"),
            Some(Claims),
        ),
    ];
    for at in [0, 31, 32, 63] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        rows.push(("a bit of the signature", signed(&flipped), Some(Signature)));
    }
    let other = unsigned(&header("ES256", "es").to_string(), &with(&json!({"sub": "root"})).to_string());
    rows.push(("other claims", format!("{other}.{signature}"), Some(Signature)));
    let other =
        unsigned(&json!({"alg": "ES256", "kid": "es", "typ": "at+jwt"}).to_string(), &claims().to_string());
    rows.push(("another header", format!("{other}.{signature}"), Some(Signature)));
    // The last character has bits that no byte needs: another one would decode to the same.
    let last = signature.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let near = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    let loose = format!("{message}.{}{near}", &signature[..signature.len() - 1]);
    rows.push(("bits behind the last byte", loose, Some(Signature)));
    all_refused(rows).await;
}

#[tokio::test]
async fn every_character_counts() {
    let (issuers, good) = (issuers(""), token(&claims()));
    known(&issuers, &good).await;
    for at in 0..good.len() {
        for other in ["A", "B", ".", "=", "-", " ", ""] {
            let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
            let verdict = identify(&issuers, &changed).await;
            assert!(changed == good || !matches!(verdict, Some(Ok(_))), "{at}: {changed}");
        }
        let cut = identify(&issuers, &good[..at]).await;
        assert!(!matches!(cut, Some(Ok(_))), "{at}");
    }
}

#[tokio::test]
async fn audience_and_issuer_are_the_ones_configured() {
    let mut rows = Vec::new();
    for aud in [
        json!("else"),
        json!("gateway/"),
        json!("Gateway"),
        json!("gatewa"),
        json!(""),
        json!([]),
        json!([""]),
        json!(["else", "other"]),
        json!(["gateway", 7]),
        json!([["gateway"]]),
        json!({"gateway": 1}),
        json!(7),
        Value::Null,
    ] {
        rows.push(("audience", token(&with(&json!({"aud": aud}))), Some(Audience)));
    }
    let mut without = claims();
    without.as_object_mut().unwrap().remove("aud");
    rows.push(("no audience", token(&without), Some(Audience)));
    for iss in [
        json!("https://evil.example.com"),
        json!("https://idp.example.co"),
        json!("https://idp.example.com/"),
        json!("HTTPS://IDP.EXAMPLE.COM"),
        json!([ISSUER]),
        json!({ISSUER: 1}),
        json!(7),
        Value::Null,
    ] {
        let verdict = (!iss.is_string()).then_some(Claims);
        rows.push(("issuer", token(&with(&json!({"iss": iss}))), verdict));
    }
    let mut without = claims();
    without.as_object_mut().unwrap().remove("iss");
    rows.push(("no issuer", token(&without), Some(Claims)));
    all_refused(rows).await;
}

#[tokio::test]
async fn members_stand_once_and_json_is_bounded() {
    let (head, body) = (header("ES256", "es").to_string(), claims().to_string());
    let first = |text: &str, more: &str| format!("{{{more},{}", &text[1..]);
    let last = |text: &str, more: &str| format!("{},{more}}}", &text[..text.len() - 1]);
    let mut rows = Vec::new();
    for more in [
        r#""alg":"none""#,
        r#""alg":"ES256""#,
        r#""kid":"x""#,
        r#""\u0061lg":"none""#,
        r#""x":{"y":1,"y":2}"#,
    ] {
        for head in [first(&head, more), last(&head, more)] {
            rows.push(("header member twice", ES.written("ES256", &head, &body), Some(Header)));
        }
    }
    for more in [
        r#""exp":9999999999"#,
        r#""sub":"root""#,
        r#""aud":"gateway""#,
        r#""iss":"https://evil.example.com""#,
        r#""iss":"https://idp.example.com""#,
        r#""\u0069ss":"https://evil.example.com""#,
        r#""realm":{"org":"acme","org":"globex"}"#,
        r#""list":[{"a":1,"a":1}]"#,
    ] {
        for body in [first(&body, more), last(&body, more)] {
            rows.push(("claim twice", ES.written("ES256", &head, &body), Some(Claims)));
        }
    }
    for bad in ["", "null", "[]", "7", "\"x\"", "{", "{}{}", "{} x", "\u{feff}{}"] {
        rows.push(("no header", ES.written("ES256", bad, &body), Some(Header)));
        rows.push(("no claims", ES.written("ES256", &head, bad), Some(Claims)));
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    rows.push((
        "deep claims",
        ES.written("ES256", &head, &last(&body, &format!("\"x\":{}", deep(2000)))),
        Some(Claims),
    ));
    rows.push((
        "deep header",
        ES.written("ES256", &last(&head, &format!("\"x\":{}", deep(2000))), &body),
        Some(Header),
    ));
    let many: Vec<String> = (0..10_000).map(|count| format!("\"c{count}\":{count}")).collect();
    rows.push(("10,000 claims", ES.written("ES256", &head, &last(&body, &many.join(","))), Some(Claims)));
    rows.push(("1 MiB", format!("{}.{}", token(&claims()), "x".repeat(1 << 20)), Some(Claims)));
    rows.push(("1 MiB of dots", ".".repeat(1 << 20), None));
    rows.push(("1 MiB of a signature", format!("{}{}", token(&claims()), "A".repeat(1 << 20)), Some(Claims)));
    all_refused(rows).await;
}

/// A second form of an ECDSA signature is as good: it is the same caller, and nothing counts tokens.
#[tokio::test]
async fn both_forms_of_an_ecdsa_signature_are_one_caller() {
    /// The order of P-256.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let good = token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = false;
    for at in (0..32).rev() {
        let (less, one) = ORDER[at].overflowing_sub(bytes[32 + at]);
        let (less, two) = less.overflowing_sub(u8::from(borrow));
        (bytes[32 + at], borrow) = (less, one || two);
    }
    let other = format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
    assert_ne!(good, other);
    let issuers = issuers("");
    assert_eq!(known(&issuers, &good).await, known(&issuers, &other).await);
}
