//! API keys: 256 random bits, known to the gateway only as their SHA-256.
//!
//! A slow hash protects guessable passwords. These keys are not guessable, and a slow hash would be a lever for
//! overload.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{Hash, Hasher},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{every_class, expiry::Expiry, jwt};
use crate::call::{CredentialId, Identity, OrgId, Scope, Scopes, SubjectId};

/// Marks the keys, so that secret scanners can find them.
const PREFIX: &str = "pgw_";
const KEY_BYTES: usize = 32;
/// Longer tokens cannot be ours and are not hashed: a 1 MiB token must stay cheap.
const MAX_TOKEN: usize = 256;

/// One entry of `[[identity.api_keys]]`. A subject may have several keys: that is how one is replaced by the next.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the key in the audit log.
    pub id: CredentialId,
    /// Who calls with it.
    pub subject: SubjectId,
    /// For which org; one of `[[orgs]]`.
    pub org: OrgId,
    /// SHA-256 of the key, 64 hexadecimal digits; `keys new` prints it.
    pub sha256: KeyHash,
    /// From then on the key is unknown; a time by RFC 3339 with its offset. Without it the key does not expire.
    #[serde(default)]
    pub expires: Option<Expiry>,
    /// What may be called with it: `read`, `mutate`, `secret`, `explain`, or names of methods; at least one. The first three by default.
    #[serde(default = "every_class")]
    pub scopes: Vec<Scope>,
}

/// SHA-256 of a key. Compared in constant time: how long it takes tells nothing of a hash.
#[derive(Clone, Copy, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct KeyHash([u8; KEY_BYTES]);

/// All keys by their hash.
#[derive(Debug, Default)]
pub struct Keys(HashMap<KeyHash, Key>);

/// What the gateway knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub identity: Identity,
    pub expires: Option<Expiry>,
}

/// A new key, shown once.
pub struct NewKey {
    pub key: String,
    pub sha256: KeyHash,
}

/// The text is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct NotAHash;

/// What is wrong with a set of keys, and with which of them, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("`{id}` has the same sha256 as an earlier key")]
    Duplicate { index: usize, id: CredentialId },
    #[error("id `{id}` is used twice")]
    DuplicateId { index: usize, id: CredentialId },
}

/// Whether a token says of itself that it is an API key, or has one in it, as in quotes or behind its name: such a one is
/// nothing else, and upstream must not see it. One of the few thousand letters of a JSON Web Token may spell the mark by
/// chance.
pub fn is_marked(token: &str) -> bool {
    token.contains(PREFIX) && !jwt::is_shaped(token)
}

impl Config {
    /// A key that does not expire and is good for every method.
    pub fn new(id: CredentialId, subject: SubjectId, org: OrgId, sha256: KeyHash) -> Self {
        Self { id, subject, org, sha256, expires: None, scopes: every_class() }
    }
}

impl KeyHash {
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl TryFrom<String> for KeyHash {
    type Error = NotAHash;

    fn try_from(hex: String) -> Result<Self, NotAHash> {
        let digits: Vec<u8> = hex
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(NotAHash)?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
        match digits.len() {
            64 => bytes.try_into().map(Self).map_err(|_| NotAHash),
            _ => Err(NotAHash),
        }
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl Keys {
    /// # Errors
    /// An id or a hash that stands twice: one key must not mean two callers.
    pub fn new<'c>(configs: impl IntoIterator<Item = &'c Config>) -> Result<Self, KeyError> {
        let (mut keys, mut ids) = (HashMap::new(), HashSet::new());
        for (index, config) in configs.into_iter().enumerate() {
            let id = config.id.clone();
            if !ids.insert(id.clone()) {
                return Err(KeyError::DuplicateId { index, id });
            }
            if keys.insert(config.sha256, Key::of(config)).is_some() {
                return Err(KeyError::Duplicate { index, id });
            }
        }
        Ok(Self(keys))
    }

    /// Whose key that is at this time. An expired key is unknown.
    pub fn find(&self, token: &str, now: SystemTime) -> Option<&Identity> {
        let key = self.get(token)?;
        key.is_valid(now).then_some(&key.identity)
    }

    /// Whether it is a key, expired or not.
    pub fn hold(&self, token: &str) -> bool {
        self.get(token).is_some()
    }

    fn get(&self, token: &str) -> Option<&Key> {
        let hash = (token.len() <= MAX_TOKEN).then(|| KeyHash::of(token))?;
        self.0.get(&hash)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key, by org, subject and id.
    pub fn all(&self) -> Vec<&Key> {
        let mut keys: Vec<_> = self.0.values().collect();
        keys.sort_by_key(|Key { identity: Identity { org, subject, credential, .. }, .. }| {
            (org.clone(), subject.clone(), credential.clone())
        });
        keys
    }
}

impl Key {
    fn of(config: &Config) -> Self {
        let Config { id, subject, org, expires, scopes, .. } = config;
        let identity = Identity {
            subject: subject.clone(),
            org: org.clone(),
            credential: id.clone(),
            scopes: Scopes::new(scopes),
            passed: None,
        };
        Self { identity, expires: expires.clone() }
    }

    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.as_ref().is_none_or(|expires| expires.is_after(now))
    }
}

impl NewKey {
    /// # Errors
    /// The operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes)?;
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let sha256 = KeyHash::of(&key);
        Ok(Self { key, sha256 })
    }
}
