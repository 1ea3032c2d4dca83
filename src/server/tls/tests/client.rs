//! Whom a client certificate names, and until when it stands.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertifiedIssuer, CustomExtension, IsCa, KeyUsagePurpose, SanType};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{super::client, *};
use crate::call::Names;

const SAN: &[u64] = &[2, 5, 29, 17];

/// What a certificate with these alternative names says.
fn names(alternatives: Vec<SanType>) -> Names {
    names_of(|params| params.subject_alt_names = alternatives)
}

fn names_of(change: impl FnOnce(&mut CertificateParams)) -> Names {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "common.example.com");
    change(&mut params);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let (_, certificate) = X509Certificate::from_der(certificate.der()).unwrap();
    client::names(&certificate)
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// An extension with these bytes.
fn raw(content: &[u8]) -> Names {
    let extension = CustomExtension::from_oid_content(SAN, content.to_vec());
    names_of(|params| params.custom_extensions = vec![extension])
}

#[test]
fn uris_and_dns_names_are_read_and_nothing_else_is() {
    let said = names(vec![
        uri("spiffe://example.org/ci"),
        dns("CI.Example.com"),
        dns("*.example.com"),
        SanType::IpAddress([10, 0, 0, 1].into()),
        SanType::Rfc822Name("ci@example.com".try_into().unwrap()),
    ]);
    assert_eq!(said.uris, ["spiffe://example.org/ci"]);
    assert_eq!(said.dns_names, ["ci.example.com", "*.example.com"]);
    assert!(!said.is_authority);
    let two = names(vec![uri("spiffe://example.org/a"), uri("https://example.org")]);
    assert_eq!(two.uris.len(), 2, "both count, so that it is no SVID");
}

#[test]
fn without_alternative_names_it_names_nobody() {
    assert_eq!(names(Vec::new()), Names::default());
    assert_eq!(names(vec![SanType::IpAddress([10, 0, 0, 1].into())]), Names::default());
}

/// One name that cannot be read spoils the others: what it would have said is not known.
#[test]
fn malformed_alternative_names_name_nobody() {
    let good = b"\x30\x08\x82\x06a.test";
    assert_eq!(raw(good).dns_names, ["a.test"]);
    for bad in [&b""[..], b"\x30", b"\x30\x7f\x82\x06a.test", b"\x04\x08\x82\x06a.test", b"a.test"] {
        assert_eq!(raw(bad), Names::default(), "{bad:?}");
    }
    let no_text = b"\x30\x0c\x82\x06a.test\x82\x02\xff\xfe";
    assert_eq!(raw(no_text), Names::default());
    let twice = CustomExtension::from_oid_content(SAN, good.to_vec());
    let twice = names_of(|params| params.custom_extensions = vec![twice.clone(), twice]);
    assert_eq!(twice, Names::default());
}

#[test]
fn what_may_sign_others_is_an_authority() {
    let signs = |usage: KeyUsagePurpose| {
        names_of(|params| {
            params.subject_alt_names = vec![dns("a.test")];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, usage];
        })
    };
    assert!(!signs(KeyUsagePurpose::KeyEncipherment).is_authority);
    assert!(signs(KeyUsagePurpose::KeyCertSign).is_authority && signs(KeyUsagePurpose::CrlSign).is_authority);
    let ca = names_of(|params| {
        params.subject_alt_names = vec![dns("a.test")];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert!(ca.is_authority);
}

pub(super) fn ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn a_certificate_stands_until_it_ends_or_its_ca_goes() {
    let ((certificate, key), ca) = (pair(), ca());
    let folder = Folder::with(&certificate, &key);
    folder.client_ca(&ca.pem());
    let tls = Tls::load(folder.with_client_ca()).unwrap();
    let mut params = CertificateParams::new(vec!["ci.test".to_owned()]).unwrap();
    let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let shown = |params: &CertificateParams| {
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap();
        client::certificate(&tls.0, &current(&tls), &[leaf.der().clone()], begun).unwrap()
    };
    let stands = shown(&params);
    assert!(stands.stands() && stands.stands());
    // It has ended since the handshake.
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    assert!(!shown(&params).stands());

    // Another CA beside it changes nothing, and without its own it is nothing any more.
    let other = super::client::ca();
    folder.client_ca(&format!("{}{}", other.pem(), ca.pem()));
    assert_eq!(tls.take(tls.look()).await, Taken::InForce);
    assert!(stands.stands());
    folder.client_ca("no CA");
    assert!(matches!(tls.take(tls.look()).await, Taken::Refused(_)));
    assert!(stands.stands(), "a bad bundle takes nobody's place");
    folder.client_ca(&other.pem());
    assert_eq!(tls.take(tls.look()).await, Taken::InForce);
    assert!(!stands.stands());
    folder.client_ca(&ca.pem());
    assert_eq!(tls.take(tls.look()).await, Taken::InForce);
    assert!(stands.stands(), "and with it, it is again");
}

/// Of a connection that lives longer than the certificate.
#[tokio::test]
async fn a_certificate_that_ends_is_seen_to_end() {
    let ((certificate, key), ca) = (pair(), ca());
    let folder = Folder::with(&certificate, &key);
    folder.client_ca(&ca.pem());
    let tls = Tls::load(folder.with_client_ca()).unwrap();
    let mut params = CertificateParams::new(vec!["ci.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2400, 1, 1);
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap();
    let standing = client::Standing::new(&tls.0, &current(&tls), &[leaf.der().clone()], SystemTime::now());
    let end =
        SystemTime::UNIX_EPOCH + Duration::from_secs(params.not_after.unix_timestamp().try_into().unwrap());
    assert!(standing.is_good(SystemTime::now()));
    assert!(standing.is_good(end), "the last second is a whole one");
    assert!(!standing.is_good(end + Duration::from_secs(1)));
    // A clock that was wrong, and is set right.
    assert!(standing.is_good(SystemTime::now()), "it was ahead");
    let begin =
        SystemTime::UNIX_EPOCH + Duration::from_secs(params.not_before.unix_timestamp().try_into().unwrap());
    assert!(!standing.is_good(begin - Duration::from_secs(1)));
    assert!(standing.is_good(SystemTime::now()), "it was behind");
}

#[test]
fn a_connection_counts_the_first_end_in_the_chain() {
    let ((certificate, key), ca) = (pair(), ca());
    let folder = Folder::with(&certificate, &key);
    folder.client_ca(&ca.pem());
    let tls = Tls::load(folder.with_client_ca()).unwrap();
    let chain = [2400, 2300, 2020].map(|year| {
        let mut params = CertificateParams::new(vec!["ci.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap().der().clone()
    });
    let shown = client::certificate(&tls.0, &current(&tls), &chain, SystemTime::now()).unwrap();
    let end = rcgen::date_time_ymd(2300, 1, 1).unix_timestamp() + 1;
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(end.try_into().unwrap());
    assert_eq!(shown.ends(), end, "and not that of one that nothing was verified by");
}

#[test]
fn a_bundle_holds_cas_and_nothing_else() {
    let ((certificate, key), good) = (pair(), ca());
    let folder = Folder::with(&certificate, &key);
    let fault = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(vec!["ca.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let other = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        folder.client_ca(&format!("{}{}", good.pem(), other.pem()));
        let loaded = Tls::load(folder.with_client_ca());
        loaded.err().map(|error| (error.key, error.fault))
    };
    let no_authority = Some(("tls.client_ca", Fault::NoAuthority));
    assert_eq!(fault(&|_| {}), None);
    assert_eq!(fault(&|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]), None);
    assert_eq!(fault(&|params| params.is_ca = IsCa::NoCa), no_authority);
    assert_eq!(fault(&|params| params.is_ca = IsCa::ExplicitNoCa), no_authority);
    assert_eq!(fault(&|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]), no_authority);
    let ended = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    assert_eq!(fault(&ended), Some(("tls.client_ca", Fault::Ended)));
}
