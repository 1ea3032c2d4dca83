//! One record: what the log tells of one call at one stage, in OCSF's words. Its place in the log is
//! [`line`](super::line)'s matter. `docs/audit-log.md` says what stands where.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};

use super::line::Draft;
use crate::{
    call::{Attempt, Call, Context, CredentialId, Mismatch, OrgId, Reply, RequestId, Scopes, SubjectId},
    error::{Code, Error, Reason, Sent},
    rpc::{Facts, MethodSpec, Object},
    rule::{Ruling, Version},
    telemetry::{Decision, metrics::AuditStage},
};

pub(crate) mod ascii;
mod bounds;
mod cut;
mod event;
mod many;
mod recovered;
#[cfg(test)]
mod tests;
mod unmapped;

pub(super) use bounds::id;
pub(super) use many::Common;
pub use many::Count;
pub(super) use recovered::recovered;

/// Rulings of one record. What refuses comes before what is only looked at, and that before what is kept.
const MAX_RULINGS: usize = 32;
/// Unknown fields placed in one record; the count is of all.
const MAX_UNKNOWN: usize = 16;
/// Ids of an answer in a record: the largest page.
const MAX_OBJECTS: usize = 100;
/// Names of an answer that the schema does not know: as many as a reply keeps.
const MAX_DRIFT: usize = 32;

/// What may not be there whole, as `unmapped.truncated` names it.
const FACTS: &str = "unmapped.facts";
const RULINGS: &str = "unmapped.rulings";
const UNKNOWN_FIELDS: &str = "unmapped.unknown_fields";
const RESOURCES: &str = "resources";
const REQUEST: &str = "api.request.data";
const RESPONSE: &str = "api.response.data";

/// What the log tells of one call at one stage, or of itself.
#[derive(Clone, Debug)]
pub struct Record {
    stage: AuditStage,
    time: SystemTime,
    request: Option<RequestId>,
    /// The call that it is about; none of what the gateway tells of its log.
    about: Option<Box<About>>,
    /// Members of `unmapped` that only its stage has.
    own: Map<String, Value>,
    /// What is not there whole.
    truncated: Vec<&'static str>,
}

/// A call.
#[derive(Clone, Debug)]
struct About {
    caller: Option<Caller>,
    peer: Option<Peer>,
    method: Option<&'static MethodSpec>,
    protocol: Option<&'static str>,
    trace_id: Option<String>,
    /// The caller only asked what would become of the call.
    is_dry_run: bool,
    policy: Option<Version>,
    rulings: Vec<Ruling>,
    facts: Option<Facts>,
    /// When the rules judged it, or it was refused without them.
    decided: Option<SystemTime>,
    attempts: Vec<Attempt>,
    unknown: Unknown,
    /// Its message, redacted; at levels that show it.
    request: Option<Value>,
    end: Option<End>,
}

/// The connection's other end. Many that are alike have no port in common.
#[derive(Clone, Copy, Debug)]
struct Peer {
    ip: IpAddr,
    port: Option<u16>,
}

/// Who calls: never the credential, only which one.
#[derive(Clone, Debug)]
struct Caller {
    org: OrgId,
    subject: SubjectId,
    credential: CredentialId,
    scopes: Scopes,
}

/// Fields of the request that the schema does not know.
#[derive(Clone, Debug, Default)]
struct Unknown {
    count: usize,
    places: Vec<String>,
    /// What the caller called them, by keyed hash.
    names: Vec<String>,
}

/// How a call ended.
#[derive(Clone, Debug)]
struct End {
    decision: Decision,
    code: Code,
    reason: Option<Reason>,
    rule: Option<String>,
    sent: Sent,
    /// Not of many that are alike, as the latency.
    client: Option<Client>,
    latency: Option<Latency>,
    /// Objects in the answer, at most one page.
    objects: Vec<Object>,
    drift: Vec<String>,
    bounds_crossed: bool,
    pages: usize,
    mismatch: Option<Mismatch>,
    /// The answer's message, redacted; at levels that show it.
    response: Option<Value>,
}

/// The caller, when its call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// It was there to be answered.
    There,
    /// It had left.
    Gone,
    /// It had been told that its deadline has passed.
    Expired,
}

/// How long after the arrival of the headers a call came as far, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    decoded: Option<u64>,
    judged: Option<u64>,
    intended: Option<u64>,
    answered: Option<u64>,
    recorded: u64,
}

impl Record {
    /// The record of a call as it stands now: an intent, until it [`ends`](Self::ends).
    pub fn of(call: &Call) -> Self {
        let mut record = Self::about(AuditStage::Intent, &call.context);
        if record.facts().is_none() {
            record.set_facts(&call.facts);
        }
        record
    }

    /// A refusal above the call plane.
    pub fn refused(context: &Context, error: &Error) -> Self {
        let mut record = Self::about(AuditStage::Reject, context);
        let client = match error.reason {
            Some(Reason::CallerGone) => Client::Gone,
            // Also of a time that was up before it began.
            Some(Reason::DeadlineExceeded) => Client::Expired,
            _ if context.is_expired() => Client::Expired,
            _ => Client::There,
        };
        record.end_as(End::of_error(error, context, client));
        record
    }

    /// What the gateway tells of the log itself; `own` are members of `unmapped`.
    pub fn own(stage: AuditStage, own: Map<String, Value>) -> Self {
        Self { stage, time: SystemTime::now(), request: None, about: None, own, truncated: Vec::new() }
    }

    /// The call has ended: as an outcome if it was answered or went upstream, else as a reject.
    pub fn ends(&mut self, result: &Result<Reply, Error>, context: &Context, client: Client) {
        self.time = SystemTime::now();
        let objects = result.as_ref().map_or(0, |reply| reply.seen.objects.len());
        self.lacks(RESOURCES, objects > MAX_OBJECTS);
        let end = match result {
            Ok(reply) => End::of_reply(reply, context, client),
            Err(error) => End::of_error(error, context, client),
        };
        // An intent has an outcome, however little came of it.
        self.stage = match (result, end.sent) {
            _ if context.is_intended() => AuditStage::Outcome,
            (Err(_), Sent::No) => AuditStage::Reject,
            (Ok(_), _) | (_, Sent::Maybe | Sent::Yes) => AuditStage::Outcome,
        };
        // The record was opened before any policy had a word.
        self.see(context);
        if let Some(about) = &mut self.about {
            // The intent has it, as it went upstream.
            about.request.take_if(|_| context.is_intended());
            // Later than what rules decided, whatever the clock does: only what they did not judge is decided now.
            let judged = about.decided.map(|decided| decided + Duration::from_micros(1));
            self.time = judged.map_or(self.time, |judged| self.time.max(judged));
        }
        self.end_as(end);
    }

    /// Ready for the log.
    pub(super) fn draft(&self) -> Draft {
        Draft { stage: self.stage, request: self.request, ends: self.ends_told(), tail: self.tail() }
    }

    /// How many calls' ends it tells: what the log says of itself tells none, an aggregate or a gap as many as it counts.
    fn ends_told(&self) -> u64 {
        let counted = self.own.get("count").and_then(Value::as_u64);
        match self.stage {
            AuditStage::Outcome | AuditStage::Reject | AuditStage::Recovered => 1,
            AuditStage::Aggregate | AuditStage::Gap => counted.unwrap_or_default(),
            AuditStage::Intent
            | AuditStage::Segment
            | AuditStage::Checkpoint
            | AuditStage::Pruned
            | AuditStage::Shutdown => 0,
        }
    }

    /// Who was called for, and what.
    pub(super) fn called(&self) -> Option<(&OrgId, &'static MethodSpec)> {
        let about = self.about.as_deref()?;
        Some((&about.caller.as_ref()?.org, about.method?))
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.about.as_deref()?.facts.as_ref()
    }

    /// What the caller called the fields that the schema does not know, by keyed hash.
    pub(super) fn set_unknown_names(&mut self, names: Vec<String>) {
        if let Some(about) = &mut self.about {
            about.unknown.names = names;
        }
    }

    /// The request's message. None is one that could not be read.
    pub(super) fn set_request(&mut self, request: Option<Value>) {
        self.lacks(REQUEST, request.is_none());
        if let Some(about) = &mut self.about {
            about.request = request;
        }
    }

    /// The answer's, likewise.
    pub(super) fn set_response(&mut self, response: Option<Value>) {
        self.lacks(RESPONSE, response.is_none());
        if let Some(end) = self.about.as_mut().and_then(|about| about.end.as_mut()) {
            end.response = response;
        }
    }

    /// Whether it has ended; then this is how the caller was at last.
    pub(super) fn set_client(&mut self, client: Client) -> bool {
        let end = self.about.as_mut().and_then(|about| about.end.as_mut());
        end.map(|end| end.client = Some(client)).is_some()
    }

    pub fn stage(&self) -> AuditStage {
        self.stage
    }

    pub fn request_id(&self) -> Option<RequestId> {
        self.request
    }

    pub fn time(&self) -> SystemTime {
        self.time
    }

    fn about(stage: AuditStage, context: &Context) -> Self {
        let caller = context.identity().map(|identity| Caller {
            org: identity.org.clone(),
            subject: identity.subject.clone(),
            credential: identity.credential.clone(),
            scopes: identity.scopes.clone(),
        });
        let about = About {
            caller,
            peer: context.peer().map(|peer| Peer { ip: peer.ip().to_canonical(), port: Some(peer.port()) }),
            method: context.method(),
            protocol: context.protocol(),
            trace_id: context.trace_id().map(str::to_owned),
            is_dry_run: context.is_dry_run(),
            policy: None,
            rulings: Vec::new(),
            facts: None,
            decided: None,
            attempts: Vec::new(),
            unknown: Unknown::of(context),
            request: None,
            end: None,
        };
        let about = Some(Box::new(about));
        let mut record = Self { request: Some(context.id()), about, ..Self::own(stage, Map::new()) };
        record.lacks(UNKNOWN_FIELDS, context.unknown().len() > MAX_UNKNOWN);
        record.see(context);
        record
    }

    /// What the stages have found out by now.
    fn see(&mut self, context: &Context) {
        let (rulings, is_cut) = rulings(context);
        self.lacks(RULINGS, is_cut);
        if let Some(about) = &mut self.about {
            about.policy = context.policy().cloned();
            about.rulings = rulings;
            about.attempts = context.attempts();
        }
        if let Some(judged) = context.judged() {
            self.set_facts(&judged.facts);
            if let Some(about) = &mut self.about {
                about.decided = Some(judged.at);
            }
        }
    }

    fn set_facts(&mut self, facts: &Facts) {
        self.lacks(FACTS, bounds::are_cut(facts));
        if let Some(about) = &mut self.about {
            about.facts = Some(bounds::facts(facts));
        }
    }

    /// Says what is not there whole, or is after all.
    fn lacks(&mut self, what: &'static str, is_cut: bool) {
        self.truncated.retain(|cut| *cut != what);
        self.truncated.extend(is_cut.then_some(what));
    }

    fn end_as(&mut self, end: End) {
        if let Some(about) = &mut self.about {
            // What no rule has judged was decided by its refusal.
            if self.stage == AuditStage::Reject {
                about.decided.get_or_insert(self.time);
            }
            about.end = Some(end);
        }
    }
}

impl Unknown {
    fn of(context: &Context) -> Self {
        let unknown = context.unknown();
        let places = unknown.iter().take(MAX_UNKNOWN).map(|field| bounds::cut(&field.place)).collect();
        Self { count: unknown.len(), places, names: Vec::new() }
    }
}

impl End {
    fn of_reply(reply: &Reply, context: &Context, client: Client) -> Self {
        let objects = &reply.seen.objects;
        Self {
            objects: objects.iter().take(MAX_OBJECTS).map(bounds::object).collect(),
            drift: reply.drift.iter().take(MAX_DRIFT).map(|name| bounds::cut(name)).collect(),
            bounds_crossed: objects.iter().any(Object::bounds_crossed),
            ..Self::new(Code::Ok, if context.is_own() { Sent::No } else { Sent::Yes }, None, context, client)
        }
    }

    fn of_error(error: &Error, context: &Context, client: Client) -> Self {
        Self {
            reason: error.reason,
            rule: error.rule.as_deref().map(bounds::rule),
            ..Self::new(error.code, error.sent, Some(error), context, client)
        }
    }

    fn new(code: Code, sent: Sent, error: Option<&Error>, context: &Context, client: Client) -> Self {
        Self {
            decision: Decision::of(context.is_permitted(), error),
            code,
            reason: None,
            rule: None,
            sent,
            client: Some(client),
            latency: Some(Latency::of(context)),
            objects: Vec::new(),
            drift: Vec::new(),
            bounds_crossed: false,
            pages: context.pages(),
            mismatch: context.mismatch(),
            response: None,
        }
    }
}

impl Client {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Gone => "gone",
            Self::Expired => "expired",
        }
    }
}

/// And whether there are more.
fn rulings(context: &Context) -> (Vec<Ruling>, bool) {
    let mut rulings = context.rulings();
    rulings.sort_by_key(|ruling| (!ruling.refuses(), !ruling.is_broken()));
    let is_cut = rulings.len() > MAX_RULINGS;
    rulings.truncate(MAX_RULINGS);
    (rulings, is_cut)
}
