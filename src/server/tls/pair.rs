//! Certificate and key, read and judged as one.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    Error as RustlsError, InconsistentKeys, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};

use super::Config;

/// By ALPN, in the order of preference. A client without it speaks HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Far more than a chain of certificates needs, and no burden to read again and again.
const MAX_FILE: u64 = 1 << 20;

/// What a file's mode must not grant: anything to others, or more than reading to the group. (Kubernetes gives a pod's own
/// group that much where `fsGroup` is set.)
const OTHERS: u32 = 0o037;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";

/// What is wrong with a file. Its content is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {fault}", path.display())]
pub struct PairError {
    /// The key of the config that names the file.
    pub key: &'static str,
    pub path: PathBuf,
    pub fault: Fault,
}

/// How a file cannot be served with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    #[error("is not a file")]
    NotAFile,
    #[error("is larger than 1 MiB")]
    TooLarge,
    #[error("must be closed to others, and its group may read at most: mode 0600 or 0440, for instance")]
    Exposed,
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
}

/// Both files at one time.
#[derive(Debug)]
pub(super) struct Files {
    certificate: Vec<u8>,
    key: SecretSlice<u8>,
}

/// What was seen of the files, as a hash: enough to tell whether they have changed, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight([u8; 32]);

impl Files {
    pub(super) fn read(config: &Config) -> Result<Self, PairError> {
        let certificate = read(&config.certificate, false).map_err(|fault| config.certificate(fault))?;
        let key = read(&config.key, true).map_err(|fault| config.key(fault))?;
        Ok(Self { certificate, key: key.into() })
    }

    pub(super) fn sight(&self) -> Sight {
        let mut hash = Sha256::new();
        // Each file by itself first: where one ends and the other begins counts.
        hash.update(Sha256::digest(&self.certificate));
        hash.update(Sha256::digest(self.key.expose_secret()));
        Sight(hash.finalize().into())
    }

    /// The settings of new connections, if the two belong together.
    pub(super) fn pair(&self, config: &Config) -> Result<ServerConfig, PairError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| config.certificate(Fault::NoCertificate))?;
        if chain.is_empty() {
            return Err(config.certificate(Fault::NoCertificate));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret());
        let key = key.map_err(|_| config.key(Fault::NoKey))?;
        let key = provider.key_provider.load_private_key(key);
        let pair = CertifiedKey::new(chain, key.map_err(|_| config.key(Fault::BadKey))?);
        pair.keys_match().map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => config.key(Fault::Mismatch),
            RustlsError::InconsistentKeys(_) => config.key(Fault::BadKey),
            _ => config.certificate(Fault::BadCertificate),
        })?;
        let mut settings = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|_| config.certificate(Fault::BadCertificate))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        settings.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(settings)
    }
}

impl Sight {
    /// Also an error is a sight: it counts once, not at every look.
    pub(super) fn of(files: &Result<Files, PairError>) -> Self {
        match files {
            Ok(files) => files.sight(),
            Err(error) => Self(Sha256::digest(format!("{error:?}")).into()),
        }
    }
}

impl Config {
    fn certificate(&self, fault: Fault) -> PairError {
        PairError { key: CERTIFICATE, path: self.certificate.clone(), fault }
    }

    fn key(&self, fault: Fault) -> PairError {
        PairError { key: KEY, path: self.key.clone(), fault }
    }
}

/// Reads a file of modest size.
fn read(path: &Path, is_secret: bool) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: io::Error| Fault::Unreadable(error.kind());
    // Before it is opened: a pipe would wait for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Fault::NotAFile);
    }
    let file = File::open(path).map_err(unreadable)?;
    if is_secret && file.metadata().map_err(unreadable)?.permissions().mode() & OTHERS != 0 {
        return Err(Fault::Exposed);
    }
    let mut bytes = Vec::new();
    let length = file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(length).is_ok_and(|length| length <= MAX_FILE) {
        Ok(bytes)
    } else {
        Err(Fault::TooLarge)
    }
}
