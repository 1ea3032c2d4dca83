//! Frames of every form, good and broken, and what a reply looks like.

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};

use super::{ACCEPT_ENCODING, CONTENT_TYPE, ENCODING, accepted, read, write};
use crate::{
    call::{Reply, tests::reply},
    error::{Code, Error, Reason},
    front::{Body, protocol::Codec},
};

const LIMIT: usize = 1024;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn gzip() -> HeaderMap {
    headers(&[(ENCODING, "gzip"), (ACCEPT_ENCODING, "identity, gzip")])
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    frame
}

/// The frame that a reply becomes for a caller that compresses.
async fn gzip_frame(message: Vec<u8>) -> Vec<u8> {
    let response = write(&gzip(), Codec::Proto, Reply { wire: message.into(), ..reply() });
    let frame = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(frame[0], 1);
    frame.to_vec()
}

async fn read_whole(headers: &HeaderMap, bytes: Vec<u8>) -> Result<Bytes, Error> {
    read(headers, Body::new(Full::new(Bytes::from(bytes))), LIMIT).await
}

async fn refused(headers: &HeaderMap, bytes: Vec<u8>) -> (Reason, Code) {
    let error = read_whole(headers, bytes).await.unwrap_err();
    (error.reason.unwrap(), error.code)
}

#[tokio::test]
async fn one_message_is_read_however_it_is_cut() {
    for message in [Vec::new(), b"hello".to_vec(), vec![7; LIMIT]] {
        let bytes = frame(0, &message);
        for headers in [HeaderMap::new(), headers(&[(ENCODING, "identity")]), gzip()] {
            assert_eq!(read_whole(&headers, bytes.clone()).await.unwrap(), message);
        }
        let pieces =
            bytes.into_iter().map(|byte| Ok::<_, tonic::Status>(Frame::data(Bytes::from(vec![byte]))));
        let body = Body::new(StreamBody::new(stream::iter(pieces)));
        assert_eq!(read(&HeaderMap::new(), body, LIMIT).await.unwrap(), message);
    }
}

#[tokio::test]
async fn a_compressed_message_is_inflated() {
    for message in [b"hello".to_vec(), vec![7; LIMIT]] {
        assert_eq!(read_whole(&gzip(), gzip_frame(message.clone()).await).await.unwrap(), message);
    }
}

#[tokio::test]
async fn a_message_above_the_limit_is_too_large_before_and_after_inflation() {
    let expected = (Reason::MessageTooLarge, Code::ResourceExhausted);
    assert_eq!(refused(&HeaderMap::new(), frame(0, &vec![7; LIMIT + 1])).await, expected);
    let bomb = gzip_frame(vec![7; 1 << 20]).await;
    assert!(bomb.len() > LIMIT, "the frame itself is above the limit");
    assert_eq!(refused(&gzip(), bomb).await, expected);
    let small = gzip_frame(vec![7; LIMIT + 1]).await;
    assert!(small.len() < LIMIT, "only what is inflated is above the limit");
    assert_eq!(refused(&gzip(), small).await, expected);
    // The length alone says so; nobody waits for 4 GiB.
    assert_eq!(refused(&HeaderMap::new(), vec![0, 255, 255, 255, 255]).await, expected);
}

#[tokio::test]
async fn broken_frames_are_internal() {
    let expected = (Reason::MalformedFrame, Code::Internal);
    let good = frame(0, b"hello");
    // Right behind the five bytes of a header, too, where tonic takes the end for an end.
    for cut in 1..good.len() {
        assert_eq!(refused(&HeaderMap::new(), good[..cut].to_vec()).await, expected, "cut at {cut}");
    }
    for flag in 2..=255 {
        assert_eq!(refused(&HeaderMap::new(), frame(flag, b"hello")).await, expected, "flag {flag}");
    }
    // "MUST fail with INTERNAL" (gRPC, "Compression"): the flag without an encoding.
    assert_eq!(refused(&HeaderMap::new(), gzip_frame(b"hello".to_vec()).await).await, expected);
    assert_eq!(refused(&headers(&[(ENCODING, "identity")]), frame(1, b"hello")).await, expected);
    assert_eq!(refused(&gzip(), frame(1, b"no gzip at all")).await, expected);
    let mut cut = gzip_frame(b"hello".to_vec()).await;
    cut.truncate(cut.len() - 8);
    cut[4] -= 8;
    assert_eq!(refused(&gzip(), cut).await, expected, "gzip without its end");
}

#[tokio::test]
async fn a_unary_call_has_one_message() {
    let expected = (Reason::MessageCount, Code::Unimplemented);
    assert_eq!(refused(&HeaderMap::new(), Vec::new()).await, expected);
    let two = [frame(0, b"one"), frame(0, b"two")].concat();
    assert_eq!(refused(&HeaderMap::new(), two).await, expected);
    for rest in [vec![0, 0], vec![0, 0, 0, 0, 9]] {
        let half = [frame(0, b"one"), rest].concat();
        assert_eq!(refused(&HeaderMap::new(), half).await, (Reason::MalformedFrame, Code::Internal));
    }
}

#[tokio::test]
async fn an_unknown_encoding_is_refused_before_anything_is_read() {
    for name in ["br", "zstd", "deflate", "snappy", "GZIP", "", "gzip, gzip"] {
        let refused = refused(&headers(&[(ENCODING, name)]), frame(0, b"hello")).await;
        assert_eq!(refused, (Reason::UnsupportedEncoding, Code::Unimplemented), "{name}");
    }
    assert_eq!(accepted(), "identity,gzip");
}

#[tokio::test]
async fn a_reply_is_one_frame_and_its_trailers() {
    let reply = Reply {
        wire: Bytes::from_static(b"hello"),
        metadata: headers(&[("x-lead", "1"), ("content-type", "text/html")]),
        trailers: headers(&[("x-trail", "2")]),
        ..reply()
    };
    let response = write(&HeaderMap::new(), Codec::Proto, reply);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    assert_eq!(response.headers()["x-lead"], "1");
    assert!(!response.headers().contains_key(ENCODING));
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().unwrap().clone();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-trail"], "2");
    assert_eq!(body.to_bytes(), frame(0, b"hello"));
}

#[tokio::test]
async fn all_values_of_a_name_reach_the_caller() {
    let twice = |name: &'static str| {
        let mut map = HeaderMap::new();
        map.append(name, HeaderValue::from_static("1"));
        map.append(name, HeaderValue::from_static("2"));
        map
    };
    let response = write(
        &HeaderMap::new(),
        Codec::Proto,
        Reply { metadata: twice("x-lead"), trailers: twice("x-trail"), ..reply() },
    );
    assert_eq!(response.headers().get_all("x-lead").iter().collect::<Vec<_>>(), ["1", "2"]);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap().get_all("x-trail").iter().collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn only_who_compresses_and_accepts_gets_a_compressed_reply() {
    for (request, compressed) in [
        (HeaderMap::new(), false),
        (headers(&[(ENCODING, "gzip")]), false),
        (headers(&[(ACCEPT_ENCODING, "gzip")]), false),
        (headers(&[(ENCODING, "identity"), (ACCEPT_ENCODING, "gzip")]), false),
        (gzip(), true),
    ] {
        let response = write(&request, Codec::Proto, Reply { wire: vec![7; 512].into(), ..reply() });
        assert_eq!(response.headers().contains_key(ENCODING), compressed, "{request:?}");
        let bytes: BytesMut = response.into_body().collect().await.unwrap().to_bytes().into();
        assert_eq!(bytes[0] == 1, compressed);
    }
}
