//! gRPC-Web: gRPC's frames without HTTP trailers, in binary or base64
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>).
//!
//! Calls of this API are unary, so that a response is in memory when it is dressed. (`tonic-web` would do the same for
//! streams; it knows no JSON, and answers with errors of its own before any layer of ours sees the request.)

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};

use super::{Body, HttpResponse, Protocol, message::unread, protocol::Framing};
use crate::error::{Error, Reason};

#[cfg(test)]
mod tests;

/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// Bytes around a message: a frame's header, and padding at the most.
const SLACK: usize = 16;

/// The frames of a request, out of their base64 if need be.
///
/// # Errors
/// More text than a message of `limit` bytes takes, or no base64.
pub(super) async fn undress(body: Body, framing: Framing, limit: usize) -> Result<Body, Error> {
    if framing == Framing::Binary {
        return Ok(body);
    }
    let text = Limited::new(body, limit.saturating_add(SLACK).saturating_mul(4) / 3 + SLACK);
    let text = text.collect().await.map_err(unread)?;
    Ok(Body::new(Full::new(decode(&text.to_bytes())?)))
}

/// Text may come in pieces, each padded on its own.
fn decode(text: &[u8]) -> Result<Bytes, Error> {
    let mut frames = BytesMut::with_capacity(text.len() / 4 * 3);
    for piece in text.split_inclusive(|byte| *byte == b'=') {
        let piece = piece.strip_suffix(b"=").unwrap_or(piece);
        let bytes = STANDARD_NO_PAD.decode(piece);
        frames.put(&bytes.map_err(|error| Error::refuse(Reason::MalformedFrame).with_source(error))?[..]);
    }
    Ok(frames.freeze())
}

/// A gRPC response as gRPC-Web: the trailers become the body's last frame.
pub(super) async fn dress(response: HttpResponse, protocol: Protocol, framing: Framing) -> HttpResponse {
    let (mut head, body) = response.into_parts();
    let (data, trailers) = match body.collect().await {
        Ok(whole) => {
            let trailers = whole.trailers().cloned();
            (whole.to_bytes(), trailers)
        }
        // What is in memory does not fail; if it did, a body without a status is an error to every client.
        Err(_) => (Bytes::new(), Some(HeaderMap::new())),
    };
    let trailers = trailers.unwrap_or_else(|| {
        // Trailers-only: what stands in the headers is the status. Browsers show few headers to scripts, but all of
        // the body.
        head.headers.remove(CONTENT_TYPE);
        std::mem::take(&mut head.headers)
    });
    let mut frames = BytesMut::from(data);
    write_trailers(&trailers, &mut frames);
    let frames = match framing {
        Framing::Binary => frames.freeze(),
        Framing::Text => STANDARD.encode(frames).into(),
    };
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(protocol.content_type()));
    HttpResponse::from_parts(head, Body::new(Full::new(frames)))
}

/// As HTTP/1 headers in lower case.
fn write_trailers(trailers: &HeaderMap, frames: &mut BytesMut) {
    let mut block = BytesMut::new();
    for (name, value) in trailers {
        block.put(name.as_str().as_bytes());
        block.put(&b": "[..]);
        block.put(value.as_bytes());
        block.put(&b"\r\n"[..]);
    }
    frames.put_u8(TRAILERS);
    // Trailers were made from headers, whose size is far below 4 GiB.
    frames.put_u32(u32::try_from(block.len()).unwrap_or(u32::MAX));
    frames.put(block);
}
