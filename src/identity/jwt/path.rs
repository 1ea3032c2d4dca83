//! Where in a token's claims a value stands.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::json::Members;

/// Far longer than the names of claims are.
const MAX: usize = 256;

/// A dotted path, `realm.org`, or a JSON pointer, `/realm/org` (RFC 6901): for names with dots in them, such as URLs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct ClaimPath {
    text: String,
    names: Vec<String>,
}

/// The text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a dotted path like `realm.org`, or a JSON pointer like `/realm/org`, of at most 256 bytes")]
pub struct NotAPath;

impl ClaimPath {
    /// A claim at the top.
    pub(super) fn claim(name: &str) -> Self {
        Self { text: name.to_owned(), names: vec![name.to_owned()] }
    }

    /// The value there. Arrays are not looked into: which of their items would be meant?
    pub(super) fn of<'c>(&self, claims: &'c Members) -> Option<&'c Value> {
        let (first, rest) = self.names.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

impl TryFrom<String> for ClaimPath {
    type Error = NotAPath;

    fn try_from(text: String) -> Result<Self, NotAPath> {
        let names: Option<Vec<String>> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescaped).collect(),
            // A slash is that of a URL, whose dots part no names.
            None if text.contains('/') => None,
            None => Some(text.split('.').map(str::to_owned).collect()),
        };
        let names = names.filter(|names| text.len() <= MAX && names.iter().all(|name| !name.is_empty()));
        names.map(|names| Self { text, names }).ok_or(NotAPath)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `~1` is a slash and `~0` a tilde; no other tilde is allowed.
fn unescaped(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut parts = name.split('~');
    plain.push_str(parts.next()?);
    for part in parts {
        let (mark, rest) = match part.strip_prefix('0') {
            Some(rest) => ('~', rest),
            None => ('/', part.strip_prefix('1')?),
        };
        plain.push(mark);
        plain.push_str(rest);
    }
    Some(plain)
}
