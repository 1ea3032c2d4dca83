//! Keys that are known, and everything that is not.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::{
    Identities, Unauthenticated,
    api_key::{Config, KeyError, KeyHash, Keys, NewKey},
};
use crate::error::{Code, Error};

fn config(id: &str, key: &str) -> Config {
    Config { id: id.into(), subject: "ci".into(), org: "acme".into(), sha256: KeyHash::of(key) }
}

fn headers(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn a_known_key_is_its_subject_and_org() {
    let new = NewKey::generate().unwrap();
    let identities = Identities::new(Keys::new(&[config("ci-1", &new.key)]).unwrap());
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let identity = identities.identify(&headers(&[&format!("{scheme} {}", new.key)])).unwrap();
        assert_eq!(identity.subject.as_str(), "ci");
        assert_eq!(identity.org.as_str(), "acme");
        assert_eq!(identity.credential.as_str(), "ci-1");
    }
}

#[test]
fn whatever_is_wrong_looks_the_same() {
    let new = NewKey::generate().unwrap();
    let identities = Identities::new(Keys::new(&[config("ci-1", &new.key)]).unwrap());
    let good = format!("Bearer {}", new.key);
    let long = format!("Bearer {}", "x".repeat(1 << 20));
    let hash = format!("Bearer {}", new.sha256);
    for bad in [
        &[][..],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &["Basic abc"],
        &[&new.key],
        &["Bearer pgw_unknown"],
        &[&long],
        &[&hash],
        &[&good, &good],
    ] {
        assert_eq!(identities.identify(&headers(bad)), Err(Unauthenticated));
    }
    assert_eq!(Error::from(Unauthenticated).code, Code::Unauthenticated);
}

#[test]
fn new_keys_are_long_different_and_hashed_as_printed() {
    let (one, two) = (NewKey::generate().unwrap(), NewKey::generate().unwrap());
    assert_ne!(one.key, two.key);
    assert_eq!(one.key.len(), "pgw_".len() + 43);
    assert_eq!(KeyHash::try_from(one.sha256.to_string()), Ok(KeyHash::of(&one.key)));
}

#[test]
fn a_hash_is_64_hexadecimal_digits() {
    for bad in ["", "ab", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"é".repeat(32)] {
        assert_eq!(KeyHash::try_from(bad.to_owned()), Err(KeyError::Hash), "{bad}");
    }
}

#[test]
fn one_key_cannot_mean_two_callers() {
    let same = Keys::new(&[config("a", "k"), config("b", "k")]);
    assert!(matches!(same, Err(KeyError::Duplicate(_))));
    let same_id = Keys::new(&[config("a", "k"), config("a", "l")]);
    assert!(matches!(same_id, Err(KeyError::DuplicateId(_))));
}
