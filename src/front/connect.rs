//! Connect, unary: the message is the body, or a GET's query, and the status is HTTP's
//! (<https://connectrpc.com/docs/protocol>).

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::{BodyExt as _, Full, Limited};

use super::{
    Body, HttpResponse, Protocol, gzip,
    message::{malformed_field, unread},
    protocol::Codec,
    query::Query,
};
use crate::{
    call::Reply,
    connect::metadata::{TRAILER_PREFIX, append},
    error::{Error, Reason},
};

#[cfg(test)]
mod tests;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
/// The only version there is.
const VERSION: &str = "1";
/// The same in a GET's query.
const QUERY_VERSION: &str = "v1";

/// What a POST without any content stands for. (JSON of no length is none.)
const EMPTY: Bytes = Bytes::from_static(b"{}");

/// What one org may read, no cache may show to another: they differ by a header alone (RFC 9111, section 3.5).
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Compressing less than this saves no packet.
const MIN_GZIP: usize = 1 << 10;

/// Callers pad or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the message of a call, inflated.
///
/// # Errors
/// Another protocol version or encoding than there is, a message above `limit` bytes, or one that cannot be inflated.
pub(super) async fn read(head: &Parts, body: Body, limit: usize) -> Result<Bytes, Error> {
    match head.method {
        Method::GET => read_query(Query::of(&head.uri), limit),
        _ => read_body(&head.headers, body, limit).await,
    }
}

async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Error> {
    if headers.get(PROTOCOL_VERSION).is_some_and(|version| version != VERSION) {
        return Err(Error::refuse(Reason::UnsupportedVersion));
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let coding = codings.next().map_or(&b""[..], HeaderValue::as_bytes);
    if codings.next().is_some() {
        return Err(Error::refuse(Reason::UnsupportedEncoding));
    }
    let is_gzip = is_gzip(coding)?;
    let body = Limited::new(body, limit).collect().await.map_err(unread)?;
    let body = body.to_bytes();
    if body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        return Ok(EMPTY);
    }
    inflate(body, is_gzip, limit)
}

fn read_query(query: Query<'_>, limit: usize) -> Result<Bytes, Error> {
    if query.get("connect")?.is_some_and(|version| version != QUERY_VERSION.as_bytes()) {
        return Err(Error::refuse(Reason::UnsupportedVersion));
    }
    let message =
        query.get("message")?.ok_or_else(|| malformed_field("message", "is missing in the query"))?;
    let is_base64 = query.get("base64")?.is_some_and(|flag| flag == b"1");
    let is_gzip = is_gzip(&query.get("compression")?.unwrap_or_default())?;
    let message = match is_base64 {
        true => BASE64.decode(message).map_err(|_| malformed_field("message", "is not URL-safe base64"))?,
        false => message,
    };
    inflate(message.into(), is_gzip, limit)
}

/// The names of codings know no case (RFC 9110, section 8.4.1).
fn is_gzip(coding: &[u8]) -> Result<bool, Error> {
    match coding.trim_ascii() {
        b"" => Ok(false),
        name if name.eq_ignore_ascii_case(gzip::IDENTITY.as_bytes()) => Ok(false),
        name if name.eq_ignore_ascii_case(gzip::GZIP.as_bytes()) => Ok(true),
        _ => Err(Error::refuse(Reason::UnsupportedEncoding)),
    }
}

/// Nothing is left as it is: an empty message is not compressed, whatever the header says.
fn inflate(message: Bytes, is_gzip: bool, limit: usize) -> Result<Bytes, Error> {
    let message = if is_gzip && !message.is_empty() { gzip::inflate(&message, limit)? } else { message };
    if message.len() > limit { Err(Error::refuse(Reason::MessageTooLarge)) } else { Ok(message) }
}

/// The response of a call that went well, in the encoding that the caller reads.
pub(super) fn write(request: &HeaderMap, codec: Codec, reply: Reply) -> HttpResponse {
    let message = codec.payload(&reply);
    let is_worth_it = message.len() >= MIN_GZIP && gzip::is_accepted(request);
    let deflated = is_worth_it.then(|| gzip::deflate(&message)).flatten();
    let is_gzip = deflated.is_some();
    let mut response = HttpResponse::new(Body::new(Full::new(deflated.unwrap_or(message))));
    let headers = response.headers_mut();
    append(headers, reply.metadata);
    for (name, value) in &reply.trailers {
        // A name that is valid stays so behind a prefix.
        if let Ok(name) = HeaderName::try_from(format!("{TRAILER_PREFIX}{name}")) {
            headers.append(name, value.clone());
        }
    }
    // Last: what the gateway says stands.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Protocol::Connect(codec).content_type()));
    headers.insert(CACHE_CONTROL, NO_STORE);
    if is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(gzip::GZIP));
    }
    response
}

/// The encodings that the gateway reads, for a caller that used another one.
pub(super) fn accepted() -> HeaderValue {
    HeaderValue::from_static("gzip, identity")
}
