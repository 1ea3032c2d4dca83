//! HTTP/1 requests that are answered before they have come whole. (The tests' service reads no body.)

use super::*;

const HEAD: &str = "POST / HTTP/1.1\r\nhost: gateway\r\n";

async fn tell(tcp: &mut TcpStream, text: &str) {
    tcp.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn the_connection_lives_on_when_the_rest_has_come() {
    let server = start(Config::default()).await;
    let mut tcp = server.connect().await;
    for (framing, rest) in
        [("content-length: 5", "12345"), ("transfer-encoding: chunked", "1\r\n1\r\n0\r\n\r\n")]
    {
        tell(&mut tcp, &format!("{HEAD}{framing}\r\n\r\n")).await;
        let answer = http1_answer(&mut tcp).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
        tell(&mut tcp, rest).await;
    }
    ask_http1(&mut tcp, "/").await;
    assert!(http1_answer(&mut tcp).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_client_is_told_when_there_is_too_much_to_read_or_it_waits_to_be_asked() {
    let server = start(Config::default()).await;
    for framing in ["content-length: 300000", "content-length: 5\r\nexpect: 100-continue"] {
        let mut tcp = server.connect().await;
        tell(&mut tcp, &format!("{HEAD}{framing}\r\n\r\n")).await;
        let answer = rest(&mut tcp).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_rest_without_end_is_not_read_for_ever() {
    let server = start(Config::default()).await;
    let mut endless = server.connect().await;
    tell(&mut endless, &format!("{HEAD}transfer-encoding: chunked\r\n\r\n")).await;
    http1_answer(&mut endless).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let sent = within(async { while endless.write_all(chunk.as_bytes()).await.is_ok() {} });
    sent.await;
    // One that never comes.
    let mut silent = server.connect().await;
    tell(&mut silent, &format!("{HEAD}content-length: 5\r\n\r\n")).await;
    http1_answer(&mut silent).await;
    assert_eq!(rest(&mut silent).await, "");
}
