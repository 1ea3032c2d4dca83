//! Certificates that an entry is for, those that none is for, and both beside tokens.

use super::*;
use crate::{
    call::{Names, PeerCertificate},
    error::Reason,
    identity::certificate::{CertificateError, Certificates, Config as Entry, DnsName, SpiffeId},
    rpc::GET_PREBUILD,
};

const CI: &str = "spiffe://example.org/ci";

fn spiffe(id: &str) -> SpiffeId {
    id.to_owned().try_into().unwrap()
}

fn dns(name: &str) -> DnsName {
    name.to_owned().try_into().unwrap()
}

fn entry(id: &str) -> Entry {
    Entry {
        id: id.into(),
        subject: "ci".into(),
        org: "acme".into(),
        spiffe_id: None,
        dns_name: None,
        scopes: vec![Scope::Class(Class::Read), Scope::Class(Class::Mutate)],
    }
}

fn certificates() -> Certificates {
    let by_id = Entry { spiffe_id: Some(spiffe(CI)), ..entry("by-id") };
    let by_name = Entry { dns_name: Some(dns("CI.example.com")), ..entry("by-name") };
    let other = Entry { dns_name: Some(dns("other.example.com")), org: "globex".into(), ..entry("other") };
    Certificates::new(&[by_id, by_name, other]).unwrap()
}

fn shown(uris: &[&str], dns_names: &[&str]) -> PeerCertificate {
    names(Names {
        uris: uris.iter().map(|&uri| uri.to_owned()).collect(),
        dns_names: dns_names.iter().map(|&name| name.to_owned()).collect(),
        is_authority: false,
    })
}

fn names(names: Names) -> PeerCertificate {
    PeerCertificate::new(names, SystemTime::now(), || true)
}

/// The entry that is found.
fn found(certificate: &PeerCertificate) -> Result<Option<String>, ()> {
    let certificates = certificates();
    let found = certificates.find(certificate).map_err(|_| ())?;
    Ok(found.map(|identity| identity.credential.to_string()))
}

fn identities() -> Identities {
    let narrow =
        Config { scopes: vec![Scope::Class(Class::Read), Scope::Class(Class::Secret)], ..config("a", "k") };
    let foreign = Config { org: "globex".into(), ..config("b", "foreign") };
    let deputy = Config { subject: "deputy".into(), ..config("c", "deputy") };
    let keys = Keys::new(&[narrow, foreign, deputy]).unwrap();
    Identities::new(keys).with_certificates(certificates())
}

async fn both(certificate: &PeerCertificate, values: &[&str]) -> Result<Identity, Refused> {
    let headers = headers(values);
    let deadline = Deadline::at(Instant::now() + Duration::from_secs(1));
    let shown = Shown { headers: &headers, certificate: Some(certificate), asker: &Anybody, deadline };
    identities().identify(shown).await
}

#[test]
fn a_certificate_is_known_by_its_one_uri_or_by_a_dns_name() {
    assert_eq!(found(&shown(&[CI], &[])), Ok(Some("by-id".to_owned())));
    assert_eq!(found(&shown(&[], &["ci.example.com"])), Ok(Some("by-name".to_owned())));
    assert_eq!(found(&shown(&[CI], &["elsewhere.example.com"])), Ok(Some("by-id".to_owned())));
    assert_eq!(found(&shown(&[], &["a.example.com", "ci.example.com"])), Ok(Some("by-name".to_owned())));
    assert_eq!(found(&shown(&[], &["ci.example.com", "ci.example.com"])), Ok(Some("by-name".to_owned())));
}

#[test]
fn others_are_for_nobody() {
    for (uris, dns_names) in [
        (&[][..], &[][..]),
        (&[CI, "spiffe://example.org/other"], &[]),
        (&[CI, CI], &[]),
        (&[CI, "https://example.org"], &[]),
        (&["spiffe://example.org/ci/"], &[]),
        (&["spiffe://example.org/CI"], &[]),
        (&["spiffe://EXAMPLE.org/ci"], &[]),
        (&["spiffe://example.org"], &[]),
        (&["ci.example.com"], &[CI]),
        (&[], &["*.example.com"]),
        (&[], &["ci.example.com."]),
        (&[], &["example.com"]),
        (&[], &["a.ci.example.com"]),
    ] {
        assert_eq!(found(&shown(uris, dns_names)), Ok(None), "{uris:?} {dns_names:?}");
    }
    let ca =
        Names { uris: vec![CI.to_owned()], dns_names: vec!["ci.example.com".to_owned()], is_authority: true };
    assert_eq!(found(&names(ca)), Ok(None), "what signs others is nobody itself");
}

#[test]
fn two_entries_for_one_certificate_are_one_too_many() {
    assert_eq!(found(&shown(&[CI], &["ci.example.com"])), Err(()));
    assert_eq!(found(&shown(&[], &["ci.example.com", "other.example.com"])), Err(()));
    // It is no SVID, but has a DNS name all the same.
    let no_svid = shown(&[CI, "https://example.org"], &["ci.example.com"]);
    assert_eq!(found(&no_svid), Ok(Some("by-name".to_owned())));
}

#[test]
fn a_spiffe_id_is_as_its_specification_says() {
    let longest = format!("spiffe://example.org/{}", "x".repeat(2048 - 21));
    for good in [CI, "spiffe://a/b", "spiffe://1-a_b.c/Ns/..x/a.b-c_D", &longest] {
        assert!(SpiffeId::try_from(good.to_owned()).is_ok(), "{good}");
    }
    for bad in [
        "",
        "spiffe://",
        "spiffe:///ci",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org/ci/",
        "spiffe://example.org//ci",
        "spiffe://example.org/./ci",
        "spiffe://example.org/a/../ci",
        "spiffe://Example.org/ci",
        "SPIFFE://example.org/ci",
        "spiffe://example.org:8443/ci",
        "spiffe://user@example.org/ci",
        "spiffe://example.org/ci?a=b",
        "spiffe://example.org/ci#a",
        "spiffe://example.org/c%69",
        "spiffe://example.org/c i",
        "spiffe://exämple.org/ci",
        "spiffe://example.org/*",
        "https://example.org/ci",
        "example.org/ci",
        &format!("{longest}x"),
        &format!("spiffe://{}/ci", "x".repeat(256)),
    ] {
        assert!(SpiffeId::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn a_dns_name_is_whole_and_in_lower_case() {
    assert_eq!(dns("CI.Example.com"), dns("ci.example.com"));
    let longest = format!("{}.{}", "x".repeat(63), "y.".repeat(94) + "z");
    for good in ["localhost", "a-b.c_d.example", "1.example", "xn--bcher-kva.example", &longest] {
        assert!(DnsName::try_from(good.to_owned()).is_ok(), "{good} {}", good.len());
    }
    for bad in [
        "",
        ".",
        "example.com.",
        ".example.com",
        "a..b",
        "*.example.com",
        "*",
        "-a.example",
        "a-.example",
        "10.0.0.1",
        "::1",
        "bücher.example",
        "a b",
        "ci@example.com",
        "https://example.com",
        "example.com:443",
        &"x".repeat(64),
        &format!("{longest}{longest}"),
    ] {
        assert!(DnsName::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn one_name_cannot_mean_two_callers() {
    let by_id = |id: &str| Entry { spiffe_id: Some(spiffe(CI)), ..entry(id) };
    let by_name = |id: &str, name: &str| Entry { dns_name: Some(dns(name)), ..entry(id) };
    let error = |entries: &[Entry]| Certificates::new(entries).unwrap_err();
    assert_eq!(
        error(&[by_id("a"), by_name("b", "b"), by_id("c")]),
        CertificateError::Duplicate { index: 2, name: CI.to_owned(), key: "spiffe_id" }
    );
    assert_eq!(
        error(&[by_name("a", "X"), by_name("b", "x")]),
        CertificateError::Duplicate { index: 1, name: "x".to_owned(), key: "dns_name" }
    );
    assert_eq!(
        error(&[by_id("a"), by_name("a", "b")]),
        CertificateError::DuplicateId { index: 1, id: "a".into() }
    );
    let two = Entry { dns_name: Some(dns("b")), ..by_id("a") };
    for nameless in [entry("a"), two] {
        assert_eq!(error(&[nameless]), CertificateError::NotOneName { index: 0 });
    }
}

#[tokio::test]
async fn a_certificate_needs_no_token_and_a_token_beside_it_has_to_agree() {
    let known = shown(&[CI], &[]);
    let alone = both(&known, &[]).await.unwrap();
    assert_eq!((alone.credential.as_str(), alone.org.as_str()), ("by-id", "acme"));

    let agreed = both(&known, &["Bearer k"]).await.unwrap();
    assert_eq!(agreed.credential.as_str(), "a", "the token is the narrower one");
    assert!(agreed.scopes.cover(&GET_PREBUILD));
    assert!(!agreed.scopes.cover(&CREATE_PREBUILD), "not the token's");
    assert!(!agreed.scopes.cover(&CREATE_PREBUILD_LOGS_TOKEN), "not the certificate's");

    for disagrees in ["Bearer foreign", "Bearer deputy"] {
        let refused = both(&known, &[disagrees]).await.unwrap_err();
        assert_eq!(refused, Refused::Conflict);
        let error = Error::from(refused);
        assert_eq!((error.code, error.reason), (Code::PermissionDenied, Some(Reason::IdentityConflict)));
    }
    for bad in [&["Bearer made-up"][..], &["Basic k"], &[""], &["Bearer k", "Bearer k"]] {
        assert!(is_refused(both(&known, bad).await), "{bad:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_no_entry_is_for_says_nothing() {
    let stranger = shown(&["spiffe://example.org/stranger"], &[]);
    assert!(is_refused(both(&stranger, &[]).await));
    assert_eq!(both(&stranger, &["Bearer foreign"]).await.unwrap().org.as_str(), "globex");
    assert!(is_refused(both(&stranger, &["Bearer made-up"]).await));
    // One that several are for is another thing: something is wrong.
    let ambiguous = shown(&[CI], &["ci.example.com"]);
    assert!(is_refused(both(&ambiguous, &["Bearer k"]).await));
}

#[tokio::test]
async fn a_certificate_that_is_good_no_more_is_refused_whatever_else_is_shown() {
    let names = Names { uris: vec![CI.to_owned()], ..Names::default() };
    let ended = PeerCertificate::new(names, SystemTime::now(), || false);
    assert!(is_refused(both(&ended, &[]).await));
    assert!(is_refused(both(&ended, &["Bearer k"]).await));
    let stranger = PeerCertificate::new(Names::default(), SystemTime::now(), || false);
    assert!(is_refused(both(&stranger, &["Bearer k"]).await));
}
