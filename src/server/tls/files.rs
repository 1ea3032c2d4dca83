//! Certificate, key and the CAs of client certificates: read and judged as one.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use rustls::{
    Error as RustlsError, InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};

use super::{ClientCertificates, Config, InForce, client};
use crate::file::{self, Access};

/// By ALPN, in the order of preference. A client without it speaks HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Bytes of CA names that clients are told, to choose their certificate by. The field ends at 64 KiB; where the names are
/// longer, none are told and clients choose by themselves (RFC 8446, section 4.2.4).
const MAX_HINTS: usize = 16 << 10;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";

/// What is wrong with a file. Its content is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {fault}", path.display())]
pub struct FileError {
    /// The key of the config that names the file.
    pub key: &'static str,
    pub path: PathBuf,
    pub fault: Fault,
}

/// How a file cannot be served with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    File(#[from] file::Fault),
    #[error("holds no certificate in PEM")]
    NoCertificate,
    #[error("holds a certificate that cannot be used")]
    BadCertificate,
    #[error("holds no private key in PEM (PKCS#8, PKCS#1 or SEC1, not encrypted)")]
    NoKey,
    #[error("holds a private key that cannot be used")]
    BadKey,
    #[error("holds a private key that does not belong to the certificate")]
    Mismatch,
    #[error("holds a certificate that is no CA's (basicConstraints with CA, and keyCertSign in a keyUsage)")]
    NoAuthority,
    #[error("holds a certificate that has ended")]
    Ended,
}

/// All files at one time. Equal if they hold the same.
#[derive(Clone, Debug)]
pub struct Files(Arc<Held>);

#[derive(Debug)]
struct Held {
    certificate: Vec<u8>,
    key: SecretSlice<u8>,
    client_ca: Option<Vec<u8>>,
    hash: [u8; 32],
}

impl Files {
    pub(super) fn read(config: &Config) -> Result<Self, FileError> {
        let read = |key, path: &PathBuf, access| {
            file::read(path, access).map_err(|fault| config.problem(key, fault.into()))
        };
        let certificate = read(CERTIFICATE, &config.certificate, Access::Open)?;
        let key = read(KEY, &config.key, Access::Closed)?;
        let client_ca = config.client_ca.as_ref().map(|path| read(CLIENT_CA, path, Access::Guarded));
        Ok(Self::of(certificate, key.into(), client_ca.transpose()?))
    }

    fn of(certificate: Vec<u8>, key: SecretSlice<u8>, client_ca: Option<Vec<u8>>) -> Self {
        let mut hash = Sha256::new();
        // Each file by itself first: where one ends and the other begins counts.
        for content in [&certificate[..], key.expose_secret(), client_ca.as_deref().unwrap_or_default()] {
            hash.update(Sha256::digest(content));
        }
        let hash = hash.finalize().into();
        Self(Arc::new(Held { certificate, key, client_ca, hash }))
    }

    /// What new connections get, if all belong together.
    pub(super) fn judge(&self, config: &Config, generation: u64) -> Result<InForce, FileError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = self.verifier(config, &provider)?;
        let pair = self.pair(config, &provider)?;
        let ends = pair.end_entity_cert().ok().and_then(|certificate| client::end_of(certificate));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|_| config.problem(CERTIFICATE, Fault::BadCertificate))?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let mut settings = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        settings.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        if verifier.is_some() {
            // Who resumes a session shows no certificate: the one that it began with would stay for as long as the client
            // has tickets, whatever the client has been given since.
            settings.session_storage = Arc::new(NoServerSessionStorage {});
            settings.send_tls13_tickets = 0;
        }
        Ok(InForce { generation, settings: Arc::new(settings), verifier, ends })
    }

    fn pair(&self, config: &Config, provider: &CryptoProvider) -> Result<CertifiedKey, FileError> {
        let chain =
            chain(&self.0.certificate).ok_or_else(|| config.problem(CERTIFICATE, Fault::NoCertificate))?;
        let key = PrivateKeyDer::from_pem_slice(self.0.key.expose_secret());
        let key = key.map_err(|_| config.problem(KEY, Fault::NoKey))?;
        let key = provider.key_provider.load_private_key(key);
        let pair = CertifiedKey::new(chain, key.map_err(|_| config.problem(KEY, Fault::BadKey))?);
        pair.keys_match().map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                config.problem(KEY, Fault::Mismatch)
            }
            RustlsError::InconsistentKeys(_) => config.problem(KEY, Fault::BadKey),
            _ => config.problem(CERTIFICATE, Fault::BadCertificate),
        })?;
        Ok(pair)
    }

    /// What judges client certificates, where they are looked at.
    fn verifier(
        &self,
        config: &Config,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, FileError> {
        let Some(bundle) = &self.0.client_ca else { return Ok(None) };
        let bad = || config.problem(CLIENT_CA, Fault::BadCertificate);
        let now = SystemTime::now();
        let bundle = chain(bundle).ok_or_else(|| config.problem(CLIENT_CA, Fault::NoCertificate))?;
        let mut roots = RootCertStore::empty();
        for root in bundle {
            client::judge_authority(&root, now).map_err(|fault| config.problem(CLIENT_CA, fault))?;
            // One that cannot be used is a mistake in the file: nobody may be shut out by it unnoticed.
            roots.add(root).map_err(|_| bad())?;
        }
        let hints: usize = roots.subjects().iter().map(|name| name.as_ref().len() + 2).sum();
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        if hints > MAX_HINTS {
            builder = builder.clear_root_hint_subjects();
        }
        if config.client_certificates.unwrap_or_default() == ClientCertificates::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map(Some).map_err(|_| bad())
    }
}

impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Config {
    fn problem(&self, key: &'static str, fault: Fault) -> FileError {
        let path = match key {
            CERTIFICATE => Some(&self.certificate),
            KEY => Some(&self.key),
            _ => self.client_ca.as_ref(),
        };
        FileError { key, path: path.cloned().unwrap_or_default(), fault }
    }
}

/// Every certificate of a PEM file; none if there is none, or one is broken.
fn chain(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!chain.is_empty()).then_some(chain)
}
