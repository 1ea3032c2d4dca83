//! Which protocol a request speaks: told by its content type and HTTP version alone.

use http::{Method, Version, header::CONTENT_TYPE};

use super::HttpRequest;
use crate::telemetry::System;

#[cfg(test)]
mod tests;

/// The protocols of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// None that the gateway speaks.
    Unknown,
}

impl Protocol {
    /// `application/grpc`, with `+proto` or parameters (gRPC over HTTP/2, "Content-Type"). Over HTTP/1 the status would
    /// be lost: it stands in trailers, which clients and proxies of that version drop.
    pub fn of(request: &HttpRequest) -> Self {
        let value =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim();
        let is_grpc = ["application/grpc", "application/grpc+proto"]
            .iter()
            .any(|name| essence.eq_ignore_ascii_case(name));
        let is_carried = request.version() == Version::HTTP_2 && request.method() == Method::POST;
        if is_grpc && is_carried { Self::Grpc } else { Self::Unknown }
    }

    /// As logs and audit records have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Unknown => "unknown",
        }
    }

    pub(super) const fn system(self) -> System {
        match self {
            Self::Grpc | Self::Unknown => System::Grpc,
        }
    }
}
