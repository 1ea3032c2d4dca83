//! Calls of an org in flight: a cap beside its rate, so that a slow upstream does not let one org take every place.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic_types::pb;

use crate::{
    call::{Call, OrgId, Reply},
    error::{Error, Reason, Retry},
    rule::{Applied, Outcome, Ruling},
    stack::{Next, Stage},
    telemetry::{self, Metrics},
};

/// Upstream's usual answer takes tens to hundreds of milliseconds, so that by then a place may well be free; and who has
/// all places taken makes no more than this many times as many attempts a second.
const RETRY: Duration = Duration::from_secs(1);
/// What is counted, as `QuotaFailure` has it.
const METRIC: &str = "calls_in_flight";

/// The stage. A call holds its place for as long as it runs: a mutation's task does, whether its caller waits or not.
#[derive(Clone, Debug)]
pub struct InFlight {
    counts: Counts,
    metrics: Metrics,
}

/// By org, of those that have any.
#[derive(Clone, Debug, Default)]
struct Counts(Arc<Mutex<HashMap<OrgId, u32>>>);

/// One of the org's places.
#[derive(Debug)]
struct Place {
    counts: Counts,
    org: OrgId,
    _shown: telemetry::InFlight,
}

impl InFlight {
    pub fn new(metrics: Metrics) -> Self {
        Self { counts: Counts::default(), metrics }
    }

    /// Takes a place, if the caps in force leave one. Those that are only looked at are ruled on.
    fn enter(&self, call: &Call) -> Result<Place, Error> {
        let (org, caps) = (&call.identity.org, &call.bound.in_flight);
        let in_force = caps.iter().filter(|cap| cap.is_enforced()).min_by_key(|cap| cap.value);
        let entered = self.counts.add(org, in_force.map_or(u32::MAX, |cap| cap.value));
        let (Ok(others) | Err(others)) = entered;
        call.context.add_rulings(caps.iter().map(|cap| ruling(cap, others)));
        if let (Err(_), Some(cap)) = (entered, in_force) {
            return Err(refusal(org, cap));
        }
        let shown = self.metrics.org_call_begun(org.as_str());
        Ok(Place { counts: self.counts.clone(), org: org.clone(), _shown: shown })
    }
}

impl Stage<Call> for InFlight {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        let _place = self.enter(&call)?;
        next.run(call).await
    }
}

impl Counts {
    /// One more, unless there are as many already: how many they are without it, either way.
    fn add(&self, org: &OrgId, most: u32) -> Result<u32, u32> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = counts.get(org).copied().unwrap_or_default();
        if others >= most {
            return Err(others);
        }
        counts.insert(org.clone(), others.saturating_add(1));
        Ok(others)
    }

    fn remove(&self, org: &OrgId) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(org.clone()) {
            match *count.get() {
                0 | 1 => _ = count.remove(),
                more => _ = count.insert(more - 1),
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.remove(&self.org);
    }
}

fn ruling(cap: &Applied<u32>, others: u32) -> Ruling {
    let outcome = if others >= cap.value { Outcome::Broken } else { Outcome::Kept };
    cap.ruling(outcome).within(bound(cap.value))
}

fn refusal(org: &OrgId, cap: &Applied<u32>) -> Error {
    let rule = cap.rule.as_str();
    let violation = pb::quota_failure::Violation {
        subject: format!("org:{org}"),
        description: format!("{rule}: {}", bound(cap.value)),
        quota_metric: METRIC.to_owned(),
        quota_id: rule.to_owned(),
        quota_value: cap.value.into(),
        ..Default::default()
    };
    Error::refuse(Reason::OrgBusy)
        .with_rule(rule.to_owned())
        .with_detail(&pb::QuotaFailure { violations: vec![violation] })
        .with_retry(Retry::After(RETRY))
}

fn bound(cap: u32) -> String {
    format!("at most {cap} calls in flight")
}
