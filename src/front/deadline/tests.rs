//! Timeouts of every form, and what becomes of a call that takes longer.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use tower::{Service as _, ServiceBuilder, service_fn};

use super::{Config, DEFAULT, Deadlines, MAX, MAX_CONNECT_DIGITS, MalformedTimeout, digits, grpc};
use crate::{
    call::Deadline,
    error::{Error, Reason},
    front::{
        Body, HttpRequest, HttpResponse, Protocol,
        protocol::{Codec, Framing},
    },
    stack::stage,
};

const GRPC: Protocol = Protocol::Grpc(Codec::Proto);
const WEB: Protocol = Protocol::GrpcWeb(Codec::Proto, Framing::Text);
const CONNECT: Protocol = Protocol::Connect(Codec::Json);

fn timeout(protocol: Protocol, values: &[&[u8]]) -> Result<Duration, MalformedTimeout> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(protocol.timeout_header(), HeaderValue::from_bytes(value).unwrap());
    }
    Config::default().timeout(protocol, &headers)
}

#[test]
fn every_unit_means_what_the_specification_says() {
    for (value, expected) in [
        ("1H", Duration::from_secs(3600)),
        ("2M", Duration::from_secs(120)),
        ("3S", Duration::from_secs(3)),
        ("4m", Duration::from_millis(4)),
        ("5u", Duration::from_micros(5)),
        ("6n", Duration::from_nanos(6)),
        ("0S", Duration::ZERO),
        ("00000001S", Duration::from_secs(1)),
        ("99999999n", Duration::from_nanos(99_999_999)),
        ("99999999S", Duration::from_secs(99_999_999)),
        ("99999999H", Duration::from_secs(99_999_999 * 3600)),
    ] {
        assert_eq!(grpc(value), Ok(expected), "{value}");
    }
}

#[test]
fn every_other_form_is_malformed() {
    for value in [
        "",
        "S",
        "H",
        "1",
        "12345678",
        "123456789S",
        "000000001S",
        "+1S",
        "-1S",
        "-0S",
        "1s",
        "1h",
        "1M ",
        " 1M",
        "1 M",
        "1.5S",
        "1e3S",
        "0x1S",
        "1SS",
        "S1",
        "1é",
        "é",
        "١S",
        "1\u{00b5}",
        "\0S",
        "1\tS",
        "infinity",
        "99999999999999999999999999H",
    ] {
        assert_eq!(grpc(value), Err(MalformedTimeout), "{value:?}");
    }
}

#[test]
fn a_caller_gets_its_own_time_the_default_or_the_maximum() {
    for protocol in [GRPC, WEB] {
        assert_eq!(timeout(protocol, &[b"1S"]), Ok(Duration::from_secs(1)));
        assert_eq!(timeout(protocol, &[b"300S"]), Ok(MAX));
        assert_eq!(timeout(protocol, &[b"301S"]), Ok(MAX));
        assert_eq!(timeout(protocol, &[b"99999999H"]), Ok(MAX));
        for malformed in [&[b"\xff1S".as_slice()][..], &[b""], &[b"1S", b"1S"]] {
            assert_eq!(timeout(protocol, malformed), Err(MalformedTimeout));
        }
    }
    assert_eq!(timeout(CONNECT, &[b"1500"]), Ok(Duration::from_millis(1500)));
    assert_eq!(timeout(CONNECT, &[b"9999999999"]), Ok(MAX));
    assert_eq!(timeout(CONNECT, &[b"0"]), Ok(Duration::ZERO));
    for malformed in [&[b"10000000000".as_slice()][..], &[b""], &[b"1S"], &[b"-1"], &[b"1.5"], &[b"1", b"1"]]
    {
        assert_eq!(timeout(CONNECT, malformed), Err(MalformedTimeout));
    }
    for protocol in [GRPC, WEB, CONNECT] {
        assert_eq!(timeout(protocol, &[]), Ok(DEFAULT));
    }
    assert_eq!(digits("12345678901", MAX_CONNECT_DIGITS), Err(MalformedTimeout));
}

#[test]
fn a_malformed_timeout_is_invalid_argument_and_never_no_deadline() {
    let error = Error::from(MalformedTimeout);
    assert_eq!(error.reason, Some(Reason::MalformedTimeout));
    assert_eq!(error.code, crate::error::Code::InvalidArgument);
}

async fn run(timeout: &'static str, ends: bool) -> Result<Deadline, Error> {
    let inner = move |request: HttpRequest| async move {
        let deadline = *request.extensions().get::<Deadline>().unwrap();
        if !ends {
            pending::<()>().await;
        }
        let mut response = HttpResponse::new(Body::empty());
        response.extensions_mut().insert(deadline);
        Ok::<_, Error>(response)
    };
    let mut stack =
        ServiceBuilder::new().layer(stage(Deadlines(Config::default()))).service(service_fn(inner));
    let mut request = HttpRequest::new(Body::empty());
    request.extensions_mut().insert(GRPC);
    request.headers_mut().insert(GRPC.timeout_header(), HeaderValue::from_static(timeout));
    stack.call(request).await.map(|response| *response.extensions().get::<Deadline>().unwrap())
}

#[tokio::test]
async fn what_takes_longer_is_deadline_exceeded() {
    assert_eq!(run("10m", false).await.unwrap_err().reason, Some(Reason::DeadlineExceeded));
    assert_eq!(run("0n", false).await.unwrap_err().reason, Some(Reason::DeadlineExceeded));
    assert_eq!(run("10x", true).await.unwrap_err().reason, Some(Reason::MalformedTimeout));
}

#[tokio::test]
async fn the_layers_below_see_the_deadline() {
    let before = Instant::now();
    let deadline = run("20S", true).await.unwrap().instant();
    assert!(
        (before + Duration::from_secs(20)..=Instant::now() + Duration::from_secs(20)).contains(&deadline)
    );
}
