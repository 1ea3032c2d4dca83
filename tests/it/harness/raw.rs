//! A client that says what no gRPC library would: HTTP/2 by hand.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode, request::Builder};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

use super::{ACME_KEY, soon};

/// One HTTP/2 connection.
pub(crate) struct Raw {
    send: SendRequest<Bytes>,
    authority: String,
    ended: JoinHandle<()>,
}

/// Everything of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// A request whose answer is not there yet.
pub(crate) struct Pending {
    pub(crate) answer: h2::client::ResponseFuture,
    pub(crate) stream: h2::SendStream<Bytes>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), format!("http://{address}")).await
    }

    /// From this address of the loopback network.
    pub(crate) async fn from(peer: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((peer, 0).into()).unwrap();
        Self::over(socket.connect(address).await.unwrap(), format!("http://{address}")).await
    }

    /// On a connection that is there, such as one of TLS.
    pub(crate) async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, base: String) -> Self {
        let (send, connection) = h2::client::handshake(io).await.unwrap();
        let ended = tokio::spawn(async move { drop(connection.await) });
        Self { send, authority: base, ended }
    }

    /// Waits until the gateway ends the connection.
    pub(crate) async fn closes(self) {
        let Self { send, ended, .. } = self;
        soon(ended).await.unwrap();
        drop(send);
    }

    /// Waits for the connection's end.
    pub(crate) async fn ended(self) {
        let Self { send, ended, .. } = self;
        drop(send);
        soon(ended).await.unwrap();
    }

    /// A POST with no headers.
    pub(crate) fn bare(&self, path: &str) -> Builder {
        Request::post(format!("{}{path}", self.authority))
    }

    /// A well-formed gRPC request of acme's.
    pub(crate) fn grpc(&self, method: &str) -> Builder {
        self.bare(&format!("/gitpod.v1.PrebuildService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {ACME_KEY}"))
    }

    /// Sends the head, and the body if there is one.
    pub(crate) async fn begin(&mut self, request: Builder, body: Option<Bytes>) -> Pending {
        let mut send = self.send.clone().ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        if let Some(body) = body {
            // A refusal may come first, and close the stream.
            let _closed = stream.send_data(body, true);
        }
        Pending { answer, stream }
    }

    pub(crate) async fn call(&mut self, request: Builder, body: impl Into<Bytes>) -> Answered {
        let pending = self.begin(request, Some(body.into())).await;
        pending.answered().await
    }
}

impl Pending {
    pub(crate) async fn answered(self) -> Answered {
        let (head, mut stream) = soon(self.answer).await.unwrap().into_parts();
        let mut body = BytesMut::new();
        while let Some(data) = soon(stream.data()).await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        let trailers = soon(stream.trailers()).await.unwrap().unwrap_or_default();
        Answered { status: head.status, headers: head.headers, body: body.freeze(), trailers }
    }
}

impl Answered {
    /// `grpc-status`, wherever it stands, as a status.
    pub(crate) fn grpc(&self) -> tonic::Status {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let found = tonic::Status::from_header_map(&self.headers);
        found.or_else(|| tonic::Status::from_header_map(&self.trailers)).expect("a gRPC answer")
    }

    pub(crate) fn id(&self) -> String {
        self.headers["x-request-id"].to_str().unwrap().to_owned()
    }
}

/// A frame: flag, length, message.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat().into()
}

/// A plain frame around a message.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    frame(0, &message.encode_to_vec())
}
