//! One record: a JSON object on one line, whatever the input.

use std::{
    fmt::Display,
    time::{Instant, SystemTime},
};

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::line::Draft;
use crate::{
    call::{Call, Context, Mismatch, Reply, RequestId},
    error::{Code, Error, Reason, Sent, code_name},
    rpc::{Facts, Filter, Object},
    rule::{Ruling, Version},
    telemetry::{Decision, metrics::AuditStage},
};

/// Values from outside are cut to this many characters; a UUID has 36.
const MAX_VALUE: usize = 64;
/// Ids of one filter in a record: as many as validation allows.
const MAX_FILTER_IDS: usize = 25;
/// Ids of an answer in a record: the largest page.
const MAX_OBJECTS: usize = 100;
/// Stands for an id that is none.
const NO_ID: &str = "invalid";
/// Rulings of one record. What refuses comes before what is only looked at, and that before what is kept.
const MAX_RULINGS: usize = 32;
/// Unknown fields named in one record.
const MAX_UNKNOWN: usize = 16;

/// What the log tells of one call at one stage.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    #[serde(serialize_with = "stage_name")]
    pub stage: AuditStage,
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    #[serde(serialize_with = "as_string")]
    pub request_id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Which credential, never the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Full method name; absent where there is no such method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The caller only asked what would become of the call.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// The version of the policy that judged the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Version>,
    /// What became of its rules, as far as they were broken; at most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rulings: Vec<Ruling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Reads that the gateway made on the call's behalf before it went on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Of a gap: how many records are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of a gap: why they are left out; absent where they could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// A request that the gateway sent upstream for the call.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub kind: AttemptKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptKind {
    /// The question which organization the org is upstream.
    Organization,
    /// A read of the object that the call is about.
    Lookup,
}

/// How a call ended.
#[derive(Clone, Debug, Serialize)]
pub struct End {
    #[serde(serialize_with = "decision_name")]
    pub decision: Decision,
    /// gRPC status code, UPPER_SNAKE_CASE.
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    pub forwarded: Forwarded,
    /// From the arrival of the headers to this record.
    pub latency_us: u64,
    /// Ids of the objects in the answer, at most one page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// Names in the answer that the schema does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// The answer shows a pool whose `min_size` is above its `max_size`.
    #[serde(skip_serializing_if = "is_false")]
    pub bounds_crossed: bool,
    /// Pages of upstream's that were read for this answer, where it is not just the one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<usize>,
    /// Upstream's answer, to the call or to its look-up, had in it what is not the caller's; it was withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarded {
    No,
    Maybe,
    Yes,
}

impl Record {
    /// The record of a call as it stands now: an intent, until it [`ends`](Self::ends).
    pub fn of(call: &Call) -> Self {
        Self {
            facts: Some(bounded_facts(&call.facts)),
            unknown_fields: call.unknown.iter().take(MAX_UNKNOWN).map(|path| bounded(path)).collect(),
            ..Self::empty(AuditStage::Intent, &call.context)
        }
    }

    /// A refusal above the call plane.
    pub fn refused(context: &Context, error: &Error) -> Self {
        let mut record = Self::empty(AuditStage::Reject, context);
        record.end = Some(End::of_error(error, context));
        record
    }

    /// `count` records are missing here.
    pub fn gap(count: u64, reason: Option<Reason>) -> Self {
        let context = Context::new(RequestId::new(), Instant::now(), None);
        let reason = reason.map(Reason::as_str);
        Self { count: Some(count), reason, ..Self::empty(AuditStage::Gap, &context) }
    }

    /// Ready for the log.
    pub fn draft(&self) -> Draft {
        let mut tail = serde_json::to_vec(self).unwrap_or_default();
        tail.remove(0);
        tail.extend_from_slice(
            format!(r#","api":{{"request":{{"uid":"{}"}}}}}}"#, self.request_id).as_bytes(),
        );
        Draft { stage: self.stage, request: Some(self.request_id), tail }
    }

    /// The call has ended: as an outcome if it was answered or went upstream, else as a reject.
    pub fn ends(&mut self, result: &Result<Reply, Error>, context: &Context) {
        self.time = SystemTime::now();
        let end = match result {
            Ok(reply) => End::of_reply(reply, context),
            Err(error) => End::of_error(error, context),
        };
        self.stage = match (result, end.forwarded) {
            (Err(_), Forwarded::No) => AuditStage::Reject,
            (Ok(_), _) | (_, Forwarded::Maybe | Forwarded::Yes) => AuditStage::Outcome,
        };
        self.attempts = attempts(context);
        // The record was opened before any policy had a word.
        self.policy = context.policy().cloned();
        self.rulings = rulings(context);
        self.end = Some(end);
    }

    fn empty(stage: AuditStage, context: &Context) -> Self {
        let identity = context.identity();
        Self {
            stage,
            time: SystemTime::now(),
            request_id: context.id(),
            trace_id: context.trace_id().map(str::to_owned),
            org: identity.map(|identity| identity.org.to_string()),
            subject: identity.map(|identity| identity.subject.to_string()),
            credential: identity.map(|identity| identity.credential.to_string()),
            method: context.method().map(|method| method.path.trim_start_matches('/')),
            protocol: context.protocol(),
            peer: context.peer().map(|peer| peer.to_string()),
            dry_run: context.is_dry_run(),
            policy: context.policy().cloned(),
            rulings: rulings(context),
            facts: None,
            attempts: attempts(context),
            unknown_fields: Vec::new(),
            end: None,
            count: None,
            reason: None,
        }
    }
}

/// A record of the log's own.
pub(super) fn own(
    stage: AuditStage,
    request: Option<RequestId>,
    members: &serde_json::Map<String, serde_json::Value>,
) -> Draft {
    let mut tail = format!(r#""stage":"{}""#, stage.as_str()).into_bytes();
    let more = serde_json::to_vec(members).unwrap_or_default();
    if members.is_empty() {
        tail.push(b'}');
    } else {
        tail.push(b',');
        tail.extend_from_slice(&more[1..]);
    }
    let uid = request.map(|id| id.to_string()).unwrap_or_default();
    tail.extend_from_slice(format!(r#","api":{{"request":{{"uid":"{uid}"}}}}}}"#).as_bytes());
    Draft { stage, request, tail }
}

impl End {
    fn of_reply(reply: &Reply, context: &Context) -> Self {
        let objects = &reply.seen.objects;
        Self {
            decision: Decision::of(context.is_permitted()),
            code: code_name(Code::Ok),
            reason: None,
            rule: None,
            forwarded: if context.is_own() { Forwarded::No } else { Forwarded::Yes },
            latency_us: latency(context),
            objects: objects.iter().take(MAX_OBJECTS).map(|object| uuid(&object.id)).collect(),
            drift: reply.drift.clone(),
            bounds_crossed: objects.iter().any(Object::bounds_crossed),
            pages: pages(context),
            mismatch: context.mismatch(),
        }
    }

    fn of_error(error: &Error, context: &Context) -> Self {
        Self {
            decision: Decision::of(context.is_permitted()),
            code: code_name(error.code),
            reason: error.reason.map(Reason::as_str),
            rule: error.rule.as_deref().map(str::to_owned),
            forwarded: match error.sent {
                Sent::No => Forwarded::No,
                Sent::Maybe => Forwarded::Maybe,
                Sent::Yes => Forwarded::Yes,
            },
            latency_us: latency(context),
            objects: Vec::new(),
            drift: Vec::new(),
            bounds_crossed: false,
            pages: pages(context),
            mismatch: context.mismatch(),
        }
    }
}

fn rulings(context: &Context) -> Vec<Ruling> {
    let mut rulings = context.rulings();
    rulings.sort_by_key(|ruling| (!ruling.refuses(), !ruling.is_broken()));
    rulings.truncate(MAX_RULINGS);
    rulings
}

fn pages(context: &Context) -> Option<usize> {
    Some(context.pages()).filter(|pages| *pages > 1)
}

fn latency(context: &Context) -> u64 {
    u64::try_from(context.received().elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The reads that were made on the call's behalf, in order.
fn attempts(context: &Context) -> Vec<Attempt> {
    let asked = context.has_asked_organization();
    let organization = asked.then_some(Attempt { kind: AttemptKind::Organization, object: None });
    let lookup = |object: &str| Attempt { kind: AttemptKind::Lookup, object: Some(uuid(object)) };
    organization.into_iter().chain(context.lookup().map(lookup)).collect()
}

/// An id, if it is one: what a caller types in its place may be anything, also a secret.
fn uuid(id: &str) -> String {
    if Uuid::try_parse(id).is_ok() { bounded(id) } else { NO_ID.to_owned() }
}

/// At most [`MAX_VALUE`] characters of a value from outside.
fn bounded(value: &str) -> String {
    value.chars().take(MAX_VALUE).collect()
}

/// Validation bounds what is allowed, but a reject record is written for what is not.
fn bounded_facts(facts: &Facts) -> Facts {
    let id = |id: &Option<String>| id.as_deref().map(uuid);
    let ids = |ids: &[String]| ids.iter().take(MAX_FILTER_IDS).map(|id| uuid(id)).collect();
    let resource = |object: &Object| Object {
        id: uuid(&object.id),
        organization: uuid(&object.organization),
        project: uuid(&object.project),
        class: uuid(&object.class),
        sizes: object.sizes,
        ..Object::default()
    };
    Facts {
        project: id(&facts.project),
        class: id(&facts.class),
        prebuild: id(&facts.prebuild),
        pool: id(&facts.pool),
        filter: Filter {
            projects: ids(&facts.filter.projects),
            classes: ids(&facts.filter.classes),
            creators: ids(&facts.filter.creators),
            executors: ids(&facts.filter.executors),
            phases: facts.filter.phases.iter().take(MAX_FILTER_IDS).copied().collect(),
            triggers: facts.filter.triggers.iter().take(MAX_FILTER_IDS).copied().collect(),
        },
        resource: facts.resource.as_ref().map(resource),
        ..facts.clone()
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*time))
}

fn stage_name<S: Serializer>(stage: &AuditStage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.as_str())
}

fn decision_name<S: Serializer>(decision: &Decision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(decision.as_str())
}

fn as_string<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
