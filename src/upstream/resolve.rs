//! Whose is what a call names: foreign is absent, before any rule is looked at. Looks up the object that an
//! id-addressed call is about, where a check needs it, and lets no other change of that object in between.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use tokio::{sync::OwnedMutexGuard, time::sleep_until};

use super::{
    client::gate::Gate,
    credentials::By,
    forward::{Outgoing, Upstream},
    tenancy::Tenancy,
};
use crate::{
    call::{AttemptKind, Call, Reply},
    error::{Error, Reason, Sent},
    rpc::{Lookup, Object, Sizes},
    rule::Need,
    stack::{Next, Stage},
    telemetry::Metrics,
};

#[cfg(test)]
mod tests;

/// What is looked up for rules that decide nothing must not cost the call its time: a second at most, and a quarter of
/// what it has left.
const SHADOW_PATIENCE: Duration = Duration::from_secs(1);

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

/// By whose it is, too: an id that one org made up must not wait for, nor hold up, what another org does with its
/// object. Which token they come with tells nothing.
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
    async fn look_up(&self, call: &Call, lookup: Lookup, need: Need) -> Result<Object, Error> {
        let left = call.deadline.remaining().unwrap_or_default();
        let sending = self.upstream.send(Outgoing {
            method: lookup.method,
            by: By::of(&call.identity),
            request: (lookup.request)(&call.facts),
            query: String::new(),
            metadata: HeaderMap::new(),
            gate: Gate::new(call.deadline, call.gone.clone()),
            patience: if need == Need::Required { left } else { (left / 4).min(SHADOW_PATIENCE) },
        });
        let id = call.facts.object().map(str::to_ascii_lowercase);
        let result = call.context.attempt(AttemptKind::Lookup, id, sending).await;
        let object =
            self.tenancy.judged(&self.tenancy.question(call, lookup.method), result).and_then(|reply| {
                // Without the object there is nothing to check against, and nothing goes unchecked.
                let absent = || Error::refuse(Reason::UpstreamInvalidResponse);
                reply.seen.objects.into_iter().next().ok_or_else(absent)
            });
        // The call itself was not forwarded, whatever became of the look-up.
        object.map_err(|error| error.with_sent(Sent::No))
    }

    /// Whoever waits gives up with its caller: behind an upstream that hangs, waiters would take every place.
    async fn hold(&self, call: &Call, id: String) -> Result<Held, Error> {
        let org = &call.identity.org;
        let whose = match self.tenancy.parting().holding(org) {
            // No object is two orgs'.
            Some(_) => org.to_string(),
            None => self.tenancy.organization_of(org),
        };
        tokio::select! {
            held = self.locks.hold((whose, id)) => Ok(held),
            () = sleep_until(call.deadline.instant().into()) => Err(Error::refuse(Reason::DeadlineExceeded)),
            () = call.gone.cancelled() => Err(Error::refuse(Reason::CallerGone)),
        }
    }

    /// The object, where a rule or its org has to be known. Its sizes are in it only where they count: a change of all
    /// of them is none against what they were.
    async fn resource(&self, call: &Call, lookup: Lookup, id: String) -> Result<Option<Object>, Error> {
        let (sizes, judged) = (sizes_needed(call), call.bound.needs_object);
        let org = &call.identity.org;
        // The answer to a read is itself judged by whose it is.
        let is_parted = self.tenancy.parting().holding(org).is_some() && !call.method.is_look_up();
        let need = sizes.max(judged).max(if is_parted { Need::Required } else { Need::Not });
        if need == Need::Not {
            return Ok(None);
        }
        let known = self.tenancy.known(org, lookup.method, &id);
        if sizes == Need::Not && known.is_some() {
            return Ok(known);
        }
        // Where it is known whose it is, only rules may need more; and those that decide nothing refuse nothing.
        let need = if known.is_some() { sizes.max(judged) } else { need };
        let object = self.look_up(call, lookup, need).await;
        let sized = |object: Object| match sizes {
            Need::Not => Object { sizes: Sizes::default(), ..object },
            Need::Wanted | Need::Required => object,
        };
        match object {
            Ok(object) => Ok(Some(sized(object))),
            // What upstream shows of another org's is no rule's decision, and no call goes there knowingly.
            Err(error) if need == Need::Required || call.context.mismatch().is_some() => Err(error),
            Err(_) => {
                self.metrics.shadow_lookup_failed();
                Ok(known)
            }
        }
    }
}

impl Stage<Call> for Resolve {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        self.tenancy.parting().admit(&call)?;
        let id = call.facts.object().map(str::to_ascii_lowercase);
        let (Some(lookup), Some(id)) = (call.method.lookup, id) else {
            return next.run(call).await;
        };
        // Only sizes depend on what else the object is.
        let held = match call.facts.sizes.is_empty() {
            true => None,
            false => Some(self.hold(&call, id.clone()).await?),
        };
        call.facts.resource = self.resource(&call, lookup, id).await?;
        let result = next.run(call).await;
        drop(held);
        if result.as_ref().is_ok_and(|reply| reply.seen.objects.iter().any(Object::bounds_crossed)) {
            self.metrics.pool_bounds_crossed();
        }
        result
    }
}

/// Whether the sizes that a pool has count.
fn sizes_needed(call: &Call) -> Need {
    if call.facts.sizes.lack_one_bound() {
        return Need::Required;
    }
    // What is budgeted is the difference from the pool's present size.
    let budgets = call.bound.budgets.iter().filter(|_| call.method.adds.is_some());
    let budgeted = budgets.map(|budget| Need::of(budget.burden.is_enforced())).max().unwrap_or_default();
    let needed = budgeted.max(call.bound.needs_sizes);
    match call.method.takes("max_size") {
        true => needed.max(call.bound.needs_object),
        false => needed,
    }
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
