//! A token as it arrives: its parts, the issuer that it names, and its header. Nothing in here can be trusted yet.

use std::fmt;

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{
    Algorithm, Config, Refusal,
    json::{self, Members},
};

/// Room for 200 groups, which is where Entra ID stops (some 11 KB). Longer ones are not even hashed.
pub(super) const MAX_TOKEN: usize = 16 << 10;

/// What a signed token has two of (RFC 7515, section 7.1), an encrypted one four and an opaque one seldom any.
const DOT: char = '.';

/// How a header begins: `{"` in Base64.
const HEADER: &str = "eyJ";

/// Reads a payload with padding, too, which no token may have: whose it would be can be told.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Keys that a token brings, or says where to get: whoever forges it would choose them (RFC 8725, section 3.10).
const EMBEDDED: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];

/// Members of headers of encrypted tokens (RFC 7516, section 4.1).
const ENCRYPTED: [&str; 2] = ["enc", "epk"];

/// What a media type may leave out (RFC 7515, section 4.1.9).
const MEDIA: &str = "application/";

/// A `zip` that says so: a signed token has none anyway, but some issuers write it.
const UNCOMPRESSED: &str = "NONE";

/// A signed token in the compact form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    /// Header and payload, with the dot between them.
    pub(super) message: &'t str,
    header: &'t str,
    payload: &'t str,
    pub(super) signature: &'t str,
}

/// What of the header counts: which key checks the signature, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
}

/// All values of `iss`: how often it stands there tells of a forger.
struct Named(Vec<Option<String>>);

struct Naming;

/// Whether somebody has made it as a JSON Web Token, however it has been broken since.
pub(in crate::identity) fn is_shaped(token: &str) -> bool {
    token.starts_with(HEADER) && token.matches(DOT).nth(1).is_some()
}

impl<'t> Token<'t> {
    /// None if it is too long, or no signed token in the compact form.
    pub(super) fn split(token: &'t str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let mut parts = token.split(DOT);
        let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let (message, _) = token.rsplit_once(DOT)?;
        parts.next().is_none().then_some(Self { message, header, payload, signature })
    }

    /// What it says of its issuer; of all the claims that is the only one that is read before the signature is checked.
    /// None if it is of one that is not known, or no token of the kind. One of the kind that does not say it, once and as
    /// a text, is refused.
    pub(super) fn issuer(self, is_known: impl Fn(&str) -> bool) -> Option<Result<String, Refusal>> {
        let unsaid = || self.header.starts_with(HEADER).then_some(Err(Refusal::Claims));
        let Some(named) = self.named() else { return unsaid() };
        let is_single = matches!(named[..], [Some(_)]);
        match named.into_iter().flatten().find(|issuer| is_known(issuer)) {
            Some(known) if is_single => Some(Ok(known)),
            Some(_) => Some(Err(Refusal::Claims)),
            None if is_single => None,
            None => unsaid(),
        }
    }

    /// Every `iss`; what is no text is none.
    fn named(self) -> Option<Vec<Option<String>>> {
        let payload = LENIENT.decode(self.payload).ok()?;
        let Named(named) = serde_json::from_slice(&payload).ok()?;
        Some(named)
    }

    /// What it says, for those who have checked the signature.
    pub(super) fn claims(self) -> Result<Members, Refusal> {
        let payload = URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| Refusal::Claims)?;
        json::object(&payload).map_err(|_| Refusal::Claims)
    }

    /// The header, judged by what the issuer's entry allows.
    pub(super) fn header(self, config: &Config) -> Result<Header, Refusal> {
        let header = URL_SAFE_NO_PAD.decode(self.header).map_err(|_| Refusal::Header)?;
        let header = json::object(&header).map_err(|_| Refusal::Header)?;
        let has = |names: &[&str]| names.iter().any(|name| header.contains_key(*name));
        let checks = [
            (has(&EMBEDDED), Refusal::EmbeddedKey),
            (has(&["crit"]), Refusal::Critical),
            (has(&["b64"]), Refusal::Unencoded),
            (has(&ENCRYPTED), Refusal::Encrypted),
            (header.get("zip").is_some_and(|zip| zip != UNCOMPRESSED), Refusal::Encrypted),
            // The claims are JSON; a nested token is all that `cty` is for (RFC 7519, section 5.2).
            (has(&["cty"]), Refusal::Nested),
        ];
        if let Some((_, refusal)) = checks.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(refusal);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
        let algorithm = algorithm.filter(|algorithm| config.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(Refusal::Algorithm)?;
        if !is_of_type(&header, config) {
            return Err(Refusal::Type);
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str().ok_or(Refusal::KeyId)?.to_owned()),
        };
        Ok(Header { algorithm, key_id })
    }
}

/// A token made for another purpose must not pass for one that says who calls (RFC 8725, section 3.11).
fn is_of_type(header: &Members, config: &Config) -> bool {
    match header.get("typ") {
        None => config.untyped,
        Some(typ) => {
            typ.as_str().is_some_and(|typ| config.types.iter().any(|known| is_same_type(typ, known)))
        }
    }
}

fn is_same_type(one: &str, other: &str) -> bool {
    short(one).eq_ignore_ascii_case(short(other))
}

fn short(typ: &str) -> &str {
    let (media, rest) = typ.split_at_checked(MEDIA.len()).unwrap_or(("", typ));
    if media.eq_ignore_ascii_case(MEDIA) { rest } else { typ }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Naming)
    }
}

impl<'de> Visitor<'de> for Naming {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut claims: A) -> Result<Named, A::Error> {
        let mut named = Vec::new();
        while let Some(name) = claims.next_key::<String>()? {
            if name == "iss" {
                let issuer: &RawValue = claims.next_value()?;
                named.push(serde_json::from_str(issuer.get()).ok());
            } else {
                claims.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Named(named))
    }
}
