//! Requests by POST and GET, and what a reply looks like.

use http::{HeaderName, Request};

use super::*;
use crate::call::tests::reply;

const LIMIT: usize = 1 << 10;

async fn read_request(request: http::request::Builder, body: impl Into<Bytes>) -> Result<Bytes, Error> {
    let (head, body) = request.body(Body::new(Full::new(body.into()))).unwrap().into_parts();
    read(&head, body, LIMIT).await
}

async fn get(query: &str) -> Result<Bytes, Error> {
    read_request(Request::get(format!("/x?{query}")), "").await
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason.unwrap()
}

#[tokio::test]
async fn a_post_carries_its_message_plain_or_compressed() {
    let deflated = gzip::deflate(b"{}").unwrap();
    assert_eq!(read_request(Request::post("/x"), "{}").await.unwrap(), "{}");
    for (coding, body) in
        [("identity", &b"{}"[..]), ("Identity", b"{}"), ("", b"{}"), ("gzip", &deflated), ("GZIP", &deflated)]
    {
        let request = Request::post("/x").header(CONTENT_ENCODING, coding).header(PROTOCOL_VERSION, "1");
        assert_eq!(read_request(request, body.to_vec()).await.unwrap(), "{}", "{coding}");
    }
    let typed = || Request::post("/x").header(CONTENT_TYPE, "application/proto");
    let empty = typed().header(CONTENT_ENCODING, "gzip");
    assert_eq!(read_request(empty, "").await.unwrap(), "", "an empty message is not compressed");
    assert_eq!(read_request(typed(), "").await.unwrap(), "");
    assert_eq!(read_request(Request::post("/x"), "").await.unwrap(), "{}");
}

#[tokio::test]
async fn what_a_post_must_not_be() {
    let bomb = gzip::deflate(&vec![b' '; 16 << 20]).unwrap();
    let coded = |coding: &'static str| Request::post("/x").header(CONTENT_ENCODING, coding);
    for coding in ["br", "gzip, gzip", "x-gzip", "gzip;q=1"] {
        assert_eq!(reason(read_request(coded(coding), "{}").await), Reason::UnsupportedEncoding, "{coding}");
    }
    let twice = coded("gzip").header(CONTENT_ENCODING, "gzip");
    assert_eq!(reason(read_request(twice, "{}").await), Reason::UnsupportedEncoding);
    assert_eq!(reason(read_request(coded("gzip"), "{}").await), Reason::MalformedMessage);
    assert_eq!(reason(read_request(coded("gzip"), bomb).await), Reason::MessageTooLarge);
    assert_eq!(
        reason(read_request(Request::post("/x"), vec![b' '; LIMIT + 1]).await),
        Reason::MessageTooLarge
    );
    assert_eq!(read_request(Request::post("/x"), vec![b' '; LIMIT]).await.unwrap().len(), LIMIT);
    for version in ["2", "", "v1", "1.0"] {
        let request = Request::post("/x").header(PROTOCOL_VERSION, version);
        assert_eq!(reason(read_request(request, "{}").await), Reason::UnsupportedVersion, "{version}");
    }
}

#[tokio::test]
async fn a_get_carries_its_message_in_the_query() {
    let deflated = BASE64.encode(gzip::deflate(b"{}").unwrap());
    for query in [
        "message=%7B%7D".to_owned(),
        "connect=v1&message=%7B%7D&base64=0".to_owned(),
        "base64=1&message=e30".to_owned(),
        "base64=1&message=e30%3D".to_owned(),
        "base64=1&message=e30=".to_owned(),
        "compression=identity&message=%7B%7D".to_owned(),
        format!("base64=1&compression=gzip&message={deflated}"),
    ] {
        assert_eq!(get(&query).await.unwrap(), "{}", "{query}");
    }
    assert_eq!(get("message=").await.unwrap(), "");
    assert_eq!(get("message=%ff%00").await.unwrap(), &b"\xff\x00"[..]);
    assert_eq!(get("base64=1&message=_-8").await.unwrap(), &b"\xff\xef"[..]);
}

#[tokio::test]
async fn what_a_get_must_not_be() {
    for (query, expected) in [
        ("", Reason::MalformedMessage),
        ("message=%7B%7D&message=%7B%7D", Reason::MalformedMessage),
        ("base64=1&message=%2B%2F", Reason::MalformedMessage),
        ("compression=gzip&message=%7B%7D", Reason::MalformedMessage),
        ("compression=br&message=%7B%7D", Reason::UnsupportedEncoding),
        ("connect=v2&message=%7B%7D", Reason::UnsupportedVersion),
        ("connect=1&message=%7B%7D", Reason::UnsupportedVersion),
    ] {
        assert_eq!(reason(get(query).await), expected, "{query}");
    }
    assert_eq!(reason(get(&format!("message={}", "+".repeat(LIMIT + 1))).await), Reason::MessageTooLarge);
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

#[tokio::test]
async fn a_reply_is_upstreams_json_or_its_protobuf_with_trailers_as_headers() {
    let reply = Reply {
        json: r#"{"new":1}"#.into(),
        wire: "wire".into(),
        metadata: headers(&[
            ("x-lead", "a"),
            ("x-lead", "b"),
            ("content-type", "text/html"),
            ("cache-control", "public"),
        ]),
        trailers: headers(&[("x-trail", "c"), ("x-trail", "d")]),
        ..reply()
    };
    for (codec, content_type, body) in
        [(Codec::Json, "application/json", r#"{"new":1}"#), (Codec::Proto, "application/proto", "wire")]
    {
        let response = write(&headers(&[("accept-encoding", "gzip")]), codec, reply.clone());
        let all = |name: &str| response.headers().get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(all("content-type"), [content_type]);
        assert_eq!(all("cache-control"), ["no-store"]);
        assert_eq!(all("x-lead"), ["a", "b"]);
        assert_eq!(all("trailer-x-trail"), ["c", "d"]);
        assert_eq!(all("content-encoding"), [""; 0], "too short to gain anything");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }
}

#[tokio::test]
async fn a_long_reply_is_compressed_for_who_reads_it() {
    let json = Bytes::from(format!("{{\"x\":\"{}\"}}", "y".repeat(4096)));
    let reply = Reply { json: json.clone(), ..reply() };
    let response = write(&headers(&[("accept-encoding", "br, gzip")]), Codec::Json, reply.clone());
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.len() < json.len());
    assert_eq!(gzip::inflate(&body, json.len()).unwrap(), json);
    let response = write(&HeaderMap::new(), Codec::Json, reply);
    assert_eq!(response.headers().get(CONTENT_ENCODING), None);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), json);
}
