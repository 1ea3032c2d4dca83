//! The end of the process: nothing that was accepted is lost within the grace.

use super::*;
use crate::server::Signals;

#[tokio::test]
async fn a_drain_lets_calls_finish_and_refuses_newcomers() {
    let server = start(Config::default()).await;
    let mut client = server.client().await;
    let slow = client.send("/slow").await;
    until(|| server.begun() == 1).await;
    server.drain.cancel();
    // Accepting ends shortly after.
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    assert!(!server.task.is_finished());
    server.gate.add_permits(1);
    assert_eq!(finish(slow).await.unwrap(), StatusCode::OK);
    assert_eq!(client.goaway().await, Some(Reason::NO_ERROR));
    assert_eq!(server.drained().await, Summary::default());
}

#[tokio::test]
async fn twenty_five_long_calls_of_twenty_five_finish_at_drain() {
    let server = start(Config::default()).await;
    let mut clients = Vec::new();
    let mut calls = Vec::new();
    for number in 0..25 {
        // Five connections of five calls each.
        if number % 5 == 0 {
            clients.push(server.client().await);
        }
        calls.push(clients.last_mut().unwrap().send("/slow").await);
    }
    until(|| server.begun() == 25).await;
    server.drain.cancel();
    let mut finished = 0;
    for call in calls {
        server.gate.add_permits(1);
        finished += usize::from(finish(call).await.is_ok_and(|status| status == StatusCode::OK));
    }
    assert_eq!(finished, 25);
    let connections = server.connections.clone();
    assert_eq!(server.drained().await, Summary::default());
    assert_eq!(connections.closed_total(Closed::Drained), 5);
    assert_eq!((connections.open(), connections.requests_in_flight()), (0, 0));
}

#[tokio::test]
async fn an_answer_whose_body_is_under_way_is_in_flight() {
    let config = Config { idle_timeout: SOON * 5, linger: SOON, ..Config::default() };
    let server = start(config).await;
    let mut client = server.client().await;
    let (head, mut body) = within(client.send("/slow-body").await).await.unwrap().into_parts();
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(server.connections.requests_in_flight(), 1);
    server.drain.cancel();
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    // The probes that were still accepted go; this connection stays.
    until(|| server.connections.open() == 1).await;
    assert_eq!(server.connections.requests_in_flight(), 1);
    server.gate.add_permits(1);
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "at last");
    assert_eq!(server.drained().await, Summary::default());
}

#[tokio::test]
async fn an_http1_call_in_flight_finishes_and_says_close() {
    let server = start(Config::default()).await;
    let mut tcp = server.connect().await;
    ask_http1(&mut tcp, "/slow").await;
    until(|| server.begun() == 1).await;
    server.drain.cancel();
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    server.gate.add_permits(1);
    let answer = rest(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.drained().await, Summary::default());
}

#[tokio::test]
async fn a_connection_that_the_drain_meets_before_its_first_request_is_served() {
    let server = start(Config::default()).await;
    let mut tcp = server.connect().await;
    until(|| server.connections.open() == 1).await;
    server.drain.cancel();
    ask_http1(&mut tcp, "/").await;
    let answer = rest(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.drained().await, Summary::default());
}

#[tokio::test]
async fn when_the_grace_is_over_the_rest_is_cut_and_counted() {
    let server = start_with(Config::default(), Shutdown { grace: SOON }).await;
    let mut client = server.client().await;
    let (one, two) = (client.send("/slow").await, client.send("/slow").await);
    until(|| server.begun() == 2).await;
    let connections = server.connections.clone();
    assert_eq!(server.drained().await, Summary { closed_hard: 1, requests_lost: 2, stuck: 0 });
    assert!(finish(one).await.is_err());
    assert!(finish(two).await.is_err());
    assert_eq!((connections.open(), connections.requests_in_flight()), (0, 0));
}

#[tokio::test]
async fn a_client_that_ignores_goaway_does_not_hold_up_the_drain() {
    let server = start(Config { linger: SOON, ..Config::default() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    until(|| server.connections.open() == 1).await;
    // The grace is 25 s; the outer patience of a test is more, so the time is looked at.
    let began = std::time::Instant::now();
    assert_eq!(server.drained().await, Summary::default());
    assert!(began.elapsed() < Shutdown::default().grace);
}

#[tokio::test]
async fn sigterm_is_caught() {
    let mut signals = Signals::listen().unwrap();
    let kill = format!("kill -TERM {}", std::process::id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(within(signals.next()).await, "SIGTERM");
}
