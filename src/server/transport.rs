//! What lies between TCP and HTTP: nothing, or [TLS](super::Tls).

use std::{future::Future, io};

use http::Extensions;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Makes a byte stream of an accepted connection. It runs inside the connection's own task and within
/// `first_request_timeout`, so that a handshake that never ends holds up nobody else.
pub trait Transport: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The stream, and what every request on it shall carry in its extensions (such as the client's certificate).
    fn open(&self, tcp: TcpStream) -> impl Future<Output = io::Result<(Self::Stream, Extensions)>> + Send;
}

/// TCP as it is.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Transport for Plain {
    type Stream = TcpStream;

    async fn open(&self, tcp: TcpStream) -> io::Result<(TcpStream, Extensions)> {
        Ok((tcp, Extensions::new()))
    }
}
