//! Connections that do nothing, too little, or have been there for too long.

use std::time::SystemTime;

use super::{super::connection::age, *};

fn quick_first_request() -> Config {
    Config { first_request_timeout: SOON, linger: SOON, ..Config::default() }
}

async fn says_nothing_and_is_closed(bytes: &[u8]) {
    let server = start(quick_first_request()).await;
    let mut tcp = server.connect().await;
    tcp.write_all(bytes).await.unwrap();
    rest(&mut tcp).await;
    until(|| server.connections.open() == 0).await;
    assert_eq!(server.connections.closed_total(Closed::Silent), 1);
    assert_eq!(server.begun(), 0);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    says_nothing_and_is_closed(b"").await;
}

#[tokio::test]
async fn half_a_preface_is_closed() {
    says_nothing_and_is_closed(b"PRI * HTTP/2.0\r\n").await;
}

#[tokio::test]
async fn a_preface_without_settings_is_closed() {
    says_nothing_and_is_closed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
}

#[tokio::test]
async fn headers_without_an_end_are_closed() {
    says_nothing_and_is_closed(b"GET / HTTP/1.1\r\nhost: gateway\r\nx-slow: ").await;
}

#[tokio::test]
async fn an_http2_connection_without_a_request_gets_goaway() {
    let server = start(quick_first_request()).await;
    let mut client = server.client().await;
    assert_eq!(client.goaway().await, Some(Reason::NO_ERROR));
    until(|| server.connections.closed_total(Closed::Silent) == 1).await;
}

#[tokio::test]
async fn the_second_request_on_http1_must_come_in_time_too() {
    let config = Config { header_read_timeout: SOON * 5, ..Config::default() };
    let server = start(config).await;
    let mut tcp = server.connect().await;
    ask_http1(&mut tcp, "/").await;
    http1_answer(&mut tcp).await;
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    rest(&mut tcp).await;
    until(|| server.connections.closed_total(Closed::Failed) == 1).await;
}

#[tokio::test]
async fn an_idle_http2_connection_gets_goaway() {
    let server = start(Config { idle_timeout: SOON * 5, ..Config::default() }).await;
    let mut client = server.client().await;
    assert_eq!(client.call("/").await, StatusCode::OK);
    assert_eq!(client.goaway().await, Some(Reason::NO_ERROR));
    until(|| server.connections.closed_total(Closed::Idle) == 1).await;
    assert_eq!(server.connections.closed_hard_total(), 0);
}

#[tokio::test]
async fn an_idle_http1_connection_is_closed() {
    let server = start(Config { idle_timeout: SOON * 5, ..Config::default() }).await;
    let mut tcp = server.connect().await;
    ask_http1(&mut tcp, "/").await;
    http1_answer(&mut tcp).await;
    assert_eq!(rest(&mut tcp).await, "");
    until(|| server.connections.closed_total(Closed::Idle) == 1).await;
}

#[tokio::test]
async fn a_connection_with_a_call_in_flight_is_not_idle() {
    let server = start(Config { idle_timeout: SOON * 5, ..Config::default() }).await;
    let mut client = server.client().await;
    let slow = client.send("/slow").await;
    until(|| server.begun() == 1).await;
    // Another connection idles from beginning to end meanwhile, several times.
    for round in 1..=3 {
        let mut other = server.client().await;
        other.goaway().await;
        until(|| server.connections.closed_total(Closed::Idle) == round).await;
    }
    server.gate.add_permits(1);
    assert_eq!(finish(slow).await.unwrap(), StatusCode::OK);
    assert_eq!(client.goaway().await, Some(Reason::NO_ERROR));
}

#[tokio::test]
async fn a_client_that_does_not_answer_ping_is_closed() {
    let config = Config { keepalive_interval: SOON, keepalive_timeout: SOON, ..Config::default() };
    let server = start(config).await;
    let mut tcp = server.connect().await;
    // Preface and empty SETTINGS, then nothing: neither SETTINGS nor PING are ever acknowledged.
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    rest(&mut tcp).await;
    until(|| server.connections.closed_total(Closed::Failed) == 1).await;
}

#[tokio::test]
async fn an_old_connection_gets_goaway_and_its_call_finishes() {
    let server = start(Config { max_connection_age: SOON * 5, ..Config::default() }).await;
    let mut client = server.client().await;
    let slow = client.send("/slow").await;
    until(|| server.begun() == 1).await;
    // GOAWAY has arrived when the client may open no further stream.
    within(async {
        while let Ok(answer) = client.send_with("/", HeaderMap::new()).await {
            let _served_or_refused = finish(answer).await;
        }
    })
    .await;
    server.gate.add_permits(1);
    assert_eq!(finish(slow).await.unwrap(), StatusCode::OK);
    assert_eq!(client.goaway().await, Some(Reason::NO_ERROR));
    until(|| server.connections.closed_total(Closed::Aged) == 1).await;
    assert_eq!(server.connections.closed_hard_total(), 0);
}

#[tokio::test]
async fn an_old_connection_is_cut_when_the_grace_is_over() {
    let config = Config { max_connection_age: SOON * 5, max_connection_age_grace: SOON, ..Config::default() };
    let server = start(config).await;
    let mut client = server.client().await;
    let slow = client.send("/slow").await;
    assert!(finish(slow).await.is_err());
    until(|| server.connections.open() == 0).await;
    assert_eq!(server.connections.closed_hard_total(), 1);
    until(|| server.connections.requests_in_flight() == 0).await;
}

#[test]
fn a_connection_ages_before_its_certificate_ends() {
    let (now, max) = (SystemTime::now(), Duration::from_secs(1000));
    let ends_in = |seconds| Some(now + Duration::from_secs(seconds));
    assert_eq!(age(max, None, now), max);
    assert_eq!(age(max, ends_in(3600), now), max);
    assert_eq!(age(max, ends_in(1000), now), Duration::from_secs(900));
    assert_eq!(age(max, ends_in(10), now), Duration::from_secs(9));
    assert_eq!(age(max, Some(now), now), Duration::ZERO);
    assert_eq!(age(max, Some(now - max), now), Duration::ZERO, "it has ended");
}
