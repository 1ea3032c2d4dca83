//! How the runner talks to a peer: messages with their length before them, on stdin and stdout.

use std::io::{self, ErrorKind, Read, Write};

use prost::Message;
use prost_types::Any;

use super::messages::{Header, Payload, RpcError};

/// Far above any of the suite's messages.
const MAX: u32 = 64 << 20;

#[derive(Clone, PartialEq, Message)]
pub struct ServerRequest {
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    #[prost(int32, tag = "2")]
    pub http_version: i32,
    #[prost(bool, tag = "4")]
    pub use_tls: bool,
    #[prost(bytes = "vec", tag = "5")]
    pub client_tls_cert: Vec<u8>,
    #[prost(uint32, tag = "6")]
    pub message_receive_limit: u32,
    #[prost(message, optional, tag = "7")]
    pub server_creds: Option<Credentials>,
}

/// `TLSCreds`: PEM.
#[derive(Clone, PartialEq, Message)]
pub struct Credentials {
    #[prost(bytes = "vec", tag = "1")]
    pub cert: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ServerResponse {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub pem_cert: Vec<u8>,
}

/// `ClientCompatRequest`, without what only streams, other protocols and other codecs need.
#[derive(Clone, PartialEq, Message)]
pub struct ClientRequest {
    #[prost(string, tag = "1")]
    pub test_name: String,
    #[prost(int32, tag = "2")]
    pub http_version: i32,
    #[prost(string, tag = "6")]
    pub host: String,
    #[prost(uint32, tag = "7")]
    pub port: u32,
    #[prost(bytes = "vec", tag = "8")]
    pub server_tls_cert: Vec<u8>,
    #[prost(string, optional, tag = "12")]
    pub method: Option<String>,
    #[prost(message, repeated, tag = "15")]
    pub request_headers: Vec<Header>,
    #[prost(message, repeated, tag = "16")]
    pub request_messages: Vec<Any>,
    #[prost(uint32, optional, tag = "17")]
    pub timeout_ms: Option<u32>,
    #[prost(message, optional, tag = "19")]
    pub cancel: Option<Cancel>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Cancel {
    #[prost(uint32, optional, tag = "2")]
    pub after_close_send_ms: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ClientResponse {
    #[prost(string, tag = "1")]
    pub test_name: String,
    #[prost(oneof = "Outcome", tags = "2, 3")]
    pub result: Option<Outcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Outcome {
    #[prost(message, tag = "2")]
    Response(Answered),
    /// The call could not even be made.
    #[prost(message, tag = "3")]
    Error(Failed),
}

/// `ClientResponseResult`
#[derive(Clone, PartialEq, Message)]
pub struct Answered {
    #[prost(message, repeated, tag = "1")]
    pub response_headers: Vec<Header>,
    #[prost(message, repeated, tag = "2")]
    pub payloads: Vec<Payload>,
    #[prost(message, optional, tag = "3")]
    pub error: Option<RpcError>,
    #[prost(message, repeated, tag = "4")]
    pub response_trailers: Vec<Header>,
}

/// `ClientErrorResult`
#[derive(Clone, PartialEq, Message)]
pub struct Failed {
    #[prost(string, tag = "1")]
    pub message: String,
}

/// The next message; `None` at the end.
pub fn receive<M: Message + Default>(input: &mut impl Read) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length);
    if length > MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    input.read_exact(&mut message)?;
    Ok(Some(M::decode(&message[..])?))
}

pub fn send(output: &mut impl Write, message: &impl Message) -> io::Result<()> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    output.write_all(&length.to_be_bytes())?;
    output.write_all(&bytes)?;
    output.flush()
}
