//! Why a token is refused: for logs. Callers are told nothing but the code.

use std::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// What is wrong with a token of a configured issuer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $variant,)*
        }

        impl Refusal {
            /// In constant words: nothing of the token is in them.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

refusals! {
    Header = "JWT: the header is no JSON object in which each member stands once";
    Algorithm = "JWT: `alg` is missing or not allowed";
    EmbeddedKey = "JWT: the header brings a key of its own (jwk, jku, x5u, x5c)";
    Critical = "JWT: the header has `crit`";
    Unencoded = "JWT: the header has `b64`";
    Encrypted = "JWT: the header is one of encryption or compression";
    Nested = "JWT: the header has `cty`";
    Type = "JWT: `typ` is missing or not allowed";
    KeyId = "JWT: `kid` is no string";
    UnknownKey = "JWT: no key of the issuer fits";
    UnfitKey = "JWT: the key is for other algorithms, or several keys fit";
    Signature = "JWT: the signature is wrong";
    Claims = "JWT: the claims are no JSON object in which each member stands once";
    Issuer = "JWT: `iss` is another";
    Audience = "JWT: `aud` is missing or another";
    Expiry = "JWT: `exp` is missing or no time";
    Expired = "JWT: expired";
    NotBefore = "JWT: `nbf` is no time";
    Early = "JWT: not valid yet";
    IssuedAt = "JWT: `iat` is missing or no time";
    IssuedAhead = "JWT: issued in the future";
    Old = "JWT: older than `max_age`";
    Subject = "JWT: the subject is missing or malformed";
    Org = "JWT: the org is missing or unknown";
    Scope = "JWT: the scopes are malformed";
    /// It cannot be told whether the token is good.
    NoKeys = "JWT: the issuer's keys have never been loaded";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refusal {}
