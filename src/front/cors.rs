//! CORS: which web pages may call, and which response headers their scripts may read (Fetch standard, "CORS protocol").
//!
//! It goes around everything on the port: a preflight carries no key, is answered here, and is neither a call nor a
//! refusal. Without configured origins there is no CORS at all, and browsers keep every foreign page out.

use std::{str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue, Method, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{DROPPED_FIELDS, POLICY_WARNING, REQUEST_ID, quota};
use crate::connect::metadata::AllowList;

#[cfg(test)]
mod tests;

/// What the protocols' own clients read: gRPC-Web has the status of an error without a body in the headers.
const PROTOCOL: [&str; 6] = [
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "grpc-encoding",
    "grpc-accept-encoding",
    "grpc-retry-pushback-ms",
];
/// Chromium remembers a preflight no longer than this.
const MAX_AGE: Duration = Duration::from_secs(2 * 3600);
/// Every origin.
const ANY: &str = "*";

/// `[cors]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Origins of web pages that may call, `https://console.example.com`; `*` alone is every origin. None: no CORS.
    pub origins: Vec<Origin>,
}

/// Where a web page is from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Origin {
    /// Wherever.
    Any,
    /// As browsers write it in `Origin`.
    One(HeaderValue),
}

/// Not what a browser would send. It compares bytes, so that any other spelling would silently never match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an origin as browsers send it, like https://console.example.com or http://localhost:3000 \
     (lower case, no default port, no path)"
)]
pub struct NoOrigin;

impl Config {
    /// Whether `*`, if it is there, stands alone: beside it other origins would say nothing.
    pub fn is_plain(&self) -> bool {
        self.origins.len() <= 1 || !self.origins.contains(&Origin::Any)
    }

    /// The layer, if any origin may call. Scripts may read what the gateway says of a call, and the metadata that
    /// `responses` lets through, in both places where it may stand.
    pub fn layer(&self, responses: &AllowList) -> Option<CorsLayer> {
        let ones = self.origins.iter().filter_map(|origin| match origin {
            Origin::Any => None,
            Origin::One(origin) => Some(origin.clone()),
        });
        let origins = match &self.origins[..] {
            [] => return None,
            origins if origins.contains(&Origin::Any) => AllowOrigin::any(),
            _ => AllowOrigin::list(ones),
        };
        let gateways = [REQUEST_ID, DROPPED_FIELDS, POLICY_WARNING, quota::POLICY, quota::LEFT];
        let own = PROTOCOL.into_iter().chain(gateways).map(HeaderName::from_static);
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            // Whatever a page asks for. No list of names would be a boundary: no credentials are allowed, so the
            // browser adds no cookie, and a page that holds a key may as well send it from elsewhere.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(own.chain(responses.response_headers()).collect::<Vec<_>>())
            .max_age(MAX_AGE);
        Some(layer)
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        if text == ANY {
            return Ok(Self::Any);
        }
        let uri: Uri = text.parse().map_err(|_| NoOrigin)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(NoOrigin);
        };
        let host = authority.host();
        // Written anew, it must be the same: that leaves no room for a path, a user or another spelling.
        let port = match (scheme, authority.port_u16()) {
            ("http", Some(80)) | ("https", Some(443)) => return Err(NoOrigin),
            (_, Some(port)) => format!(":{port}"),
            (_, None) => String::new(),
        };
        let is_same = format!("{scheme}://{host}{port}") == text;
        let is_plain = |byte: u8| !byte.is_ascii_uppercase() && byte != b'*';
        if host.is_empty() || !is_same || !text.bytes().all(is_plain) {
            return Err(NoOrigin);
        }
        HeaderValue::from_str(text).map(Self::One).map_err(|_| NoOrigin)
    }
}

impl TryFrom<String> for Origin {
    type Error = NoOrigin;

    fn try_from(text: String) -> Result<Self, NoOrigin> {
        text.parse()
    }
}
