//! API keys: 256 random bits, known to the gateway only as their SHA-256.
//!
//! A slow hash protects guessable passwords. These keys are not guessable, and a slow hash would be a lever for
//! overload.

use std::{collections::HashMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::call::{CredentialId, Identity, OrgId, SubjectId};

/// Marks the keys, so that secret scanners can find them.
const PREFIX: &str = "pgw_";
const KEY_BYTES: usize = 32;
/// Longer tokens cannot be ours and are not hashed: a 1 MiB token must stay cheap.
const MAX_TOKEN: usize = 256;

/// One entry of `[[identity.api_keys]]`
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
}

/// SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct KeyHash([u8; KEY_BYTES]);

/// All keys by their hash. The look-up compares hashes: what its time tells of a 256-bit hash says nothing of a key.
#[derive(Debug, Default)]
pub struct Keys(HashMap<KeyHash, Identity>);

/// A new key, shown once.
pub struct NewKey {
    pub key: String,
    pub sha256: KeyHash,
}

/// What is wrong with a hash or a set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("must be 64 hexadecimal digits")]
    Hash,
    #[error("`{0}` has the same sha256 as an earlier key")]
    Duplicate(CredentialId),
    #[error("id `{0}` is used twice")]
    DuplicateId(CredentialId),
}

impl KeyHash {
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl TryFrom<String> for KeyHash {
    type Error = KeyError;

    fn try_from(hex: String) -> Result<Self, KeyError> {
        let digits: Vec<u8> = hex
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(KeyError::Hash)?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
        match digits.len() {
            64 => bytes.try_into().map(Self).map_err(|_| KeyError::Hash),
            _ => Err(KeyError::Hash),
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
    pub fn new(configs: &[Config]) -> Result<Self, KeyError> {
        let mut keys = HashMap::new();
        for (index, config) in configs.iter().enumerate() {
            if configs[..index].iter().any(|earlier| earlier.id == config.id) {
                return Err(KeyError::DuplicateId(config.id.clone()));
            }
            let identity = Identity {
                subject: config.subject.clone(),
                org: config.org.clone(),
                credential: config.id.clone(),
            };
            if keys.insert(config.sha256, identity).is_some() {
                return Err(KeyError::Duplicate(config.id.clone()));
            }
        }
        Ok(Self(keys))
    }

    pub fn find(&self, token: &str) -> Option<&Identity> {
        (token.len() <= MAX_TOKEN).then(|| self.0.get(&KeyHash::of(token))).flatten()
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
