//! What counts as which protocol.

use http::Request;

use super::*;
use crate::front::Body;

fn post(version: Version, content_type: &str) -> Protocol {
    let request = Request::post("/").version(version).header(CONTENT_TYPE, content_type);
    Protocol::of(&request.body(Body::empty()).unwrap())
}

#[test]
fn the_content_type_tells_the_protocol() {
    let (binary, text) = (Framing::Binary, Framing::Text);
    for (name, expected) in [
        ("application/json", Protocol::Connect(Codec::Json)),
        ("Application/JSON; charset=utf-8", Protocol::Connect(Codec::Json)),
        ("application/proto", Protocol::Connect(Codec::Proto)),
        ("application/grpc-web", Protocol::GrpcWeb(Codec::Proto, binary)),
        ("application/grpc-web+proto", Protocol::GrpcWeb(Codec::Proto, binary)),
        ("application/grpc-web+json", Protocol::GrpcWeb(Codec::Json, binary)),
        ("application/grpc-web-text", Protocol::GrpcWeb(Codec::Proto, text)),
        ("application/grpc-web-text+proto", Protocol::GrpcWeb(Codec::Proto, text)),
        ("application/grpc-web-text+json", Protocol::GrpcWeb(Codec::Json, text)),
        // Streams, and what only looks alike.
        ("application/connect+proto", Protocol::Unknown),
        ("application/connect+json", Protocol::Unknown),
        ("application/grpc-web+thrift", Protocol::Unknown),
        ("application/jsonp", Protocol::Unknown),
        ("text/html", Protocol::Unknown),
        ("", Protocol::Unknown),
    ] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(post(version, name), expected, "{name} {version:?}");
        }
    }
}

#[test]
fn grpc_is_spoken_over_http2_alone() {
    for (name, codec) in [
        ("application/grpc", Codec::Proto),
        ("application/grpc+proto", Codec::Proto),
        ("Application/gRPC; x=y", Codec::Proto),
        ("application/grpc+json", Codec::Json),
    ] {
        assert_eq!(post(Version::HTTP_2, name), Protocol::Grpc(codec), "{name}");
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(post(version, name), Protocol::Unknown, "{name} {version:?}");
        }
    }
}

#[test]
fn nothing_of_no_type_is_an_empty_message() {
    let post = |body| Protocol::of(&Request::post("/").body(body).unwrap());
    assert_eq!(post(Body::empty()), Protocol::Connect(Codec::Json));
    assert_eq!(post(Body::new(http_body_util::Full::from("{}"))), Protocol::Unknown);
}

#[test]
fn two_content_types_are_none() {
    let request = Request::post("/").header(CONTENT_TYPE, "application/json");
    let request = request.header(CONTENT_TYPE, "application/proto").body(Body::empty()).unwrap();
    assert_eq!(Protocol::of(&request), Protocol::Unknown);
}

#[test]
fn a_get_names_its_codec_in_the_query_and_other_methods_are_none() {
    let of = |method: Method, uri: &str| {
        let request = Request::builder().method(method).uri(uri).header(CONTENT_TYPE, "application/json");
        Protocol::of(&request.body(Body::empty()).unwrap())
    };
    assert_eq!(of(Method::GET, "/x?encoding=json&message=%7B%7D"), Protocol::Connect(Codec::Json));
    assert_eq!(of(Method::GET, "/x?message=&encoding=proto"), Protocol::Connect(Codec::Proto));
    for uri in [
        "/x",
        "/x?encoding=",
        "/x?encoding=xml",
        "/x?Encoding=json",
        "/x?encodings=json",
        "/x?encoding=json&encoding=proto",
    ] {
        assert_eq!(of(Method::GET, uri), Protocol::Unknown, "{uri}");
    }
    for method in [Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
        assert_eq!(of(method, "/x?encoding=json"), Protocol::Unknown);
    }
}
