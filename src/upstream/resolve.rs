//! Looks up the object that an id-addressed call is about, where a check needs it, and lets no other change of that
//! object in between.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::HeaderMap;
use tokio::{sync::OwnedMutexGuard, time::sleep_until};

use super::{
    client::gate::Gate,
    credentials::By,
    forward::{Outgoing, Upstream},
    tenancy::{Question, Tenancy},
};
use crate::{
    call::{Call, Reply},
    error::{Error, Reason, Sent},
    rpc::{Lookup, Object, Sizes},
    stack::{Next, Stage},
    telemetry::Metrics,
};

#[cfg(test)]
mod tests;

/// The stage.
#[derive(Clone, Debug)]
pub struct Resolve {
    upstream: Upstream,
    tenancy: Tenancy,
    locks: Locks,
    metrics: Metrics,
}

/// One lock per object that is being changed now. An entry lives as long as somebody holds or awaits it, so the map is
/// bounded by the calls in flight.
#[derive(Clone, Debug, Default)]
struct Locks(Arc<Mutex<Entries>>);

type Entries = HashMap<Key, Arc<tokio::sync::Mutex<()>>>;

/// By upstream's organization, too: an id that one org made up must not wait for, nor hold up, what another org does
/// with its object. Those that share an organization share its objects; which token they come with tells nothing.
type Key = (String, String);

/// Held while an object is read, checked and written.
#[derive(Debug)]
struct Held {
    locks: Locks,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Resolve {
    pub fn new(upstream: Upstream, tenancy: Tenancy, metrics: Metrics) -> Self {
        Self { upstream, tenancy, locks: Locks::default(), metrics }
    }

    /// Reads the object through the org's own credential: what the org may not see is absent, and that is said before
    /// any rule is looked at.
    async fn look_up(&self, call: &Call, lookup: Lookup) -> Result<Object, Error> {
        let result = self
            .upstream
            .send(Outgoing {
                method: lookup.method,
                by: By::of(&call.identity),
                request: (lookup.request)(&call.facts),
                query: String::new(),
                metadata: HeaderMap::new(),
                gate: Gate::new(call.deadline, call.gone.clone()),
                patience: call.deadline.remaining().unwrap_or_default(),
            })
            .await;
        let object = self.tenancy.judged(&Question::of(call, lookup.method), result).and_then(|reply| {
            // Without the object there is nothing to check against, and nothing goes unchecked.
            let absent = || Error::refuse(Reason::UpstreamInvalidResponse);
            reply.seen.objects.into_iter().next().ok_or_else(absent)
        });
        // The call itself was not forwarded, whatever became of the look-up.
        object.map_err(|error| error.with_sent(Sent::No))
    }
}

impl Stage<Call> for Resolve {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        // A UUID in other letters is the same object.
        let id = call.facts.pool.as_deref().map(str::to_ascii_lowercase);
        let (Some(lookup), Some(id)) = (call.method.lookup, id) else {
            return next.run(call).await;
        };
        let key = (self.tenancy.organization_of(&call.identity.org), id.clone());
        // Whoever waits gives up with its caller: behind an upstream that hangs, waiters would take every place.
        let held = tokio::select! {
            held = self.locks.hold(key) => held,
            () = sleep_until(call.deadline.instant().into()) => {
                return Err(Error::refuse(Reason::DeadlineExceeded));
            }
            () = call.gone.cancelled() => return Err(Error::refuse(Reason::CallerGone)),
        };
        if needs_present_bounds(call.facts.sizes) {
            call.context.set_lookup(id.clone());
            call.facts.resource = Some(self.look_up(&call, lookup).await?);
        }
        let result = next.run(call).await;
        drop(held);
        if result.as_ref().is_ok_and(|reply| reply.seen.objects.iter().any(Object::bounds_crossed)) {
            self.metrics.pool_bounds_crossed();
        }
        result
    }
}

/// One of the two bounds is not in the request, so it is the pool's present one that counts. A desired size alone sets
/// both.
fn needs_present_bounds(sizes: Sizes) -> bool {
    sizes.min.is_some() != sizes.max.is_some()
}

impl Locks {
    async fn hold(&self, key: Key) -> Held {
        // Made before the wait: a caller that leaves while it waits leaves no entry behind.
        let lock = Arc::clone(self.entries().entry(key.clone()).or_default());
        let mut held = Held { locks: self.clone(), key, guard: None };
        held.guard = Some(lock.lock_owned().await);
        held
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut entries = self.locks.entries();
        self.guard = None;
        // One is the map's own; whoever waits holds a further one.
        if entries.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            entries.remove(&self.key);
        }
    }
}
