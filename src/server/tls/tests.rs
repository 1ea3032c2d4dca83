//! Pairs of every kind, good and bad, and what a look at changed files does.

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
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;

use super::{
    Config, Fault, PairError, Tls,
    pair::Sight,
    reload::{Look, Seen},
};

mod handshakes;

/// A folder with the two files.
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

    fn load(&self) -> Result<Tls, PairError> {
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

/// The pair that new connections get.
fn current(tls: &Tls) -> Arc<ServerConfig> {
    tls.0.current.borrow().clone()
}

fn counted(tls: &Tls) -> (u64, u64) {
    (tls.counters().reloads_taken(), tls.counters().reloads_refused())
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
        (&"x".repeat(1 << 21), &key, ("tls.certificate", Fault::TooLarge)),
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
        assert_eq!(folder.refused(), ("tls.key", Fault::Exposed), "{refused:o}");
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

#[test]
fn a_new_pair_is_taken_once_two_looks_agree() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    let tls = folder.load().unwrap();
    let old = current(&tls);
    let seen = Seen::first(&tls).look(&tls, Look::Due);
    let (certificate, key) = pair();
    folder.certificate(&certificate);
    let seen = seen.look(&tls, Look::Due);
    folder.key(&key);
    let seen = seen.look(&tls, Look::Due);
    assert!(Arc::ptr_eq(&old, &current(&tls)), "each look saw something else");
    assert_eq!(counted(&tls), (0, 0));
    let seen = seen.look(&tls, Look::Due);
    let new = current(&tls);
    assert!(!Arc::ptr_eq(&old, &new));
    let _seen = seen.look(&tls, Look::Due).look(&tls, Look::Due);
    assert!(Arc::ptr_eq(&new, &current(&tls)), "nothing has changed");
    assert_eq!(counted(&tls), (1, 0));
}

#[test]
fn a_bad_pair_is_counted_once_and_the_last_good_one_stays() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    let tls = folder.load().unwrap();
    let good = current(&tls);
    let mut seen = Seen::first(&tls);
    let mut looks = |expected: u64| {
        for _ in 0..4 {
            seen = seen.look(&tls, Look::Due);
        }
        assert!(Arc::ptr_eq(&good, &current(&tls)));
        assert_eq!(counted(&tls), (0, expected));
    };
    folder.certificate(&pair().0);
    looks(1);
    fs::remove_file(folder.config().certificate).unwrap();
    looks(2);
    folder.certificate("no certificate");
    looks(3);
    folder.certificate(&certificate);
    mode(&folder.config().key, 0o644);
    looks(4);
}

#[test]
fn whoever_asks_is_served_at_the_first_look() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    let tls = folder.load().unwrap();
    let old = current(&tls);
    let (certificate, key) = pair();
    folder.write(&certificate, &key);
    let seen = Seen::first(&tls).look(&tls, Look::Asked);
    assert!(!Arc::ptr_eq(&old, &current(&tls)));
    folder.key("no key");
    let _seen = seen.look(&tls, Look::Asked).look(&tls, Look::Asked);
    assert_eq!(counted(&tls), (1, 2), "and told each time");
}

#[test]
fn where_one_file_ends_and_the_other_begins_counts() {
    let sight = |certificate: &str, key: &str| {
        let folder = Folder::with(certificate, key);
        Sight::of(&super::Files::read(&folder.config()))
    };
    assert_ne!(sight("ab", "c"), sight("a", "bc"));
    assert_eq!(sight("ab", "c"), sight("ab", "c"));
}

#[test]
fn debug_output_shows_no_key() {
    let (certificate, key) = pair();
    let folder = Folder::with(&certificate, &key);
    let (tls, files) = (folder.load().unwrap(), super::Files::read(&folder.config()).unwrap());
    let shown = format!("{tls:?} {files:?}");
    assert!(!key.lines().any(|line| shown.contains(line)) && shown.contains("REDACTED"), "{shown}");
}
