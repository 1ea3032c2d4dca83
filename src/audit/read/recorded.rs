//! A call as its records tell of it, so that it can be judged once more: what rules saw of it, and what they said.

use std::{borrow::Cow, net::IpAddr, time::SystemTime};

use serde::Deserialize;

use crate::{
    call::{OrgId, RequestId, Scope, SubjectId},
    error::{Code, Reason, code_name},
    rpc::{self, Facts, MethodSpec},
    telemetry::metrics::AuditStage,
};

#[cfg(test)]
mod tests;

/// The protocols that the front knows, by the names that records have for them.
const PROTOCOLS: [&str; 3] = ["grpc", "grpc_web", "connect"];
/// Of a refusal whose cause has no name that is known here.
const UNKNOWN: &str = "UNKNOWN";

/// One call.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub request: RequestId,
    pub org: OrgId,
    pub subject: SubjectId,
    /// What the caller's credential was good for.
    pub scopes: Vec<Scope>,
    pub method: &'static MethodSpec,
    /// Of the effective request where rules judged it, else as the caller said them.
    pub facts: Facts,
    pub peer: Option<IpAddr>,
    pub protocol: &'static str,
    /// When the rules judged it. Of a call that was refused before any rule looked at the time, when that was recorded.
    pub at: SystemTime,
    pub word: Word,
}

/// What the policy said of a call. What else became of it is not the policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Every rule let it pass; a budget, the disk or upstream may have refused it nevertheless.
    Passed,
    /// A rule refused it: the first one that did.
    Refused(String),
}

/// Why a record is of no call that could be judged once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// The call was refused before the policy had a word: for this reason of the gateway's, or with this code.
    Before(&'static str),
    /// Its caller only asked what would become of it.
    DryRun,
    /// It has not what this version expects of it.
    Unreadable,
}

/// What a record has of it.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    unmapped: Unmapped<'a>,
    #[serde(borrow)]
    actor: Actor<'a>,
    #[serde(borrow)]
    api: Api<'a>,
    #[serde(borrow, default)]
    src_endpoint: Endpoint<'a>,
}

#[derive(Deserialize)]
struct Unmapped<'a> {
    #[serde(borrow)]
    stage: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    decided: Option<Cow<'a, str>>,
    #[serde(borrow)]
    protocol: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    scopes: Vec<Cow<'a, str>>,
    #[serde(default)]
    dry_run: bool,
    #[serde(borrow)]
    rule: Option<Cow<'a, str>>,
    facts: Option<Facts>,
}

#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(borrow)]
    user: Option<User<'a>>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    org: Uid<'a>,
}

#[derive(Deserialize)]
struct Uid<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Api<'a> {
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Uid<'a>>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Endpoint<'a> {
    #[serde(borrow)]
    ip: Option<Cow<'a, str>>,
}

impl Recorded {
    /// Reads an intent, an outcome or a reject.
    ///
    /// # Errors
    /// It is of no call that could be judged once more.
    pub fn of(record: &[u8]) -> Result<Self, Unjudged> {
        let told: Told<'_> = serde_json::from_slice(record).map_err(|_| Unjudged::Unreadable)?;
        if told.unmapped.dry_run {
            return Err(Unjudged::DryRun);
        }
        let word = told.word()?;
        told.call(word).ok_or(Unjudged::Unreadable)
    }
}

impl Unmapped<'_> {
    /// Whether rules had a word. What they did not judge was decided by its refusal: at the time of its record.
    fn is_judged(&self) -> bool {
        let is_reject = self.stage == AuditStage::Reject.as_str();
        self.decided.as_ref().is_some_and(|decided| !is_reject || *decided != self.time)
    }
}

impl Told<'_> {
    /// Rules have let pass what came as far as the end of them: from there on other things refuse.
    fn word(&self) -> Result<Word, Unjudged> {
        let error = self.api.response.as_ref().and_then(|response| response.error.as_deref());
        let rule = self.unmapped.rule.as_deref();
        match error == Some(Reason::PolicyDenied.as_str()) {
            true => Ok(Word::Refused(rule.unwrap_or_default().to_owned())),
            false if self.unmapped.is_judged() => Ok(Word::Passed),
            false => Err(Unjudged::Before(self.cause())),
        }
    }

    /// Why it was refused, by a name that is the gateway's own whatever the record says.
    fn cause(&self) -> &'static str {
        let Some(Response { message, error }) = &self.api.response else { return UNKNOWN };
        let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
        // The codes of gRPC are 0 to 16.
        let mut codes = (0..=16).map(|code| code_name(Code::from_i32(code)));
        match error {
            Some(error) => reasons.into_iter().find(|reason| reason == error),
            None => codes.find(|code| code == message),
        }
        .unwrap_or(UNKNOWN)
    }

    fn call(self, word: Word) -> Option<Recorded> {
        let Self { unmapped, actor, api, src_endpoint } = self;
        let user = actor.user?;
        let scopes = unmapped.scopes.into_iter().map(|scope| Scope::try_from(scope.into_owned()));
        let scopes = scopes.collect::<Result<_, _>>().ok()?;
        let at = humantime::parse_rfc3339(unmapped.decided.as_deref().unwrap_or(&unmapped.time)).ok()?;
        let protocol = unmapped.protocol.as_deref().unwrap_or_default();
        Some(Recorded {
            request: RequestId::try_from(api.request?.uid.into_owned()).ok()?,
            org: (*user.org.uid).into(),
            subject: (*user.uid).into(),
            scopes,
            method: rpc::methods().find(|method| method.path.strip_prefix('/') == Some(&*api.operation))?,
            facts: unmapped.facts?,
            peer: src_endpoint.ip.map(|ip| ip.parse()).transpose().ok()?,
            protocol: PROTOCOLS.into_iter().find(|known| *known == protocol).unwrap_or_default(),
            at,
            word,
        })
    }
}
