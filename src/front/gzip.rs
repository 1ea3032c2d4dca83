//! gzip of whole messages, with a bound on what comes out.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

use crate::error::{Error, Reason};

#[cfg(test)]
mod tests;

pub(super) const GZIP: &str = "gzip";
pub(super) const IDENTITY: &str = "identity";

/// Inflates a message: one member, and nothing behind it.
///
/// # Errors
/// It is no gzip, or inflates to more than `limit` bytes; no more than that is ever made.
pub(super) fn inflate(deflated: &[u8], limit: usize) -> Result<Bytes, Error> {
    let mut message = Vec::new();
    let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut decoder = GzDecoder::new(deflated).take(room);
    let malformed = || Error::refuse(Reason::MalformedMessage);
    decoder.read_to_end(&mut message).map_err(|error| malformed().with_source(error))?;
    match decoder.into_inner().into_inner() {
        _ if message.len() > limit => Err(Error::refuse(Reason::MessageTooLarge)),
        [] => Ok(message.into()),
        _ => Err(malformed()),
    }
}

/// Compresses a message.
pub(super) fn deflate(message: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 2), Compression::fast());
    encoder.write_all(message).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Whether the caller reads gzip (RFC 9110, section 12.5.3).
pub(super) fn is_accepted(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| HeaderValue::to_str(value).ok());
    let codings: Vec<_> = values.flat_map(|value| value.split(',')).map(coding).collect();
    let accepts = |wanted: &str| {
        codings.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, accepted)| *accepted)
    };
    accepts(GZIP).or_else(|| accepts("*")).unwrap_or(false)
}

/// A coding's name, and whether its weight is above zero.
fn coding(item: &str) -> (&str, bool) {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = match parameters.split_once('=') {
        Some((name, weight)) if name.trim().eq_ignore_ascii_case("q") => weight.trim().parse(),
        _ => Ok(1.0_f32),
    };
    (name.trim(), weight.is_ok_and(|weight| weight > 0.0))
}
