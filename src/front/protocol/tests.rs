//! What counts as gRPC.

use http::Request;

use super::*;
use crate::front::Body;

fn protocol(version: Version, method: Method, content_type: &str) -> Protocol {
    let request = Request::builder().version(version).method(method).header(CONTENT_TYPE, content_type);
    Protocol::of(&request.body(Body::empty()).unwrap())
}

#[test]
fn grpc_is_a_post_over_http2() {
    for name in ["application/grpc", "application/grpc+proto", "Application/gRPC; x=y"] {
        assert_eq!(protocol(Version::HTTP_2, Method::POST, name), Protocol::Grpc, "{name}");
        assert_eq!(protocol(Version::HTTP_2, Method::GET, name), Protocol::Unknown, "{name}");
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(protocol(version, Method::POST, name), Protocol::Unknown, "{name} {version:?}");
        }
    }
    for name in ["application/grpc-web", "application/grpc+json", "application/json", ""] {
        assert_eq!(protocol(Version::HTTP_2, Method::POST, name), Protocol::Unknown, "{name}");
    }
}
