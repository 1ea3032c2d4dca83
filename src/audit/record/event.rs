//! The record as OCSF has it: <https://schema.ocsf.io/1.6.0/classes/api_activity>. What has no place there is in
//! [`unmapped`](super::unmapped).

use std::{net::IpAddr, time::SystemTime};

use serde::Serialize;
use serde_json::Value;

use super::{About, Caller, End, Record, ascii, unmapped::Unmapped};
use crate::{
    error::{Code, code_name},
    rpc::MethodSpec,
    telemetry::metrics::AuditStage,
};

/// A record is at most 16 KiB (a promise to whoever reserves room for it), of which the line's fixed beginning takes
/// less than 1 KiB.
pub(super) const MAX_TAIL: usize = 15 << 10;

/// "Application Activity", "API Activity".
const CATEGORY: u32 = 6;
const CLASS: u32 = 6003;
/// What the gateway tells of itself is by this application.
const GATEWAY: &str = "prebuild-gateway";
/// Stands for a caller, method or peer that is not known.
const UNKNOWN: &str = "unknown";
/// The rule of a decision that no single rule made.
const POLICY: &str = "policy";

#[derive(Serialize)]
struct Event<'r> {
    class_uid: u32,
    category_uid: u32,
    activity_id: u32,
    type_uid: u32,
    severity_id: u32,
    /// Milliseconds since 1970.
    time: u64,
    status_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'static str>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    actor: Actor<'r>,
    api: Api<'r>,
    src_endpoint: Endpoint,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource<'r>>,
}

#[derive(Serialize)]
struct Actor<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizations: Option<[Authorization<'r>; 1]>,
}

#[derive(Serialize)]
struct User<'r> {
    uid: &'r str,
    org: Named<'r>,
    credential_uid: &'r str,
}

#[derive(Serialize)]
struct Named<'r> {
    uid: &'r str,
}

#[derive(Serialize)]
struct Authorization<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy<'r>>,
}

#[derive(Serialize)]
struct Policy<'r> {
    uid: &'r str,
    version: &'r str,
}

#[derive(Serialize)]
struct Api<'r> {
    operation: String,
    service: Service,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'r>>,
}

#[derive(Serialize)]
struct Service {
    name: &'static str,
}

#[derive(Serialize)]
struct Request<'r> {
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'r Value>,
}

#[derive(Serialize)]
struct Response<'r> {
    code: i32,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'r Value>,
}

#[derive(Serialize)]
struct Endpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
}

#[derive(Serialize)]
struct Resource<'r> {
    r#type: &'static str,
    uid: &'r str,
}

impl Record {
    /// The bytes of its line behind `unmapped.prev`, from `"stage":` to the end; at most 15 KiB of printable ASCII.
    pub fn tail(&self) -> Vec<u8> {
        let tail = self.whole();
        if tail.len() <= MAX_TAIL { tail } else { self.clone().cut() }
    }

    pub(super) fn whole(&self) -> Vec<u8> {
        let mut tail = ascii::members(&Unmapped::of(self));
        tail.push(b',');
        tail.extend(ascii::members(&Event::of(self)));
        tail
    }
}

impl<'r> Event<'r> {
    fn of(record: &'r Record) -> Self {
        let about = record.about.as_deref();
        let end = about.and_then(|about| about.end.as_ref());
        let activity = about.map_or(99, |about| about.method.map_or(0, activity));
        Self {
            class_uid: CLASS,
            category_uid: CATEGORY,
            activity_id: activity,
            type_uid: CLASS * 100 + activity,
            severity_id: severity(record.stage, end),
            time: millis(record.time),
            status_id: status(record.stage, end),
            status_code: end.map(|end| code_name(end.code)),
            duration: end.and_then(|end| end.latency).map(|latency| latency.recorded / 1000),
            count: record.own.get("count").and_then(Value::as_u64),
            actor: Actor::of(about),
            api: Api::of(record),
            src_endpoint: Endpoint::of(about),
            resources: about.map(resources).unwrap_or_default(),
        }
    }
}

impl<'r> Actor<'r> {
    fn of(about: Option<&'r About>) -> Self {
        let caller = about.and_then(|about| about.caller.as_ref());
        let app_name = match (about, caller) {
            (None, _) => Some(GATEWAY),
            (Some(_), None) => Some(UNKNOWN),
            (Some(_), Some(_)) => None,
        };
        Self { user: caller.map(User::of), app_name, authorizations: about.and_then(authorization) }
    }
}

impl<'r> User<'r> {
    fn of(caller: &'r Caller) -> Self {
        Self {
            uid: caller.subject.as_str(),
            org: Named { uid: caller.org.as_str() },
            credential_uid: caller.credential.as_str(),
        }
    }
}

impl<'r> Api<'r> {
    fn of(record: &'r Record) -> Self {
        let about = record.about.as_deref();
        let operation = match (about, about.and_then(|about| about.method)) {
            (None, _) => format!("audit.{}", record.stage.as_str()),
            (_, Some(method)) => method.path.trim_start_matches('/').to_owned(),
            (_, None) => UNKNOWN.to_owned(),
        };
        let service = match (about, about.and_then(|about| about.method)) {
            (None, _) => GATEWAY,
            (_, method) => method.map_or(UNKNOWN, |method| method.service),
        };
        let data = about.and_then(|about| about.request.as_ref());
        let end = about.and_then(|about| about.end.as_ref());
        Self {
            operation,
            service: Service { name: service },
            request: record.request.map(|id| Request { uid: id.to_string(), data }),
            response: end.map(|end| Response {
                code: end.code as i32,
                message: code_name(end.code),
                error: end.reason.map(crate::error::Reason::as_str),
                data: end.response.as_ref(),
            }),
        }
    }
}

impl Endpoint {
    fn of(about: Option<&About>) -> Self {
        let peer = about.and_then(|about| about.peer);
        let name = match (about, peer) {
            (_, Some(_)) => None,
            (None, None) => Some(GATEWAY),
            (Some(_), None) => Some(UNKNOWN),
        };
        Self { ip: peer.map(|peer| peer.ip), port: peer.and_then(|peer| peer.port), name }
    }
}

/// The gateway's word on the call, and the policy that it is by.
fn authorization(about: &About) -> Option<[Authorization<'_>; 1]> {
    let end = about.end.as_ref();
    let uid = end.and_then(|end| end.rule.as_deref()).unwrap_or(POLICY);
    let policy = about.policy.as_ref().map(|version| Policy { uid, version: version.as_str() });
    let decision = match end {
        Some(end) => Some(end.decision.as_str()),
        // Only what was allowed has an intent.
        None => about.decided.map(|_| crate::telemetry::Decision::Allowed.as_str()),
    };
    (decision.is_some() || policy.is_some()).then_some([Authorization { decision, policy }])
}

/// The objects in the answer; where there are none, the one that the call is about.
fn resources(about: &About) -> Vec<Resource<'_>> {
    let shown = about.end.iter().flat_map(|end| &end.objects);
    let shown: Vec<_> = shown
        .filter(|object| !object.id.is_empty())
        .map(|object| Resource {
            r#type: if object.is_pool() { "warm_pool" } else { "prebuild" },
            uid: &object.id,
        })
        .collect();
    let Some(facts) = about.facts.as_ref().filter(|_| shown.is_empty()) else { return shown };
    let prebuild = facts.prebuild.as_deref().map(|uid| Resource { r#type: "prebuild", uid });
    prebuild
        .into_iter()
        .chain(facts.pool.as_deref().map(|uid| Resource { r#type: "warm_pool", uid }))
        .collect()
}

/// OCSF: 1 create, 2 read, 3 update, 4 delete.
fn activity(method: &MethodSpec) -> u32 {
    match method.name {
        name if name.starts_with("Create") => 1,
        name if name.starts_with("Get") || name.starts_with("List") => 2,
        name if name.starts_with("Delete") => 4,
        _ => 3,
    }
}

/// OCSF: 0 unknown, 1 success, 2 failure.
pub(super) fn status(stage: AuditStage, end: Option<&End>) -> u32 {
    match (end, stage) {
        (Some(end), _) if end.code == Code::Ok => 1,
        (Some(_), _) | (None, AuditStage::Gap) => 2,
        (None, AuditStage::Intent | AuditStage::Recovered | AuditStage::Aggregate) => 0,
        (None, _) => 1,
    }
}

/// OCSF: 1 informational, 2 low, 3 medium, 4 high. High is what should wake somebody: another org's object, or a hole.
pub(super) fn severity(stage: AuditStage, end: Option<&End>) -> u32 {
    match (end, stage) {
        (_, AuditStage::Gap) => 4,
        (_, AuditStage::Recovered) => 3,
        (Some(end), _) if end.mismatch.is_some() => 4,
        (Some(end), _) if end.code != Code::Ok => 2,
        _ => 1,
    }
}

pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
