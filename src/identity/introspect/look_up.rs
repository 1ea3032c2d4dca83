//! Asks upstream whose tokens are: once for all who bring the same one, and within the bounds of all.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::Instrument as _;

use super::{Config, Hash, Outcome, known::KnownTokens};
use crate::{
    call::{
        CredentialId, Deadline, Identity, Introspect, Introspected, NotIntrospected, Passed, Scopes, Token,
    },
    identity::Refused,
    telemetry::Metrics,
};

/// Of one look-up, for those that have more time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions to upstream at a time, and per second: a fraction of what one client may have open there, and many callers
/// an hour. At once no more may begin than may be in flight.
const FOR_ALL: (u32, u32) = (15, 35);
/// Besides, for tokens that were good not long ago: whoever makes up new ones cannot keep those out.
const FOR_KNOWN: (u32, u32) = (5, 15);

/// Who waits for one question at a time: first calls come by the dozen, and each that waits holds a place among all
/// calls.
pub(super) const WAITING: usize = 128;

/// What is known, what is asked now, and the bounds.
pub(super) struct LookUps {
    introspect: Arc<dyn Introspect>,
    ttl: Duration,
    refused_ttl: Duration,
    scopes: Scopes,
    known: KnownTokens,
    running: Mutex<HashMap<Hash, watch::Sender<Option<Outcome>>>>,
    room: Room,
    room_for_known: Room,
    metrics: Metrics,
}

/// For questions to upstream.
struct Room {
    places: Arc<Semaphore>,
    rate: Rate,
}

type Rate =
    RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<<MonotonicClock as Clock>::Instant>>;

/// Where a caller's answer comes from.
pub(super) enum Joined {
    Known(Outcome),
    /// From the look-up of this token, which one of them has begun.
    Waits(watch::Receiver<Option<Outcome>>),
}

/// A look-up that others can join, until it is dropped.
struct LookUp {
    all: Arc<LookUps>,
    hash: Hash,
    told: watch::Sender<Option<Outcome>>,
    is_open: bool,
}

impl LookUps {
    pub(super) fn new(config: &Config, introspect: Arc<dyn Introspect>, metrics: Metrics) -> Self {
        Self {
            introspect,
            ttl: config.ttl,
            refused_ttl: config.refused_ttl,
            scopes: Scopes::new(&config.scopes),
            known: KnownTokens::new(config.refused_ttl),
            running: Mutex::default(),
            room: Room::of(FOR_ALL),
            room_for_known: Room::of(FOR_KNOWN),
            metrics,
        }
    }

    /// What upstream has said of the token; nothing if that was another time of the org's.
    pub(super) fn known(&self, hash: &Hash) -> Option<Outcome> {
        let outcome = self.known.get(hash)?;
        let Ok(identity) = &outcome else { return Some(outcome) };
        let organization = identity.passed.as_ref()?.organization();
        self.introspect.stands(&identity.org, organization).then_some(outcome)
    }

    /// Whether upstream has known the token not long ago, and has not refused it since.
    pub(super) fn was_good(&self, hash: &Hash) -> bool {
        self.known.was_good(hash)
    }

    /// Joins the look-up of the token, or begins one: within the bounds of all.
    pub(super) fn join(self: &Arc<Self>, hash: Hash, token: Token) -> Result<Joined, Refused> {
        let mut running = self.running();
        if let Some(told) = running.get(&hash) {
            let has_room = told.receiver_count() < WAITING;
            return has_room
                .then(|| Joined::Waits(told.subscribe()))
                .ok_or_else(|| self.capped("too many wait for the token"));
        }
        // One may have ended just now.
        if let Some(outcome) = self.known(&hash) {
            return Ok(Joined::Known(outcome));
        }
        let Some(place) = self.place(&hash) else {
            return Err(self.capped("too many tokens are looked up"));
        };
        let (told, waits) = watch::channel(None);
        running.insert(hash, told.clone());
        let look_up = LookUp { all: Arc::clone(self), hash, told, is_open: true };
        let asking = async move {
            look_up.run(token).await;
            drop(place);
        };
        // A task of its own: whoever began it may leave before the others that have joined.
        tokio::spawn(asking.in_current_span());
        Ok(Joined::Waits(waits))
    }

    fn place(&self, hash: &Hash) -> Option<OwnedSemaphorePermit> {
        let kept = || self.was_good(hash).then(|| self.room_for_known.take()).flatten();
        self.room.take().or_else(kept)
    }

    /// Upstream is not asked.
    pub(super) fn capped(&self, why: &'static str) -> Refused {
        self.metrics.token_looked_up("capped");
        Refused::Unavailable(why)
    }

    /// Who it is; what upstream has said of a token counts from when it was asked.
    fn judge(
        &self,
        hash: Hash,
        token: Token,
        said: Result<Introspected, NotIntrospected>,
        asked: Instant,
    ) -> Outcome {
        let (outcome, ttl, result) = match said {
            Ok(said) => (Ok(self.identity(&hash, token, said)), self.ttl, "known"),
            Err(NotIntrospected::Nobodys(why)) => {
                (Err(Refused::Unauthenticated(why)), self.refused_ttl, "refused")
            }
            Err(NotIntrospected::Unsaid(why)) => {
                (Err(Refused::Unavailable(why)), Duration::ZERO, "unanswered")
            }
        };
        self.metrics.token_looked_up(result);
        if !ttl.is_zero() {
            self.known.put(hash, outcome.clone(), asked, ttl);
        }
        outcome
    }

    fn identity(&self, hash: &Hash, token: Token, said: Introspected) -> Identity {
        let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let Introspected { org, subject, principal, organization, tier } = said;
        Identity {
            subject,
            org,
            credential: CredentialId::from(format!("upstream-token-{digits}").as_str()),
            scopes: self.scopes.clone(),
            passed: Some(Arc::new(Passed::new(token, principal, organization, tier))),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Hash, watch::Sender<Option<Outcome>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn of((places, per_second): (u32, u32)) -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(number(per_second)).allow_burst(number(places));
        Self {
            places: Arc::new(Semaphore::new(places as usize)),
            rate: RateLimiter::direct_with_clock(quota, MonotonicClock),
        }
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.rate.check().is_ok().then_some(place)
    }
}

impl LookUp {
    /// Ends with the answer, or when nobody waits for it any more.
    async fn run(mut self, token: Token) {
        let asked = Instant::now();
        let mut asking = self.all.introspect.introspect(token.clone(), Deadline::at(asked + PATIENCE));
        let said = loop {
            tokio::select! {
                said = &mut asking => break said,
                () = self.told.closed() => if self.is_abandoned() {
                    self.all.metrics.token_looked_up("abandoned");
                    return;
                },
            }
        };
        let outcome = self.all.judge(self.hash, token, said, asked);
        // It is known by now: whoever comes later finds it there.
        self.close();
        self.told.send_replace(Some(outcome));
    }

    /// Nobody joins in between: that takes the same lock.
    fn is_abandoned(&mut self) -> bool {
        let all = Arc::clone(&self.all);
        let mut running = all.running();
        let is_abandoned = self.told.receiver_count() == 0;
        if is_abandoned {
            running.remove(&self.hash);
            self.is_open = false;
        }
        is_abandoned
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.all.running().remove(&self.hash);
        }
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        self.close();
    }
}
