//! One call on its way through the gateway, in no protocol: what the fronts make and the stages judge.

use std::{
    any::Any,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Extensions, HeaderMap};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::Error,
    rpc::{Facts, MethodSpec, Seen},
    rule::Bound,
};

mod attempt;
mod census;
mod certificate;
mod context;
mod id;
mod passed;
mod scope;
#[cfg(test)]
pub(crate) mod tests;
mod token;

pub use attempt::{Attempt, AttemptKind, Outcome};
pub use census::{Census, Counted, Extent, NotCounted, Standing, StandingPool};
pub use certificate::{Names, PeerCertificate};
pub use context::{Context, Judged, Moment, Recorder};
pub use id::{CredentialId, OrgId, SubjectId};
pub use passed::{Introspect, Introspected, NotIntrospected, Passed};
pub use scope::{Scope, Scopes, UnknownScope};
pub use token::{NotAToken, Token};

/// What one customer or host has of IPv6, at the least (RFC 6177): 64 bits of network.
const IPV6_NETWORK: u128 = u128::MAX << 64;

/// Identifies one request in answers, logs, traces and audit records. Version 7, so that ids sort by time (RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(Uuid);

/// Who calls, and for which org. Made by the identity stage from headers alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub subject: SubjectId,
    pub org: OrgId,
    pub credential: CredentialId,
    /// What it may call.
    pub scopes: Scopes,
    /// The token of upstream's that it is known by, and that its calls bear there in place of the org's credential.
    pub passed: Option<Arc<Passed>>,
}

/// When the caller stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// A place among the calls in flight. Whatever it holds is given back when the work ends, not when the caller leaves.
#[derive(Clone, Debug)]
pub struct Place(#[expect(dead_code, reason = "held, not read")] Arc<dyn Any + Send + Sync>);

/// The connection's other end. The listener puts it into each request; no header can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// One call. The request is canonical protobuf: decoded, checked and encoded anew, so that upstream gets what the
/// stages saw.
#[derive(Debug)]
pub struct Call {
    pub method: &'static MethodSpec,
    pub context: Context,
    pub identity: Identity,
    pub facts: Facts,
    /// The canonical encoding of the decoded request, without unknown fields.
    pub request: Bytes,
    pub deadline: Deadline,
    /// Request metadata that may travel upstream.
    pub metadata: HeaderMap,
    /// Fires when the caller is gone.
    pub gone: CancellationToken,
    pub place: Option<Place>,
    /// What the policy sets it.
    pub bound: Bound,
    /// What a stage leaves for another one of its own room.
    pub left: Extensions,
}

/// A field of a request that the schema does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Where it stood, in names of the schema's own: `spec.?`, `spec.#17`. Of a JSON key the last part is `?`.
    pub place: String,
    /// The JSON key, which may be anything, a secret too; none where it has a number.
    pub name: Option<String>,
}

/// Upstream's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// As upstream sent it.
    pub json: Bytes,
    /// The same as protobuf.
    pub wire: Bytes,
    /// What the stages need to know of it.
    pub seen: Seen,
    /// Names in it that the schema does not know; at most 32.
    pub drift: Vec<String>,
    /// Leading response metadata, already filtered by the allow list.
    pub metadata: HeaderMap,
    /// Trailing response metadata, likewise.
    pub trailers: HeaderMap,
    /// The connection that it came on.
    pub line: Line,
}

/// A connection to upstream; nothing, for a reply that the gateway itself makes.
#[derive(Clone, Default)]
pub struct Line(Option<Arc<dyn Fn() + Send + Sync>>);

/// What in upstream's answer was not the caller's (promise P7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    pub kind: MismatchKind,
    /// How many objects were withheld.
    pub objects: usize,
}

/// In what an object differs from what it must be; the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MismatchKind {
    /// It belongs to another org.
    Organization,
    /// It belongs to a project that is not the org's.
    Project,
    /// It is not the one that was asked for.
    Id,
    /// The org's own credential is another organization's.
    Credential,
}

/// The seam between the fronts and the call plane: the gateway implements it, a test may.
pub trait Handle: Clone + Send + Sync + 'static {
    fn handle(&self, call: Call) -> BoxFuture<'static, Result<Reply, Error>>;
}

impl RequestId {
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl From<Uuid> for RequestId {
    /// For what is no request, and is to be the same every time.
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl TryFrom<String> for RequestId {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Uuid::try_parse(&text).map(Self)
    }
}

impl From<RequestId> for String {
    fn from(RequestId(id): RequestId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Deadline {
    pub fn at(instant: Instant) -> Self {
        Self(instant)
    }

    pub fn instant(self) -> Instant {
        self.0
    }

    /// The time that is left; `None` when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Peer {
    /// Whom its address stands for: an IPv4 address, or a network of IPv6. A mapped address is what it maps to.
    pub fn network(self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}

impl Line {
    /// `close` keeps the connection from carrying any further request.
    pub fn new(close: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(close)))
    }

    /// No further request goes over it; those under way may end.
    pub fn close(&self) {
        if let Some(close) = &self.0 {
            close();
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl MismatchKind {
    /// As metrics, logs and records have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Project => "project",
            Self::Id => "id",
            Self::Credential => "credential",
        }
    }
}

impl Place {
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Arc::new(held))
    }
}
