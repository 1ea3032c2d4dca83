//! What outer layers need to know of a request when the inner ones are done with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{Identity, Mismatch, RequestId};
use crate::{
    rpc::MethodSpec,
    rule::{Remaining, Ruling, Version},
};

/// A policy has some tens of rules for one call; a record has a bound.
const MAX_RULINGS: usize = 256;

/// Cells, nearly all of them write-once, that all layers share.
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
    policy: OnceLock<Version>,
    rulings: Mutex<Vec<Ruling>>,
    remaining: Mutex<Vec<Remaining>>,
    dry_run: OnceLock<()>,
    limited: OnceLock<()>,
    permitted: OnceLock<()>,
    intended: OnceLock<()>,
    own: OnceLock<()>,
    send_by: OnceLock<Instant>,
}

/// Which plane answers for a request's record in the audit log. The first to claim it does, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorder {
    /// It never became a call: a refusal.
    WirePlane,
    /// It did, and may have been sent.
    CallPlane,
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
            policy: OnceLock::new(),
            rulings: Mutex::default(),
            remaining: Mutex::default(),
            dry_run: OnceLock::new(),
            limited: OnceLock::new(),
            permitted: OnceLock::new(),
            intended: OnceLock::new(),
            own: OnceLock::new(),
            send_by: OnceLock::new(),
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

    /// Which policy judges it.
    pub fn policy(&self) -> Option<&Version> {
        self.0.policy.get()
    }

    pub fn set_policy(&self, version: Version) {
        self.0.policy.get_or_init(|| version);
    }

    /// What became of rules: of the broken ones, and in a dry run of all.
    pub fn rulings(&self) -> Vec<Ruling> {
        self.0.rulings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what is of interest, up to a bound: of a rule that is broken more than of one that is kept.
    pub fn add_rulings(&self, rulings: impl IntoIterator<Item = Ruling>) {
        let mut all = self.0.rulings.lock().unwrap_or_else(PoisonError::into_inner);
        for ruling in rulings.into_iter().filter(|ruling| ruling.is_broken() || self.is_dry_run()) {
            if all.len() >= MAX_RULINGS {
                let kept = all.iter().rposition(|ruling| !ruling.is_broken());
                let Some(kept) = kept.filter(|_| ruling.is_broken()) else { continue };
                all.remove(kept);
            }
            all.push(ruling);
        }
    }

    /// What is left of the rates, the scarcest first.
    pub fn remaining(&self) -> Vec<Remaining> {
        self.0.remaining.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_remaining(&self, remaining: Vec<Remaining>) {
        *self.0.remaining.lock().unwrap_or_else(PoisonError::into_inner) = remaining;
    }

    /// Whether the caller only asks what would become of the call.
    pub fn is_dry_run(&self) -> bool {
        self.0.dry_run.get().is_some()
    }

    pub fn set_dry_run(&self) {
        self.0.dry_run.get_or_init(|| ());
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

    /// Later nothing of it may be sent any more: what was counted for it is given away after a while.
    pub fn send_by(&self) -> Option<Instant> {
        self.0.send_by.get().copied()
    }

    pub fn set_send_by(&self, instant: Instant) {
        self.0.send_by.get_or_init(|| instant);
    }

    /// Whether the gateway answers by itself, so that nothing of the call goes upstream.
    pub fn is_own(&self) -> bool {
        self.0.own.get().is_some()
    }

    pub fn set_own(&self) {
        self.0.own.get_or_init(|| ());
    }
}
