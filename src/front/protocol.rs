//! Which protocol a request speaks: told by its method, content type and HTTP version alone.

use http::{HeaderMap, Method, Version, header::CONTENT_TYPE};
use http_body::Body as _;

use super::{HttpRequest, query::Query};
use crate::{call::Reply, telemetry::System};

#[cfg(test)]
mod tests;

/// The protocols of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc(Codec),
    GrpcWeb(Codec, Framing),
    Connect(Codec),
    /// None that the gateway speaks.
    Unknown,
}

/// How messages are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Proto,
    Json,
}

/// How gRPC-Web carries its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Binary,
    /// `application/grpc-web-text`: in base64.
    Text,
}

impl Protocol {
    /// By content type, its parameters aside; a Connect GET has none, and names its codec in the query.
    pub fn of(request: &HttpRequest) -> Self {
        match *request.method() {
            // npm's @gitpod/sdk sends a call without a message so: nothing, of no type.
            Method::POST
                if !request.headers().contains_key(CONTENT_TYPE) && request.body().is_end_stream() =>
            {
                Self::Connect(Codec::Json)
            }
            Method::POST => Self::of_post(request.headers(), request.version()),
            Method::GET => Query::of(request.uri()).codec().map_or(Self::Unknown, Self::Connect),
            _ => Self::Unknown,
        }
    }

    fn of_post(headers: &HeaderMap, version: Version) -> Self {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let (Some(Ok(value)), None) = (values.next().map(|value| value.to_str()), values.next()) else {
            return Self::Unknown;
        };
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Self::Connect(Codec::Json),
            "application/proto" => Self::Connect(Codec::Proto),
            "application/grpc-web" | "application/grpc-web+proto" => {
                Self::GrpcWeb(Codec::Proto, Framing::Binary)
            }
            "application/grpc-web+json" => Self::GrpcWeb(Codec::Json, Framing::Binary),
            "application/grpc-web-text" | "application/grpc-web-text+proto" => {
                Self::GrpcWeb(Codec::Proto, Framing::Text)
            }
            "application/grpc-web-text+json" => Self::GrpcWeb(Codec::Json, Framing::Text),
            // Over HTTP/1 the status would be lost: it stands in trailers, which clients and proxies of that version
            // drop.
            _ if version != Version::HTTP_2 => Self::Unknown,
            "application/grpc" | "application/grpc+proto" => Self::Grpc(Codec::Proto),
            "application/grpc+json" => Self::Grpc(Codec::Json),
            _ => Self::Unknown,
        }
    }

    /// As logs and audit records have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc(_) => "grpc",
            Self::GrpcWeb(..) => "grpc_web",
            Self::Connect(_) => "connect",
            Self::Unknown => "unknown",
        }
    }

    /// The content type of a response. The statuses of Connect errors are JSON whatever the codec.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Grpc(Codec::Proto) => "application/grpc",
            Self::Grpc(Codec::Json) => "application/grpc+json",
            Self::GrpcWeb(Codec::Proto, Framing::Binary) => "application/grpc-web+proto",
            Self::GrpcWeb(Codec::Json, Framing::Binary) => "application/grpc-web+json",
            Self::GrpcWeb(Codec::Proto, Framing::Text) => "application/grpc-web-text+proto",
            Self::GrpcWeb(Codec::Json, Framing::Text) => "application/grpc-web-text+json",
            Self::Connect(Codec::Proto) => "application/proto",
            Self::Connect(Codec::Json) => "application/json",
            Self::Unknown => "text/plain; charset=utf-8",
        }
    }

    /// The header that says how long the caller waits.
    pub(super) const fn timeout_header(self) -> &'static str {
        match self {
            Self::Grpc(_) | Self::GrpcWeb(..) | Self::Unknown => "grpc-timeout",
            Self::Connect(_) => "connect-timeout-ms",
        }
    }

    pub(super) const fn system(self) -> System {
        match self {
            Self::Grpc(_) | Self::GrpcWeb(..) | Self::Unknown => System::Grpc,
            Self::Connect(_) => System::Connect,
        }
    }
}

impl Codec {
    /// What the reply looks like. JSON is upstream's own, with all that the schema does not know.
    pub(super) fn payload(self, reply: &Reply) -> bytes::Bytes {
        match self {
            Self::Proto => reply.wire.clone(),
            Self::Json => reply.json.clone(),
        }
    }
}
