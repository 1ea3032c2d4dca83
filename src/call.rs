//! One call on its way through the gateway, in no protocol: what the fronts make and the stages judge.

use std::{
    any::Any,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::Error,
    rpc::{Facts, MethodSpec, Seen},
};

mod certificate;
mod id;
mod passed;
mod scope;
#[cfg(test)]
pub(crate) mod tests;
mod token;

pub use certificate::{Names, PeerCertificate};
pub use id::{CredentialId, OrgId, SubjectId};
pub use passed::{Introspect, Introspected, NotIntrospected, Passed};
pub use scope::{Scope, Scopes, UnknownScope};
pub use token::{NotAToken, Token};

/// Identifies one request in answers, logs, traces and audit records. Version 7, so that ids sort by time (RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// What outer layers need to know of a request when the inner ones are done with it: write-once cells, shared by all.
#[derive(Clone, Debug)]
pub struct Context(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    id: RequestId,
    received: Instant,
    peer: Option<SocketAddr>,
    protocol: OnceLock<&'static str>,
    trace_id: OnceLock<String>,
    method: OnceLock<&'static MethodSpec>,
    identity: OnceLock<Identity>,
    recorder: OnceLock<Recorder>,
    lookup: OnceLock<String>,
    asked_organization: OnceLock<()>,
    mismatch: Mutex<Option<Mismatch>>,
    pages: AtomicUsize,
    limited: OnceLock<()>,
    permitted: OnceLock<()>,
    intended: OnceLock<()>,
    own: OnceLock<()>,
}

/// Which plane answers for a request's record in the audit log. The first to claim it does, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorder {
    /// It never became a call: a refusal.
    WirePlane,
    /// It did, and may have been sent.
    CallPlane,
}

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
    /// Paths of fields that the schema does not know; they were dropped.
    pub unknown: Vec<String>,
    /// Fires when the caller is gone.
    pub gone: CancellationToken,
    pub place: Option<Place>,
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
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
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

impl Context {
    pub fn new(id: RequestId, received: Instant, peer: Option<SocketAddr>) -> Self {
        Self(Arc::new(Cells {
            id,
            received,
            peer,
            protocol: OnceLock::new(),
            trace_id: OnceLock::new(),
            method: OnceLock::new(),
            identity: OnceLock::new(),
            recorder: OnceLock::new(),
            lookup: OnceLock::new(),
            asked_organization: OnceLock::new(),
            mismatch: Mutex::default(),
            pages: AtomicUsize::new(0),
            limited: OnceLock::new(),
            permitted: OnceLock::new(),
            intended: OnceLock::new(),
            own: OnceLock::new(),
        }))
    }

    pub fn id(&self) -> RequestId {
        self.0.id
    }

    /// When the request's headers had arrived.
    pub fn received(&self) -> Instant {
        self.0.received
    }

    /// The connection's other end; no header can change it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    pub fn protocol(&self) -> Option<&'static str> {
        self.0.protocol.get().copied()
    }

    pub fn set_protocol(&self, protocol: &'static str) {
        self.0.protocol.get_or_init(|| protocol);
    }

    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace_id.get().map(String::as_str)
    }

    pub fn set_trace_id(&self, trace_id: String) {
        self.0.trace_id.get_or_init(|| trace_id);
    }

    pub fn method(&self) -> Option<&'static MethodSpec> {
        self.0.method.get().copied()
    }

    pub fn set_method(&self, method: &'static MethodSpec) {
        self.0.method.get_or_init(|| method);
    }

    pub fn identity(&self) -> Option<&Identity> {
        self.0.identity.get()
    }

    pub fn set_identity(&self, identity: Identity) {
        self.0.identity.get_or_init(|| identity);
    }

    /// Claims the request's record. True if it is `recorder`'s from now on, or was before.
    pub fn claim(&self, recorder: Recorder) -> bool {
        *self.0.recorder.get_or_init(|| recorder) == recorder
    }

    /// Whether the request has become a call.
    pub fn is_call(&self) -> bool {
        self.0.recorder.get() == Some(&Recorder::CallPlane)
    }

    /// The object that the gateway reads upstream on the call's behalf.
    pub fn lookup(&self) -> Option<&str> {
        self.0.lookup.get().map(String::as_str)
    }

    pub fn set_lookup(&self, object: String) {
        self.0.lookup.get_or_init(|| object);
    }

    /// Whether upstream was asked on the call's behalf which organization the caller's is.
    pub fn has_asked_organization(&self) -> bool {
        self.0.asked_organization.get().is_some()
    }

    pub fn set_asked_organization(&self) {
        self.0.asked_organization.get_or_init(|| ());
    }

    /// What in upstream's answers was not the caller's.
    pub fn mismatch(&self) -> Option<Mismatch> {
        *self.mismatches()
    }

    /// Of several answers the gravest difference counts, and all of the objects.
    pub fn add_mismatch(&self, found: Mismatch) {
        let mut known = self.mismatches();
        *known = Some(known.map_or(found, |known| Mismatch {
            kind: known.kind.min(found.kind),
            objects: known.objects + found.objects,
        }));
    }

    fn mismatches(&self) -> MutexGuard<'_, Option<Mismatch>> {
        self.0.mismatch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pages of upstream's that were read for one page of the caller's.
    pub fn pages(&self) -> usize {
        self.0.pages.load(Ordering::Relaxed)
    }

    pub fn add_page(&self) {
        self.0.pages.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether its refusal is one too many of its peer's: it is counted, and not recorded by itself.
    pub fn is_limited(&self) -> bool {
        self.0.limited.get().is_some()
    }

    pub fn set_limited(&self) {
        self.0.limited.get_or_init(|| ());
    }

    /// Whether the call has passed every check.
    pub fn is_permitted(&self) -> bool {
        self.0.permitted.get().is_some()
    }

    pub fn set_permitted(&self) {
        self.0.permitted.get_or_init(|| ());
    }

    /// Whether the call's intent is on disk, so that its outcome is owed.
    pub fn is_intended(&self) -> bool {
        self.0.intended.get().is_some()
    }

    pub fn set_intended(&self) {
        self.0.intended.get_or_init(|| ());
    }

    /// Whether the gateway answers by itself, so that nothing of the call goes upstream.
    pub fn is_own(&self) -> bool {
        self.0.own.get().is_some()
    }

    pub fn set_own(&self) {
        self.0.own.get_or_init(|| ());
    }
}
