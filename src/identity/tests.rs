//! Keys that are known, and everything that is not.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::{
    Asker, Expiry, Identities, NotATime, Refused, Shown,
    api_key::{Config, KeyError, KeyHash, Keys, NewKey, NotAHash},
};
use crate::{
    call::{Deadline, Identity, Scope, Scopes},
    error::{Code, Error},
    rpc::{CREATE_PREBUILD, CREATE_PREBUILD_LOGS_TOKEN, Class, GET_AUTHENTICATED_IDENTITY, LIST_PREBUILDS},
};

mod certificate;

/// Whoever it is, it may ask.
#[derive(Debug)]
struct Anybody;

impl Asker for Anybody {
    fn may_ask(&self) -> bool {
        true
    }

    fn asked_in_vain(&self) {}
}

fn config(id: &str, key: &str) -> Config {
    Config::new(id.into(), "ci".into(), "acme".into(), KeyHash::of(key))
}

fn headers(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
}

async fn identify(identities: &Identities, values: &[&str]) -> Result<Identity, Refused> {
    let deadline = Deadline::at(Instant::now() + Duration::from_secs(1));
    let headers = headers(values);
    identities.identify(Shown { headers: &headers, certificate: None, asker: &Anybody, deadline }).await
}

fn is_refused(result: Result<Identity, Refused>) -> bool {
    matches!(result, Err(Refused::Unauthenticated(_)))
}

/// What the log is told, and callers are not.
#[tokio::test]
async fn the_log_tells_an_unknown_key_from_a_token_of_nobodys() {
    let identities = Identities::new(Keys::new(&[config("ci-1", "k")]).unwrap());
    for (shown, cause) in [
        ("Bearer pgw_unknown", "unknown or expired API key"),
        ("Bearer unknown", "no API key, and no token of a configured issuer"),
        ("Bearer a.b.c", "no API key, and no token of a configured issuer"),
    ] {
        assert_eq!(identify(&identities, &[shown]).await.unwrap_err().to_string(), cause);
    }
}

#[tokio::test]
async fn a_known_key_is_its_subject_and_org() {
    let new = NewKey::generate().unwrap();
    let identities = Identities::new(Keys::new(&[config("ci-1", &new.key)]).unwrap());
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let identity = identify(&identities, &[&format!("{scheme} {}", new.key)]).await.unwrap();
        assert_eq!(identity.subject.as_str(), "ci");
        assert_eq!(identity.org.as_str(), "acme");
        assert_eq!(identity.credential.as_str(), "ci-1");
    }
}

#[tokio::test]
async fn whatever_is_wrong_looks_the_same() {
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
        assert!(is_refused(identify(&identities, bad).await));
    }
    assert_eq!(Error::from(Refused::Unauthenticated("")).code, Code::Unauthenticated);
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
        assert_eq!(KeyHash::try_from(bad.to_owned()), Err(NotAHash), "{bad}");
    }
}

#[test]
fn one_key_cannot_mean_two_callers() {
    let same = Keys::new(&[config("a", "k"), config("b", "k")]).unwrap_err();
    assert_eq!(same, KeyError::Duplicate { index: 1, id: "b".into() });
    let same_id = Keys::new(&[config("x", "j"), config("a", "k"), config("a", "l")]).unwrap_err();
    assert_eq!(same_id, KeyError::DuplicateId { index: 2, id: "a".into() });
}

#[test]
fn a_subject_may_have_several_keys() {
    let keys = Keys::new(&[config("b", "k"), config("a", "l")]).unwrap();
    let now = SystemTime::now();
    assert_eq!(keys.find("k", now).unwrap().subject, keys.find("l", now).unwrap().subject);
    let ids: Vec<_> = keys.all().iter().map(|key| key.identity.credential.to_string()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn an_expired_key_is_an_unknown_one() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let expires = Some(Expiry::try_from("2027-01-15T08:00:00Z").unwrap());
    let keys = Keys::new(&[Config { expires, ..config("a", "k") }]).unwrap();
    assert!(keys.find("k", at - Duration::from_nanos(1)).is_some());
    assert!(keys.find("k", at).is_none(), "from then on");
    assert!(keys.find("k", at + Duration::from_secs(1)).is_none());

    let past = Some(Expiry::try_from("2020-01-01T00:00:00Z").unwrap());
    let identities = Identities::new(Keys::new(&[Config { expires: past, ..config("a", "k") }]).unwrap());
    assert!(is_refused(identify(&identities, &["Bearer k"]).await));
}

#[test]
fn a_time_has_a_date_a_time_and_an_offset() {
    let utc = Expiry::try_from("2027-01-15T08:00:00Z").unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for same in ["2027-01-15T10:30:00+02:30", "2027-01-14T23:00:00.000-09:00", "2027-01-15t08:00:00z"] {
        let other = Expiry::try_from(same).unwrap();
        assert!(other.is_after(at - Duration::from_nanos(1)) && !other.is_after(at), "{same}");
    }
    assert_eq!(utc.to_string(), "2027-01-15T08:00:00Z");
    for far in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        assert_eq!(Expiry::try_from(far).unwrap().to_string(), far);
    }
    for bad in [
        "",
        "never",
        "1800000000",
        "2027-01-15",
        "08:00:00",
        "2027-01-15T08:00:00",
        "2027-02-30T08:00:00Z",
        "2027-13-01T08:00:00Z",
        "2027-01-15T25:00:00Z",
        "2027-01-15T08:00:00Z ",
        "15 Jan 2027 08:00:00 GMT",
    ] {
        assert_eq!(Expiry::try_from(bad), Err(NotATime), "{bad}");
    }
}

#[test]
fn scopes_are_classes_or_methods_and_cover_no_others() {
    let scope = |text: &str| Scope::try_from(text.to_owned());
    let mutate = Scopes::new(&[Scope::Class(Class::Mutate)]);
    assert!(mutate.cover(&CREATE_PREBUILD));
    assert!(!mutate.cover(&LIST_PREBUILDS), "a right to change is none to look");
    assert!(!mutate.cover(&CREATE_PREBUILD_LOGS_TOKEN));
    let read = Scopes::new(&[scope("read").unwrap()]);
    assert!(read.cover(&LIST_PREBUILDS) && read.cover(&GET_AUTHENTICATED_IDENTITY));
    assert!(!read.cover(&CREATE_PREBUILD));
    let single = Scopes::new(&[scope("CreatePrebuildLogsToken").unwrap(), scope("CreatePrebuild").unwrap()]);
    assert!(single.cover(&CREATE_PREBUILD_LOGS_TOKEN) && single.cover(&CREATE_PREBUILD));
    assert!(!single.cover(&LIST_PREBUILDS));
    assert!(crate::rpc::methods().all(|method| Scopes::all().cover(method)));
    for unknown in
        ["", "write", "Read", "*", "createprebuild", "StartPrebuild", "/gitpod.v1.PrebuildService/x"]
    {
        assert!(scope(unknown).is_err(), "{unknown}");
    }
}

/// A scope names a method without its service.
#[test]
fn a_methods_name_is_only_one_methods() {
    let names: std::collections::HashSet<_> = crate::rpc::methods().map(|method| method.name).collect();
    assert_eq!(names.len(), crate::rpc::methods().count());
}

#[tokio::test]
async fn other_keys_count_at_once_and_for_every_clone() {
    let identities = Identities::new(Keys::new(&[config("a", "k")]).unwrap());
    let front = identities.clone();
    assert!(identify(&front, &["Bearer k"]).await.is_ok());
    identities.replace(Keys::new(&[config("b", "l")]).unwrap());
    assert!(is_refused(identify(&front, &["Bearer k"]).await));
    assert_eq!(identify(&front, &["Bearer l"]).await.unwrap().credential.as_str(), "b");
}

/// A time may also be TOML's own, which has no quotes.
#[test]
fn entries_are_read_as_they_are_written() {
    let sha256 = KeyHash::of("k");
    let entry = format!(
        "id = 'a'\nsubject = 'ci'\norg = 'acme'\nsha256 = '{sha256}'\nscopes = ['read', 'CreatePrebuild']\n"
    );
    for expires in ["\"2027-01-15T08:00:00Z\"", "2027-01-15T08:00:00Z", "2027-01-15 08:00:00Z"] {
        let config: Config = toml::from_str(&format!("{entry}expires = {expires}")).unwrap();
        assert_eq!(config.expires.unwrap().to_string(), "2027-01-15T08:00:00Z", "{expires}");
        assert_eq!(config.scopes, [Scope::Class(Class::Read), Scope::Method("CreatePrebuild")]);
    }
    for local in ["2027-01-15", "2027-01-15T08:00:00", "08:00:00", "1800000000"] {
        assert!(toml::from_str::<Config>(&format!("{entry}expires = {local}")).is_err(), "{local}");
    }
}
