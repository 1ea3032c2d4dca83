//! gRPC framing: tonic's codec on bytes. The request's bytes are kept, so that unknown field numbers are seen; a reply
//! is written as it was transcoded, with no message in between.
//!
//! tonic reads and writes the frames; what it makes of broken ones is told apart here, because its texts and some of
//! its codes are not the ones that callers should see.

use std::{
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use tonic::{
    Code, Status, Streaming,
    codec::{
        Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBody, EncodeBuf, Encoder,
        SingleMessageCompressionOverride,
    },
};

use super::{
    Body, HttpResponse, Protocol,
    gzip::{GZIP, IDENTITY},
    protocol::Codec as Encoding,
};
use crate::{
    call::Reply,
    connect::metadata::append,
    error::{Error, Reason},
};

#[cfg(test)]
mod tests;

const ENCODING: &str = "grpc-encoding";
pub(super) const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// Of a frame: a flag and four bytes of length.
const HEADER: usize = 5;

/// The message's bytes, as they stand in the frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

/// The bytes of a body that have come: the header of the first frame, and how many there are.
#[derive(Clone, Debug, Default)]
struct Tally(Arc<Mutex<([u8; HEADER], usize)>>);

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Tally {
    fn count(&self, data: Bytes) -> Bytes {
        let (header, count) = &mut *self.lock();
        for (place, byte) in header.iter_mut().skip(*count).zip(&data) {
            *place = *byte;
        }
        *count += data.len();
        data
    }

    fn is_empty(&self) -> bool {
        self.lock().1 == 0
    }

    fn is_one_frame(&self) -> bool {
        let ([_, length @ ..], count) = *self.lock();
        usize::try_from(u32::from_be_bytes(length)).is_ok_and(|length| count == HEADER + length)
    }

    fn lock(&self) -> MutexGuard<'_, ([u8; HEADER], usize)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the one message of a unary call.
///
/// # Errors
/// Another encoding than identity and gzip, a broken frame, a message above `limit` bytes, no message or a second one:
/// each with the code that the gRPC specification gives it.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Error> {
    let encoding = encoding(headers)?;
    let tally = Tally::default();
    let counted = tally.clone();
    let body = body.map_frame(move |frame| frame.map_data(|data: Bytes| counted.count(data)));
    let mut messages = Streaming::new_request(Raw, body, encoding, Some(limit));
    let refused = |reason| Err(Error::refuse(reason));
    let first = messages.next().await.transpose().map_err(broken)?;
    let second = if first.is_some() { messages.next().await.transpose().map_err(broken)? } else { None };
    match (first, second) {
        (Some(first), None) if tally.is_one_frame() => Ok(first),
        (None, _) if tally.is_empty() => refused(Reason::MessageCount),
        (_, Some(_)) => refused(Reason::MessageCount),
        // tonic takes a frame's header that nothing follows for the end.
        (_, None) => refused(Reason::MalformedFrame),
    }
}

/// The response of a call that went well. It is compressed if the request was: who sends plainly, reads plainly.
pub(super) fn write(request: &HeaderMap, codec: Encoding, reply: Reply) -> HttpResponse {
    let message = codec.payload(&reply);
    let Reply { metadata, trailers, .. } = reply;
    let compression = replies_gzip(request).then_some(CompressionEncoding::Gzip);
    let frames = EncodeBody::new_server(
        Raw,
        stream::iter([Ok(message)]),
        compression,
        SingleMessageCompressionOverride::default(),
        None,
    );
    let body = match trailers.is_empty() {
        true => Body::new(frames),
        false => Body::new(frames.map_frame(move |frame| match frame.into_trailers() {
            Ok(mut status) => {
                append(&mut status, trailers.clone());
                http_body::Frame::trailers(status)
            }
            Err(data) => data,
        })),
    };
    let mut response = HttpResponse::new(body);
    let headers = response.headers_mut();
    append(headers, metadata);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Protocol::Grpc(codec).content_type()));
    if compression.is_some() {
        headers.insert(ENCODING, HeaderValue::from_static(GZIP));
    }
    response
}

/// The encodings that the gateway reads, for a caller that used another one.
pub(super) fn accepted() -> HeaderValue {
    HeaderValue::from_static("identity,gzip")
}

fn encoding(headers: &HeaderMap) -> Result<Option<CompressionEncoding>, Error> {
    match headers.get(ENCODING).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(name) if name == IDENTITY.as_bytes() => Ok(None),
        Some(name) if name == GZIP.as_bytes() => Ok(Some(CompressionEncoding::Gzip)),
        Some(_) => Err(Error::refuse(Reason::UnsupportedEncoding)),
    }
}

fn replies_gzip(request: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| {
        value.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim() == GZIP))
    };
    request.get(ENCODING).is_some_and(|name| name == GZIP)
        && request.get_all(ACCEPT_ENCODING).iter().any(accepts)
}

/// tonic says `OUT_OF_RANGE` of a frame above the limit and `RESOURCE_EXHAUSTED` of one that inflates above it. What
/// hyper says is about the connection: the caller broke the request off.
fn broken(status: Status) -> Error {
    let is_cut = status.source().is_some_and(|source| source.is::<hyper::Error>());
    let reason = match status.code() {
        _ if is_cut => Reason::CallerGone,
        Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
        _ => Reason::MalformedFrame,
    };
    Error::refuse(reason).with_source(status)
}
