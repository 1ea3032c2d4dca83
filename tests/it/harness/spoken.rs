//! One call in any of the protocols, and what it ends in, told in the same words.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;
use serde_json::Value;
use tonic_types::pb;

use super::{
    ACME_KEY,
    raw::{Answered, Raw, frame},
};

/// A protocol with its codec and framing, by content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect(pub(crate) &'static str);

/// Each of them, gRPC with protobuf first.
pub(crate) const DIALECTS: [Dialect; 8] = [
    Dialect("application/grpc"),
    Dialect("application/grpc+json"),
    Dialect("application/grpc-web+proto"),
    Dialect("application/grpc-web+json"),
    Dialect("application/grpc-web-text+proto"),
    Dialect("application/grpc-web-text+json"),
    Dialect("application/json"),
    Dialect("application/proto"),
];

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    /// Of HTTP.
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Leading and trailing metadata, wherever the protocol has it.
    pub(crate) metadata: HeaderMap,
    pub(crate) result: Result<Bytes, Wrong>,
}

/// An error, without its request id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) reason: Option<String>,
    /// Types of the details, in order.
    pub(crate) details: Vec<String>,
    /// Of `BadRequest`.
    pub(crate) fields: Vec<String>,
    /// Of the gateway's `ErrorInfo`.
    pub(crate) rule: Option<String>,
    pub(crate) policy: Option<String>,
    /// Of `Help`.
    pub(crate) links: Vec<String>,
    /// Of `QuotaFailure`.
    pub(crate) quotas: Vec<String>,
}

impl Dialect {
    pub(crate) fn is_json(self) -> bool {
        self.0.ends_with("json")
    }

    pub(crate) fn is_connect(self) -> bool {
        matches!(self.0, "application/json" | "application/proto")
    }

    fn is_text(self) -> bool {
        self.0.contains("-text")
    }

    /// The body that carries a message.
    pub(crate) fn body(self, message: &[u8]) -> Bytes {
        match (self.is_connect(), self.is_text()) {
            (true, _) => Bytes::copy_from_slice(message),
            (false, false) => frame(0, message),
            (false, true) => STANDARD.encode(frame(0, message)).into(),
        }
    }

    /// A well-formed request of acme's.
    pub(crate) fn request(self, raw: &Raw, method: &str) -> http::request::Builder {
        self.request_of(ACME_KEY, raw, method)
    }

    /// A well-formed request with that key. The method may have a query.
    pub(crate) fn request_of(self, key: &str, raw: &Raw, method: &str) -> http::request::Builder {
        raw.bare(&format!("/gitpod.v1.PrebuildService/{method}"))
            .header("content-type", self.0)
            .header("authorization", format!("Bearer {key}"))
    }

    pub(crate) fn read(self, answered: Answered) -> Spoken {
        let Answered { status, headers, body, mut trailers } = answered;
        let status = status.as_u16();
        if self.is_connect() {
            return connect(status, headers, body);
        }
        let body = if self.is_text() { STANDARD.decode(body).unwrap().into() } else { body };
        let mut frames = split(&body);
        if self.0.contains("-web") {
            let block =
                frames.pop().filter(|(flag, _)| *flag == 0x80).expect("trailers are the last frame").1;
            assert!(trailers.is_empty(), "no HTTP trailers");
            trailers = block_headers(&block);
        } else if trailers.is_empty() {
            trailers.clone_from(&headers);
        }
        let mut metadata = headers.clone();
        metadata.extend(trailers.clone());
        let result = match trailers["grpc-status"].to_str().unwrap() {
            "0" => {
                assert_eq!(frames.len(), 1, "one message");
                Ok(frames.remove(0).1)
            }
            code => {
                assert!(frames.is_empty(), "no message");
                Err(grpc(code.parse().unwrap(), &trailers))
            }
        };
        assert_eq!(status, 200);
        Spoken { status, headers, metadata, result }
    }
}

fn connect(status: u16, headers: HeaderMap, body: Bytes) -> Spoken {
    let mut metadata = headers.clone();
    for (name, value) in &headers {
        if let Some(name) = name.as_str().strip_prefix("trailer-") {
            metadata.append(http::HeaderName::try_from(name).unwrap(), value.clone());
        }
    }
    if status == 200 {
        return Spoken { status, headers, metadata, result: Ok(body) };
    }
    assert_eq!(headers["content-type"], "application/json");
    let json: Value = serde_json::from_slice(&body).unwrap();
    let details = json["details"].as_array().cloned().unwrap_or_default();
    let details = details.iter().map(|detail| prost_types::Any {
        type_url: format!("type.googleapis.com/{}", detail["type"].as_str().unwrap()),
        value: STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap(),
    });
    let code = prebuild_gateway::connect::error::code(json["code"].as_str().unwrap()).unwrap();
    let wrong = wrong(code as i32, json["message"].as_str().unwrap_or_default(), details.collect());
    Spoken { status, headers, metadata, result: Err(wrong) }
}

fn grpc(code: i32, trailers: &HeaderMap) -> Wrong {
    let details = trailers.get("grpc-status-details-bin").map(|value| {
        let value = value.to_str().unwrap().trim_end_matches('=');
        pb::Status::decode(&STANDARD_NO_PAD.decode(value).unwrap()[..]).unwrap()
    });
    let message = trailers.get("grpc-message").map_or("", |value| value.to_str().unwrap());
    let message = percent_encoding::percent_decode_str(message).decode_utf8().unwrap();
    wrong(code, &message, details.map(|status| status.details).unwrap_or_default())
}

fn wrong(code: i32, message: &str, details: Vec<prost_types::Any>) -> Wrong {
    let find = |name: &str| details.iter().find(|any| any.type_url.ends_with(&format!("google.rpc.{name}")));
    let info = find("ErrorInfo").map(|any| pb::ErrorInfo::decode(&any.value[..]).unwrap());
    let bad = find("BadRequest").map(|any| pb::BadRequest::decode(&any.value[..]).unwrap());
    let help = find("Help").map(|any| pb::Help::decode(&any.value[..]).unwrap());
    let quota = find("QuotaFailure").map(|any| pb::QuotaFailure::decode(&any.value[..]).unwrap());
    let info = info.filter(|info| info.domain == "prebuild-gateway");
    let said = |key: &str| info.as_ref().and_then(|info| info.metadata.get(key).cloned());
    Wrong {
        code,
        message: message.to_owned(),
        rule: said("rule"),
        policy: said("policy"),
        links: help.unwrap_or_default().links.into_iter().map(|link| link.url).collect(),
        quotas: quota.unwrap_or_default().violations.into_iter().map(|wrong| wrong.description).collect(),
        reason: info.map(|info| info.reason),
        fields: bad.unwrap_or_default().field_violations.into_iter().map(|wrong| wrong.field).collect(),
        details: details.into_iter().map(|any| any.type_url).collect(),
    }
}

/// Flag and content of each frame.
fn split(mut body: &[u8]) -> Vec<(u8, Bytes)> {
    let mut frames = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (frame, next) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*flag, Bytes::copy_from_slice(frame)));
        body = next;
    }
    assert!(body.is_empty());
    frames
}

fn block_headers(block: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(block).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    headers
}
