//! The keys of checkpoints: Ed25519, in PEM as everybody's tools have them, and in C2SP's form for verifiers.
//! <https://c2sp.org/signed-note>

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    error::{KeyRejected, Unspecified},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

#[cfg(test)]
mod tests;

/// Before the 32 bytes of the key, a SubjectPublicKeyInfo of Ed25519 (RFC 8410) is the same in each.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Ed25519, among the kinds of key that signed-note tells apart.
const ED25519_KIND: u8 = 1;
/// Far longer than a host's name and what is put before it.
const MAX_ORIGIN: usize = 255;

/// Signs checkpoints. It has no name of its own: one key may sign for several logs.
pub struct SigningKey(Ed25519KeyPair);

/// What a [`SigningKey`] signed is checked with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// The name of a log and of the key that signs for it: `<audit.origin>/<instance>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

/// A public key by the name that it signs under: `<origin>+<key id>+<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    origin: Origin,
    key: PublicKey,
}

/// The first 4 bytes of a hash of the name and the key: tells signatures of several keys apart, and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 4]);

/// Why a text is no key. It is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is no Ed25519 key in PEM (PKCS #8)")]
    Private,
    #[error("is no public Ed25519 key in PEM")]
    Public,
    #[error("is no verifier key: <name>+<key id>+<base64>, of Ed25519")]
    Verifier,
    #[error("the key id is not that of the name and the key")]
    Id,
}

/// Not a name for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_ORIGIN} characters, and no white space, control character or `+` among them")]
pub struct NotAnOrigin;

impl SigningKey {
    /// # Errors
    /// There is no randomness.
    pub fn generate() -> Result<Self, Unspecified> {
        Ed25519KeyPair::generate().map(Self)
    }

    /// As `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// There is no such key in `pem`.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Private)?;
        let key = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der());
        key.map(Self).map_err(|_: KeyRejected| KeyError::Private)
    }

    /// In the form that openssl writes, too.
    ///
    /// # Errors
    /// Memory is short.
    pub fn to_pem(&self) -> Result<SecretString, Unspecified> {
        Ok(pem("PRIVATE KEY", self.0.to_pkcs8v1()?.as_ref()).into())
    }

    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The signature, 64 bytes. The same message has the same one each time.
    pub(super) fn sign(&self, message: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.0.sign(message)
    }
}

impl PublicKey {
    /// As `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// There is no such key in `pem`.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::Public)?;
        Self::from_der(&der)
    }

    /// All that are in `pem`, at least one.
    ///
    /// # Errors
    /// There is none, or one of another kind.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let ders = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
        let keys: Vec<_> =
            ders.map(|der| Self::from_der(&der.map_err(|_| KeyError::Public)?)).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::Public) } else { Ok(keys) }
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = der.strip_prefix(&SPKI).ok_or(KeyError::Public)?;
        key.try_into().map(Self).map_err(|_| KeyError::Public)
    }

    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[SPKI.as_slice(), &self.0].concat())
    }

    pub(super) fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl Origin {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the log of this instance.
    pub fn is_of(&self, instance: &str) -> bool {
        self.0.rsplit_once('/').is_some_and(|(_, last)| last == instance)
    }
}

impl VerifierKey {
    pub fn new(origin: Origin, key: PublicKey) -> Self {
        Self { origin, key }
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    pub fn id(&self) -> KeyId {
        let hash = Sha256::new()
            .chain_update(self.origin.as_str())
            .chain_update([b'\n', ED25519_KIND])
            .chain_update(self.key.0)
            .finalize();
        KeyId([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl KeyId {
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", STANDARD.encode(self.0))
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let fits = (1..=MAX_ORIGIN).contains(&text.chars().count());
        let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(NotAnOrigin) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // The name has no `+`, but base64 may have some.
        let mut parts = text.splitn(3, '+');
        let (Some(origin), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Verifier);
        };
        let origin = origin.parse().map_err(|_| KeyError::Verifier)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Verifier)?;
        let key = key.strip_prefix(&[ED25519_KIND]).ok_or(KeyError::Verifier)?;
        let key = key.try_into().map(PublicKey).map_err(|_| KeyError::Verifier)?;
        let verifier = Self { origin, key };
        if verifier.id().to_string() == id { Ok(verifier) } else { Err(KeyError::Id) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([[ED25519_KIND].as_slice(), &self.key.0].concat());
        write!(f, "{}+{}+{key}", self.origin, self.id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Keys of this kind fit on one line of PEM.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
