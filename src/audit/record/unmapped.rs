//! What OCSF has no place for: the members of `unmapped`, from `stage` on.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{About, Client, End, Latency, Record};
use crate::{
    call::{Attempt, Context, Mismatch, Moment},
    error::{Reason, Sent},
    rpc::Facts,
    rule::Ruling,
};

/// The members, in this order.
#[derive(Serialize)]
pub(super) struct Unmapped<'r> {
    /// First, so that a reader finds it where the line's beginning ends.
    stage: &'static str,
    #[serde(serialize_with = "rfc3339")]
    time: SystemTime,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    about: Option<OfCall<'r>>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    end: Option<OfEnd<'r>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    truncated: &'r [&'static str],
    #[serde(flatten)]
    own: &'r Map<String, Value>,
}

#[derive(Serialize)]
struct OfCall<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "perhaps_rfc3339")]
    decided: Option<SystemTime>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rulings: &'r [Ruling],
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<&'r Facts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<Tried<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_fields: Option<UnknownFields<'r>>,
}

#[derive(Serialize)]
struct UnknownFields<'r> {
    count: usize,
    places: &'r [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    names: &'r [String],
}

#[derive(Serialize)]
struct Tried<'r> {
    kind: crate::call::AttemptKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_us: Option<u64>,
}

#[derive(Serialize)]
struct OfEnd<'r> {
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'r str>,
    forwarded: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Reached>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    drift: &'r [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bounds_crossed: bool,
    /// Where it is not just the one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<Mismatch>,
}

#[derive(Serialize)]
struct Reached {
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intended: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<u64>,
    recorded: u64,
}

impl<'r> Unmapped<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
        let about = record.about.as_deref();
        Self {
            stage: record.stage.as_str(),
            time: record.time,
            about: about.map(OfCall::new),
            end: about.and_then(|about| about.end.as_ref()).map(OfEnd::new),
            truncated: &record.truncated,
            own: &record.own,
        }
    }
}

impl<'r> OfCall<'r> {
    fn new(about: &'r About) -> Self {
        let unknown = &about.unknown;
        Self {
            trace_id: about.trace_id.as_deref(),
            protocol: about.protocol,
            scopes: about.caller.iter().flat_map(|caller| caller.scopes.names()).collect(),
            dry_run: about.is_dry_run,
            decided: about.decided,
            rulings: &about.rulings,
            facts: about.facts.as_ref(),
            attempts: about.attempts.iter().map(Tried::new).collect(),
            unknown_fields: (unknown.count > 0).then_some(UnknownFields {
                count: unknown.count,
                places: &unknown.places,
                names: &unknown.names,
            }),
        }
    }
}

impl Tried<'_> {
    fn new(attempt: &Attempt) -> Self {
        let outcome = attempt.outcome;
        Self {
            kind: attempt.kind,
            object: attempt.object.as_deref().map(super::id),
            code: outcome.map(|outcome| outcome.code),
            reason: outcome.and_then(|outcome| outcome.reason).map(Reason::as_str),
            sent: outcome.map(|outcome| sent(outcome.sent)),
            took_us: outcome.map(|outcome| micros(outcome.took)),
        }
    }
}

impl<'r> OfEnd<'r> {
    fn new(end: &'r End) -> Self {
        Self {
            decision: end.decision.as_str(),
            rule: end.rule.as_deref(),
            forwarded: sent(end.sent),
            client: end.client.map(Client::as_str),
            latency_us: end.latency.map(Reached::of),
            drift: &end.drift,
            bounds_crossed: end.bounds_crossed,
            pages: Some(end.pages).filter(|pages| *pages > 1),
            mismatch: end.mismatch,
        }
    }
}

impl Reached {
    fn of(latency: Latency) -> Self {
        let Latency { decoded, judged, intended, answered, recorded } = latency;
        Self { decoded, judged, intended, answered, recorded }
    }
}

impl Latency {
    pub(super) fn of(context: &Context) -> Self {
        let reached = |moment| context.reached(moment).map(micros);
        Self {
            decoded: reached(Moment::Decoded),
            judged: reached(Moment::Judged),
            intended: reached(Moment::Intended),
            answered: reached(Moment::Answered),
            recorded: micros(context.received().elapsed()),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const fn sent(sent: Sent) -> &'static str {
    match sent {
        Sent::No => "no",
        Sent::Maybe => "maybe",
        Sent::Yes => "yes",
    }
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*time))
}

fn perhaps_rfc3339<S: serde::Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}
