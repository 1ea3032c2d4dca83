//! gRPC-Web in both framings.

use futures_util::stream;
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::front::protocol::Codec;

const LIMIT: usize = 64;

async fn undressed(framing: Framing, text: impl Into<Bytes>) -> Result<Bytes, Error> {
    let body = undress(Body::new(Full::new(text.into())), framing, LIMIT).await?;
    Ok(body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn text_is_read_in_one_piece_or_many_padded_or_not() {
    for text in ["aGVsbG8=", "aGVsbG8", "aGU=bGxv", "aA==ZQ==bA==bA==bw==", "aGVsbG8=="] {
        assert_eq!(undressed(Framing::Text, text).await.unwrap(), "hello", "{text}");
    }
    assert_eq!(undressed(Framing::Text, "").await.unwrap(), "");
    assert_eq!(undressed(Framing::Binary, "aGVsbG8=").await.unwrap(), "aGVsbG8=");
}

#[tokio::test]
async fn what_is_no_text_or_too_long_is_refused() {
    for text in ["a", "aGVsbG8!", "aGVs\nbG8=", "a-b_"] {
        let error = undressed(Framing::Text, text).await.unwrap_err();
        assert_eq!(error.reason, Some(Reason::MalformedFrame), "{text}");
    }
    // A frame of the largest message passes; the frame's own header is then looked at by the reader of frames.
    assert_eq!(undressed(Framing::Text, STANDARD.encode([0; LIMIT + 5])).await.unwrap().len(), LIMIT + 5);
    let error = undressed(Framing::Text, "A".repeat(4 * LIMIT)).await.unwrap_err();
    assert_eq!(error.reason, Some(Reason::MessageTooLarge));
}

fn header(name: &'static str, value: &'static str) -> HeaderMap {
    [(http::HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
}

const ANSWER: &[u8] = b"\0\0\0\0\x02hi\x80\0\0\0\x10grpc-status: 0\r\n";

#[tokio::test]
async fn trailers_become_the_last_frame() {
    for framing in [Framing::Binary, Framing::Text] {
        let frames = [
            Ok::<_, tonic::Status>(Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi"))),
            Ok(Frame::trailers(header("grpc-status", "0"))),
        ];
        let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
        response.headers_mut().extend(header("x-team", "a"));
        let protocol = Protocol::GrpcWeb(Codec::Proto, framing);
        let (head, body) = dress(response, protocol, framing).await.into_parts();
        assert_eq!(head.headers[CONTENT_TYPE], protocol.content_type());
        assert_eq!(head.headers["x-team"], "a");
        let body = body.collect().await.unwrap().to_bytes();
        match framing {
            Framing::Binary => assert_eq!(body, ANSWER),
            Framing::Text => assert_eq!(STANDARD.decode(body).unwrap(), ANSWER),
        }
    }
}

#[tokio::test]
async fn a_status_in_the_headers_moves_into_the_body() {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = header("grpc-status", "5");
    response.headers_mut().extend(header("content-type", "application/grpc"));
    response.headers_mut().append("x-team", HeaderValue::from_static("a"));
    response.headers_mut().append("x-team", HeaderValue::from_static("b"));
    let protocol = Protocol::GrpcWeb(Codec::Json, Framing::Binary);
    let (head, body) = dress(response, protocol, Framing::Binary).await.into_parts();
    assert_eq!(head.headers.len(), 1);
    assert_eq!(head.headers[CONTENT_TYPE], "application/grpc-web+json");
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body[5..].to_vec()).unwrap();
    assert_eq!((body[0], usize::from(body[4])), (0x80, text.len()));
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["grpc-status: 5", "x-team: a", "x-team: b"]);
}
