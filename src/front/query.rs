//! The query of a request's URL: a Connect GET's message, and the pages of the SDKs' first generation.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode;

use super::protocol::Codec;
use crate::error::{Error, Reason};

#[cfg(test)]
mod tests;

/// What stands after the `?`, as `application/x-www-form-urlencoded` has it. Values are bytes: a protobuf message in one
/// need not be UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'u>(&'u str);

impl<'u> Query<'u> {
    pub(super) fn of(uri: &'u Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The value of a parameter; `None` without it.
    ///
    /// # Errors
    /// It stands there twice: two readers could each take another one.
    pub(super) fn get(self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut values = self.values(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Error::refuse(Reason::MalformedMessage).with_rule("query.duplicate")),
        }
    }

    /// The codec that a Connect GET names; two name none.
    pub(super) fn codec(self) -> Option<Codec> {
        match self.get("encoding").ok()??.as_slice() {
            b"proto" => Some(Codec::Proto),
            b"json" => Some(Codec::Json),
            _ => None,
        }
    }

    fn values(self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name.as_bytes()).then(|| decode(value))
        })
    }
}

/// `+` and `%20` both are a space.
fn decode(text: &str) -> Vec<u8> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_decode(spaced.as_bytes()).collect()
}
