//! A JSON Web Key Set (RFC 7517), and which of its keys may check which signatures.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use crate::identity::jwt::{
    Algorithm,
    json::{self, Members},
};

/// Issuers have a handful. Each key of a set may have to be looked at for each token.
const MAX_KEYS: usize = 100;

/// Smaller RSA keys can be broken (RFC 7518, section 3.3), larger ones the library does not take.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What `use` may say: signatures, or those of SPIFFE's tokens (JWT-SVID, section 4).
const USES: [&str; 2] = ["sig", "jwt-svid"];

/// Members of a private key. A key whose private half is published proves nothing.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// The keys of an issuer that can be used.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    /// How many were left out.
    pub unused: usize,
}

/// A public key, bound to the algorithms that it is for (RFC 8725, section 3.1).
#[derive(Debug)]
pub(in crate::identity) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(in crate::identity) public: DecodingKey,
    /// As it was published: two keys are the same if this is.
    written: Members,
}

/// Why no key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum NoKey {
    /// None has that id, or none fits: a newer set may have one.
    Unknown,
    /// Several do, or those with that id are for other algorithms.
    Unfit,
}

/// The set cannot be used as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKeySet {
    #[error("is no JSON object in which each member stands once")]
    Json,
    #[error("has no array `keys`")]
    NoKeys,
    #[error("has more than 100 keys")]
    TooMany,
    #[error("has no key that tokens can be checked with")]
    NoneUsable,
}

impl KeySet {
    /// Keys of other kinds and for other uses are left out, as RFC 7517, section 5, has it. An empty set is one: whoever
    /// says in as many words that there is no key means it.
    ///
    /// # Errors
    /// It is no set, too large, or holds keys of which none can be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAKeySet> {
        let set = json::object(bytes).map_err(|_| NotAKeySet::Json)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(NotAKeySet::NoKeys)?;
        if listed.len() > MAX_KEYS {
            return Err(NotAKeySet::TooMany);
        }
        let keys: Vec<Key> = listed.iter().filter_map(|key| Key::parse(key.as_object()?)).collect();
        if keys.is_empty() && !listed.is_empty() {
            return Err(NotAKeySet::NoneUsable);
        }
        Ok(Self { unused: listed.len() - keys.len(), keys })
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The one key that fits, of those with that id where the token names one. Keys of different kinds may share an id
    /// (RFC 7517, section 4.5); of two that fit, which one counts would be a guess.
    pub(in crate::identity) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, NoKey> {
        let mut named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        let is_named = id.is_some() && named.peek().is_some();
        let fitting: Vec<&Key> = named.filter(|key| key.algorithms.contains(&algorithm)).collect();
        match fitting[..] {
            [key] => Ok(key),
            [] if !is_named => Err(NoKey::Unknown),
            _ => Err(NoKey::Unfit),
        }
    }
}

impl Key {
    /// None if it is of another kind or for another use. A member that is `null` says nothing.
    fn parse(written: &Members) -> Option<Self> {
        let mut written = written.clone();
        written.retain(|_, value| !value.is_null());
        Self::of(written)
    }

    fn of(written: Members) -> Option<Self> {
        if PRIVATE.iter().any(|name| written.contains_key(*name)) {
            return None;
        }
        let (mut algorithms, public) = match text(&written, "kty")? {
            "RSA" => (Algorithm::RSA.to_vec(), rsa(&written)?),
            "EC" => curve(&written)?,
            "OKP" if text(&written, "crv")? == "Ed25519" => {
                (vec![Algorithm::EDDSA], DecodingKey::from_ed_der(&exactly(&written, "x", 32)?))
            }
            _ => return None,
        };
        if written.get("use").is_some_and(|usage| USES.iter().all(|known| usage != known)) {
            return None;
        }
        if let Some(operations) = written.get("key_ops") {
            operations.as_array()?.iter().find(|operation| *operation == "verify")?;
        }
        if let Some(named) = written.get("alg") {
            let named = Algorithm::named(named.as_str()?)?;
            algorithms.retain(|algorithm| *algorithm == named);
        }
        let id = match written.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.to_owned()),
        };
        (!algorithms.is_empty()).then(|| Self { id, algorithms, public, written })
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Key {}

fn rsa(written: &Members) -> Option<DecodingKey> {
    let (modulus, exponent) = (bytes(written, "n")?, bytes(written, "e")?);
    let (modulus, exponent) = (without_zeros(&modulus), without_zeros(&exponent));
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    // With an exponent of 1 a signature is the text itself.
    let is_exponent = exponent.last()? % 2 == 1 && exponent != [1] && exponent.len() <= 4;
    (RSA_BITS.contains(&bits) && is_exponent).then(|| DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// An uncompressed point: its length is fixed by the curve.
fn curve(written: &Members) -> Option<(Vec<Algorithm>, DecodingKey)> {
    let (algorithm, length) = match text(written, "crv")? {
        "P-256" => (Algorithm::ES256, 32),
        "P-384" => (Algorithm::ES384, 48),
        _ => return None,
    };
    let point = [&[4][..], &exactly(written, "x", length)?, &exactly(written, "y", length)?].concat();
    Some((vec![algorithm], DecodingKey::from_ec_der(&point)))
}

fn text<'w>(written: &'w Members, name: &str) -> Option<&'w str> {
    written.get(name)?.as_str()
}

fn bytes(written: &Members, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(written, name)?).ok()
}

fn exactly(written: &Members, name: &str, length: usize) -> Option<Vec<u8>> {
    bytes(written, name).filter(|bytes| bytes.len() == length)
}
