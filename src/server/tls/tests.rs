//! Files of every kind, good and bad, and what becomes of changed ones.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use tempfile::TempDir;

use super::{ClientCertificates, Config, Fault, FileError, Files, InForce, Tls};
use crate::{
    file,
    follow::{Follow as _, Taken},
};

mod client;
mod handshakes;

const CLIENT_CA: &str = "client-ca.crt";

/// A folder with the files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(certificate: &str, key: &str) -> Self {
        let folder = Self::new();
        folder.write(certificate, key);
        folder
    }

    fn config(&self) -> Config {
        Config::of(self.0.path().join("server.crt"), self.0.path().join("server.key"))
    }

    fn with_client_ca(&self) -> Config {
        Config { client_ca: Some(self.0.path().join(CLIENT_CA)), ..self.config() }
    }

    fn client_ca(&self, pem: &str) {
        let file = self.0.path().join(CLIENT_CA);
        fs::write(&file, pem).unwrap();
        mode(&file, 0o644);
    }

    fn certificate(&self, pem: &str) {
        fs::write(self.config().certificate, pem).unwrap();
    }

    fn key(&self, pem: &str) {
        let key = self.config().key;
        fs::write(&key, pem).unwrap();
        mode(&key, 0o600);
    }

    fn write(&self, certificate: &str, key: &str) {
        self.certificate(certificate);
        self.key(key);
    }

    fn load(&self) -> Result<Tls, FileError> {
        Tls::load(self.config())
    }

    fn refused(&self) -> (&'static str, Fault) {
        let error = self.load().unwrap_err();
        (error.key, error.fault)
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn pair_of(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn pair() -> (String, String) {
    pair_of(&PKCS_ECDSA_P256_SHA256)
}

/// What new connections get.
fn current(tls: &Tls) -> Arc<InForce> {
    tls.0.current.borrow().clone()
}

#[test]
fn keys_of_every_form_are_read() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
        let (certificate, key) = pair_of(algorithm);
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
        Folder::with(&certificate, &key).load().unwrap();
    }
}

/// The older forms are what PKCS#8 wraps.
#[test]
fn keys_of_older_forms_are_read() {
    for (algorithm, wrapping, form) in
        [(&PKCS_RSA_SHA256, 26, "RSA PRIVATE KEY"), (&PKCS_ECDSA_P256_SHA256, 29, "EC PRIVATE KEY")]
    {
        let (certificate, key) = pair_of(algorithm);
        let wrapped = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let inner = &wrapped.secret_der()[wrapping..];
        assert_eq!(inner[0], 0x30, "a sequence");
        let lines = BASE64_STANDARD.encode(inner);
        let key = format!("-----BEGIN {form}-----\n{lines}\n-----END {form}-----\n");
        Folder::with(&certificate, &key).load().unwrap();
    }
}

#[test]
fn a_pair_that_cannot_be_served_with_is_refused_by_key() {
    let ((certificate, key), (other, _)) = (pair(), pair());
    let begin = "-----BEGIN CERTIFICATE-----";
    for (crt, key, expected) in [
        ("", key.as_str(), ("tls.certificate", Fault::NoCertificate)),
        (key.as_str(), key.as_str(), ("tls.certificate", Fault::NoCertificate)),
        (&certificate[..certificate.len() / 2], &key, ("tls.certificate", Fault::NoCertificate)),
        (&format!("{certificate}{begin}\nMIIB"), &key, ("tls.certificate", Fault::NoCertificate)),
        (
            &format!("{begin}\nMIIB\n-----END CERTIFICATE-----\n"),
            &key,
            ("tls.certificate", Fault::BadCertificate),
        ),
        (&certificate, "", ("tls.key", Fault::NoKey)),
        (&certificate, &certificate, ("tls.key", Fault::NoKey)),
        (&certificate, &key[..key.len() / 2], ("tls.key", Fault::NoKey)),
        (&certificate, &key.replace("PRIVATE", "ENCRYPTED PRIVATE"), ("tls.key", Fault::NoKey)),
        (
            &certificate,
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
            ("tls.key", Fault::BadKey),
        ),
        (&other, &key, ("tls.key", Fault::Mismatch)),
        (&"x".repeat(1 << 21), &key, ("tls.certificate", Fault::File(file::Fault::TooLarge))),
    ] {
        assert_eq!(Folder::with(crt, key).refused(), expected);
    }
    Folder::with(&format!("{certificate}{other}"), &key).load().unwrap();
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    for refused in [0o644, 0o604, 0o610, 0o620] {
        mode(&folder.config().key, refused);
        assert_eq!(folder.refused(), ("tls.key", Fault::File(file::Fault::Exposed)), "{refused:o}");
    }
    let said = folder.load().unwrap_err().to_string();
    assert!(
        said.ends_with("server.key` must be closed to others, and its group may read at most: mode 0600 or 0440, for instance")
    );
    for good in [0o600, 0o400, 0o640, 0o440] {
        mode(&folder.config().key, good);
        folder.load().unwrap();
    }
}

#[tokio::test]
async fn what_was_looked_at_is_what_is_taken() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    let tls = folder.load().unwrap();
    assert_eq!(tls.look(), tls.first(), "nothing has changed");
    let old = current(&tls);
    let (certificate, key) = pair();
    folder.write(&certificate, &key);
    let look = tls.look();
    assert_ne!(look, tls.first());
    folder.key("no key");
    assert_eq!(tls.take(look).await, Taken::InForce);
    let new = current(&tls);
    assert!(!Arc::ptr_eq(&old, &new));
    let refused = tls.take(tls.look()).await;
    assert!(matches!(&refused, Taken::Refused(problem) if problem.starts_with("tls.key: `")), "{refused:?}");
    assert!(Arc::ptr_eq(&new, &current(&tls)), "the last good one stays");
}

#[tokio::test]
async fn a_bad_pair_or_bundle_is_refused_and_the_last_good_one_stays() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    folder.client_ca(&client::ca().pem());
    let tls = Tls::load(folder.with_client_ca()).unwrap();
    let good = current(&tls);
    let refuses = async |expected: &str| {
        let refused = tls.take(tls.look()).await;
        assert!(matches!(&refused, Taken::Refused(problem) if problem.contains(expected)), "{refused:?}");
        assert!(Arc::ptr_eq(&good, &current(&tls)));
    };
    folder.certificate(&pair().0);
    refuses("does not belong to the certificate").await;
    fs::remove_file(folder.config().certificate).unwrap();
    refuses("tls.certificate: ").await;
    folder.certificate("no certificate");
    refuses("holds no certificate in PEM").await;
    folder.certificate(&certificate);
    mode(&folder.config().key, 0o644);
    refuses("must be closed to others").await;
    mode(&folder.config().key, 0o600);
    for bad in ["", "no CA", &key, &format!("{certificate}-----BEGIN CERTIFICATE-----\nMIIB")] {
        folder.client_ca(bad);
        refuses("client-ca.crt` holds no certificate in PEM").await;
    }
    folder.client_ca("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    refuses("client-ca.crt` holds a certificate that cannot be used").await;
    // Whoever writes it decides who may call.
    mode(&folder.0.path().join(CLIENT_CA), 0o664);
    refuses("client-ca.crt` must be written by its owner alone").await;
    fs::remove_file(folder.0.path().join(CLIENT_CA)).unwrap();
    refuses("tls.client_ca: ").await;
    folder.client_ca(&client::ca().pem());
    assert_eq!(tls.take(tls.look()).await, Taken::InForce, "the bundle changes alone");
}

#[test]
fn the_end_of_the_certificate_in_force_is_known() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2031, 2, 3);
    let certificate = params.self_signed(&key).unwrap().pem();
    let tls = Folder::with(&certificate, &key.serialize_pem()).load().unwrap();
    assert_eq!(tls.counters().certificate_ends(), Some(params.not_after.unix_timestamp()));
}

#[test]
fn whether_clients_need_a_certificate_is_said_with_their_cas_only() {
    let config = Folder::new().config();
    config.check().unwrap();
    let client_certificates = Some(ClientCertificates::Required);
    let invalid = Config { client_certificates, ..config }.check().unwrap_err();
    assert_eq!((invalid.key, invalid.problem), ("client_certificates", "must not be set without client_ca"));
}

#[test]
fn where_one_file_ends_and_the_other_begins_counts() {
    let sight = |certificate: &str, key: &str| Files::read(&Folder::with(certificate, key).config()).unwrap();
    assert_ne!(sight("ab", "c"), sight("a", "bc"));
    assert_eq!(sight("ab", "c"), sight("ab", "c"));
}

#[test]
fn debug_output_shows_no_key() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    let (tls, files) = (folder.load().unwrap(), Files::read(&folder.config()).unwrap());
    let shown = format!("{tls:?} {files:?}");
    assert!(!key.lines().any(|line| shown.contains(line)) && shown.contains("REDACTED"), "{shown}");
}
