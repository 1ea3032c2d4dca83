//! The algorithms that a token may be signed with: asymmetric ones alone.
//!
//! With a shared secret every gateway could make tokens, and a public key could be taken for that secret (RFC 8725,
//! sections 2.1 and 3.1).

use jsonwebtoken::Algorithm as Signature;
use schemars::JsonSchema;
use serde::Deserialize;

/// One of them, by its name (RFC 7518, section 3.1; RFC 8037; RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Algorithm(Signature);

/// No algorithm of that name is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA: `none` and symmetric ones (HS256) \
     are never accepted"
)]
pub struct NotAsymmetric;

const ALL: [(&str, Signature); 9] = [
    ("RS256", Signature::RS256),
    ("RS384", Signature::RS384),
    ("RS512", Signature::RS512),
    ("PS256", Signature::PS256),
    ("PS384", Signature::PS384),
    ("PS512", Signature::PS512),
    ("ES256", Signature::ES256),
    ("ES384", Signature::ES384),
    ("EdDSA", Signature::EdDSA),
];

/// What RFC 9864 calls EdDSA by the only curve of it that is accepted here.
const ED25519: &str = "Ed25519";

impl Algorithm {
    pub const RS256: Self = Self(Signature::RS256);
    pub const PS256: Self = Self(Signature::PS256);
    pub const ES256: Self = Self(Signature::ES256);
    pub const ES384: Self = Self(Signature::ES384);
    pub const EDDSA: Self = Self(Signature::EdDSA);
    /// Those of RSA keys.
    pub(in crate::identity) const RSA: [Self; 6] = [
        Self::RS256,
        Self(Signature::RS384),
        Self(Signature::RS512),
        Self::PS256,
        Self(Signature::PS384),
        Self(Signature::PS512),
    ];

    /// By its exact name: `none`, `nOnE` and `rs256` are no names.
    pub(in crate::identity) fn named(name: &str) -> Option<Self> {
        if name == ED25519 {
            return Some(Self::EDDSA);
        }
        ALL.into_iter().find(|(known, _)| *known == name).map(|(_, signature)| Self(signature))
    }

    pub fn as_str(self) -> &'static str {
        ALL.into_iter().find(|(_, signature)| *signature == self.0).map_or("", |(name, _)| name)
    }

    pub(super) fn signature(self) -> Signature {
        self.0
    }
}

impl TryFrom<String> for Algorithm {
    type Error = NotAsymmetric;

    fn try_from(name: String) -> Result<Self, NotAsymmetric> {
        Self::named(&name).ok_or(NotAsymmetric)
    }
}
