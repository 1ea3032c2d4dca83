//! HTTP/2 abuse: it ends the abuser's connection and nobody else's.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `POST http://gateway/slow` from HPACK's static table and literals.
const SLOW: &[u8] = b"\x83\x86\x04\x05/slow\x01\x07gateway";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn stream_ids(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2 * n + 1)
}

/// Sends the flood, and reads frames until GOAWAY: its error code. The writer may fail once the server has closed.
async fn goaway_after(server: &Running, flood: Vec<u8>) -> u32 {
    let (mut read, mut write) = server.connect().await.into_split();
    let writer = tokio::spawn(async move {
        let _closed_meanwhile = write.write_all(&flood).await;
        write
    });
    let mut codes = Vec::new();
    // The server sends at most a few frames per stream it has seen.
    for _ in 0..100_000 {
        let mut head = [0; 9];
        if within(read.read_exact(&mut head)).await.is_err() {
            break;
        }
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let mut payload = vec![0; length];
        if within(read.read_exact(&mut payload)).await.is_err() {
            break;
        }
        if head[3] == GOAWAY {
            codes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    writer.abort();
    codes.pop().expect("a GOAWAY before the end")
}

/// Runs the flood beside a call of another client, which must not notice.
async fn ends_calmly(flood: Vec<u8>) {
    let server = start(Config::default()).await;
    let mut other = server.client().await;
    let slow = other.send("/slow").await;
    until(|| server.begun() == 1).await;

    assert_eq!(goaway_after(&server, flood).await, u32::from(Reason::ENHANCE_YOUR_CALM));

    assert_eq!(other.call("/").await, StatusCode::OK);
    server.gate.add_permits(1_000_000);
    assert_eq!(finish(slow).await.unwrap(), StatusCode::OK);
    until(|| server.connections.closed_total(Closed::Failed) == 1).await;
    until(|| server.connections.requests_in_flight() == 0).await;
}

#[tokio::test]
async fn a_rapid_reset_flood_ends_in_goaway() {
    let mut flood = PREFACE.to_vec();
    for id in stream_ids(5000) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, SLOW));
        flood.extend(frame(RST_STREAM, 0, id, &u32::from(Reason::CANCEL).to_be_bytes()));
    }
    ends_calmly(flood).await;
}

#[tokio::test]
async fn resets_forced_from_the_server_end_in_goaway() {
    // A window above 2^31-1 is an error of its stream: the server has to reset it ("MadeYouReset").
    let mut flood = PREFACE.to_vec();
    for id in stream_ids(5000) {
        flood.extend(frame(HEADERS, END_HEADERS, id, SLOW));
        flood.extend(frame(WINDOW_UPDATE, 0, id, &i32::MAX.to_be_bytes()));
    }
    ends_calmly(flood).await;
}

#[tokio::test]
async fn a_flood_of_streams_over_the_limit_ends_in_goaway() {
    let mut flood = PREFACE.to_vec();
    for id in stream_ids(5000) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, SLOW));
    }
    ends_calmly(flood).await;
}

#[tokio::test]
async fn a_continuation_flood_ends_in_goaway() {
    let mut flood = PREFACE.to_vec();
    flood.extend(frame(HEADERS, END_STREAM, 1, SLOW));
    for _ in 0..5000 {
        flood.extend(frame(CONTINUATION, 0, 1, b"\x40\x01x\x01y"));
    }
    ends_calmly(flood).await;
}

#[tokio::test]
async fn a_header_block_far_over_the_limit_ends_in_goaway() {
    // Indexed once and referred to again: a few bytes that inflate to hundreds of kilobytes.
    let mut block = SLOW.to_vec();
    block.extend(b"\x40\x01x\x7f\xa1\x1e"); // literal with indexing, name `x`, value of 127 + 3873 bytes
    block.extend(vec![b'y'; 4000]);
    block.extend(vec![0xbe; 10_000]); // the newest entry of the dynamic table
    let mut flood = PREFACE.to_vec();
    flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
    ends_calmly(flood).await;
}

#[tokio::test]
async fn headers_over_the_limit_are_refused_on_http2() {
    let server = start(Config { max_header_list_size: 8192, ..Config::default() }).await;
    let mut client = server.client().await;
    assert_eq!(client.call("/").await, StatusCode::OK);
    let headers = HeaderMap::from_iter([("x-large".parse().unwrap(), "y".repeat(9000).parse().unwrap())]);
    let answer = client.send_with("/", headers).await;
    let answer = within(answer.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(server.begun(), 1);
    assert_eq!(client.call("/").await, StatusCode::OK);
}

#[tokio::test]
async fn headers_over_the_limit_are_refused_on_http1() {
    let server = start(Config { max_header_list_size: 8192, ..Config::default() }).await;
    let mut tcp = server.connect().await;
    let request = format!("GET / HTTP/1.1\r\nx-large: {}\r\n\r\n", "y".repeat(20_000));
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    within(tcp.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    assert_eq!(server.begun(), 0);
}

#[tokio::test]
async fn streams_over_the_limit_are_not_served() {
    let server = start(Config { max_concurrent_streams: 3, ..Config::default() }).await;
    let mut tcp = server.connect().await;
    let mut bytes = PREFACE.to_vec();
    for id in stream_ids(4) {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, SLOW));
    }
    tcp.write_all(&bytes).await.unwrap();
    // The fourth is reset; the three are held by the service.
    within(async {
        loop {
            let mut head = [0; 9];
            tcp.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[2])];
            tcp.read_exact(&mut payload).await.unwrap();
            if head[3] == RST_STREAM {
                assert_eq!(head[8], 7);
                assert_eq!(payload, u32::from(Reason::REFUSED_STREAM).to_be_bytes());
                return;
            }
        }
    })
    .await;
    until(|| server.begun() == 3).await;
    assert_eq!(server.connections.requests_in_flight(), 3);
}
