//! Servers for the processes under test: one answer for whatever is asked.

use std::{
    io::{Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Everything that came, head and body.
pub(crate) type Came = Arc<Mutex<Vec<u8>>>;

/// A server of HTTP/1.1 that gives every request this answer.
pub(crate) fn answering(answer: &'static str) -> (SocketAddr, Came) {
    answering_with("200 OK", answer)
}

pub(crate) fn answering_with(status: &'static str, answer: &'static str) -> (SocketAddr, Came) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, came) = (listener.local_addr().unwrap(), Came::default());
    let all = came.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read(&mut stream);
            all.lock().unwrap().extend(request);
            let length = answer.len();
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}");
            let _gone = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{answer}").as_bytes());
        }
    });
    (address, came)
}

/// One request, or what there is of it.
fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or_default() == 0 {
            return request;
        }
        request.extend(byte);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let _cut_off = stream.take(length.unwrap_or(0)).read_to_end(&mut request);
    request
}
