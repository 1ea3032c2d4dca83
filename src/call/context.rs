//! What outer layers need to know of a request when the inner ones are done with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{Attempt, Identity, Mismatch, RequestId, UnknownField};
use crate::{
    rpc::{Facts, MethodSpec},
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
    unknown: OnceLock<Vec<UnknownField>>,
    judged: OnceLock<Judged>,
    moments: [OnceLock<Duration>; Moment::COUNT],
    attempts: Mutex<Vec<Attempt>>,
    mismatch: Mutex<Option<Mismatch>>,
    pages: AtomicUsize,
    policy: OnceLock<Version>,
    rulings: Mutex<Vec<Ruling>>,
    remaining: Mutex<Vec<Remaining>>,
    dry_run: OnceLock<()>,
    limited: OnceLock<()>,
    permitted: OnceLock<()>,
    maybe_intended: OnceLock<()>,
    intended: OnceLock<()>,
    own: OnceLock<()>,
    send_by: OnceLock<Instant>,
    expired: OnceLock<()>,
}

/// What the rules judged, and when by the clock on the wall: the effective request, with the object that it is about.
#[derive(Clone, Debug)]
pub struct Judged {
    pub facts: Facts,
    pub at: SystemTime,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Its message is read.
    Decoded,
    /// It has passed every rule.
    Judged,
    /// Its intent is on disk.
    Intended,
    /// Upstream has answered, or will not.
    Answered,
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
            unknown: OnceLock::new(),
            judged: OnceLock::new(),
            moments: [const { OnceLock::new() }; Moment::COUNT],
            attempts: Mutex::default(),
            mismatch: Mutex::default(),
            pages: AtomicUsize::new(0),
            policy: OnceLock::new(),
            rulings: Mutex::default(),
            remaining: Mutex::default(),
            dry_run: OnceLock::new(),
            limited: OnceLock::new(),
            permitted: OnceLock::new(),
            maybe_intended: OnceLock::new(),
            intended: OnceLock::new(),
            own: OnceLock::new(),
            expired: OnceLock::new(),
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

    /// Fields of the message that the schema does not know; they were dropped, or the request refused for them.
    pub fn unknown(&self) -> &[UnknownField] {
        self.0.unknown.get().map_or(&[], Vec::as_slice)
    }

    pub fn set_unknown(&self, unknown: Vec<UnknownField>) {
        self.0.unknown.get_or_init(|| unknown);
    }

    /// What the rules have judged; none where it did not come to that.
    pub fn judged(&self) -> Option<&Judged> {
        self.0.judged.get()
    }

    pub fn set_judged(&self, facts: Facts, at: SystemTime) {
        self.0.judged.get_or_init(|| Judged { facts, at });
    }

    /// How long after its arrival the request came as far; none if it did not.
    pub fn reached(&self, moment: Moment) -> Option<Duration> {
        self.0.moments.get(moment as usize)?.get().copied()
    }

    /// The first time counts.
    pub fn reach(&self, moment: Moment) {
        if let Some(cell) = self.0.moments.get(moment as usize) {
            cell.get_or_init(|| self.0.received.elapsed());
        }
    }

    /// The requests that went upstream for it.
    pub(super) fn tried(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.reach(Moment::Judged);
        self.0.permitted.get_or_init(|| ());
    }

    /// Whether the call's intent is on disk, so that its outcome is owed.
    pub fn is_intended(&self) -> bool {
        self.0.intended.get().is_some()
    }

    pub fn set_intended(&self) {
        self.reach(Moment::Intended);
        self.0.intended.get_or_init(|| ());
    }

    /// Whether the call's intent may come to be on disk though nobody waits for it any more, so that its end is owed.
    pub fn is_maybe_intended(&self) -> bool {
        self.0.maybe_intended.get().is_some()
    }

    pub fn set_maybe_intended(&self) {
        self.0.maybe_intended.get_or_init(|| ());
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
    /// Whether its deadline has passed before it was answered.
    pub fn is_expired(&self) -> bool {
        self.0.expired.get().is_some()
    }

    pub fn set_expired(&self) {
        self.0.expired.get_or_init(|| ());
    }
}

impl Moment {
    const COUNT: usize = 4;
}
