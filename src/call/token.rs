//! Tokens that upstream knows somebody by: an org's own, and those that callers bring.

use std::fmt;

use http::HeaderValue;

/// What common servers and proxies take of one header.
const MAX: usize = 8 << 10;

/// A token of upstream's. Nothing shows it but the request that it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

/// The text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one word of printable ASCII, at most 8 KiB")]
pub struct NotAToken;

impl Token {
    /// # Errors
    /// It is empty, longer than 8 KiB, or more than one word of printable ASCII.
    pub fn new(text: &str) -> Result<Self, NotAToken> {
        let is_word = (1..=MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let value = is_word.then(|| HeaderValue::try_from(format!("Bearer {text}")).ok()).flatten();
        let mut value = value.ok_or(NotAToken)?;
        // HTTP/2 keeps it out of its tables, and Debug hides it.
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of `authorization`.
    pub fn authorization(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
