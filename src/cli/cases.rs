//! Tests of a policy: calls, and what is to become of them, in a file next to it.
//!
//! ```toml
//! [[case]]
//! name = "ci may build for an hour"
//! as = "acme/ci"
//! method = "CreatePrebuild"
//! request = { projectId = "...", spec = { timeout = "3600s" } }
//! expect = "forward"
//! ```

use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::{
    message,
    trial::{Attempt, Bench, Given, Id, PROTOCOL, REQUEST, Told},
    verdict::Shown,
};
use crate::{
    call::{OrgId, Scope, SubjectId},
    file::{
        self, Access,
        form::{self, Misfit},
    },
    proto::prebuildgateway::v1::{
        Verdict,
        verdict::{Mode, Outcome, Ruling},
    },
    rpc::{MethodSpec, methods},
};

#[cfg(test)]
mod tests;

/// The file of a policy's tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    #[serde(default)]
    case: Vec<Case>,
}

/// One call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(rename = "as")]
    caller: Caller,
    /// Default: read, mutate, secret.
    scopes: Option<Vec<Scope>>,
    method: Method,
    /// The message, as JSON has it.
    #[serde(default)]
    request: Value,
    /// That the call is about by id.
    #[serde(default)]
    object: Given,
    client: Option<IpAddr>,
    #[serde(default, deserialize_with = "time")]
    time: Option<SystemTime>,
    /// Draws the shares. Default: always the same.
    request_id: Option<Id>,
    #[serde(rename = "expect")]
    fate: Fate,
    /// Those that refuse the call, and no others.
    rules: Option<BTreeSet<String>>,
    /// Broken ones that its caller is told of, and no others.
    warns: Option<BTreeSet<String>>,
    /// Broken ones that records tell of, candidates among them, and no others.
    audits: Option<BTreeSet<String>>,
    /// What goes upstream.
    sends: Option<Value>,
    /// Proto paths of what the policy writes into it, and of nothing else.
    written: Option<BTreeSet<String>>,
}

/// `acme/ci`
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Caller(OrgId, SubjectId);

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Method(&'static MethodSpec);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    Forward,
    Refuse,
}

/// Where the tests of a policy are.
pub(super) fn beside(policy: &Path) -> PathBuf {
    policy.with_extension("test.toml")
}

impl Cases {
    /// # Errors
    /// The file cannot be read, or holds no cases.
    pub(super) fn load(path: &Path) -> Result<Self, Misfit> {
        let text = file::read_text(path, Access::Guarded)
            .map_err(|fault| Misfit::new(format_args!("`{}`", path.display()), fault))?;
        Self::parse(&text).map_err(|error| Misfit::new(path.display(), error))
    }

    fn parse(text: &str) -> Result<Self, Misfit> {
        let cases: Self = form::read(text, |_| None)?;
        match cases.case.as_slice() {
            [] => Err(Misfit::new("case", "must name one case at least")),
            _ => Ok(cases),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.case.len()
    }

    /// What is not as expected: a line for each, by the case's name.
    pub(super) async fn run(&self, bench: &Bench) -> Vec<String> {
        let mut failures = Vec::new();
        for (index, case) in self.case.iter().enumerate() {
            let at = format!("case[{index}] `{}`", case.name);
            let found = match case.attempt() {
                Ok(attempt) => match bench.judge(attempt).await {
                    Ok(told) => case.compare(&told),
                    Err(untold) => vec![untold.to_string()],
                },
                Err(problem) => vec![problem],
            };
            failures.extend(found.into_iter().map(|problem| format!("{at}: {problem}")));
        }
        failures
    }
}

impl Case {
    fn attempt(&self) -> Result<Attempt, String> {
        let method = self.method.0;
        let Caller(org, subject) = &self.caller;
        let json = match &self.request {
            Value::Null => "{}".to_owned(),
            request => request.to_string(),
        };
        Ok(Attempt {
            org: org.clone(),
            subject: subject.clone(),
            scopes: self.scopes.clone().unwrap_or_else(Attempt::all_scopes),
            method,
            request: message::read(method, &json).map_err(|problem| format!("request: {problem}"))?,
            object: self.object.object(method).map_err(|untold| format!("object: {untold}"))?,
            client: self.client,
            protocol: PROTOCOL,
            time: self.time,
            id: self.request_id.map_or(REQUEST, |Id(id)| id),
        })
    }

    fn compare(&self, told: &Told) -> Vec<String> {
        let verdict = &told.judged.verdict;
        let mut found = Vec::new();
        let said = if verdict.allowed { Fate::Forward } else { Fate::Refuse };
        if said != self.fate {
            let shown = Shown(verdict).to_string();
            let first = shown.lines().next().unwrap_or_default();
            found.push(format!("expect: expected {}, said `{first}`", self.fate));
        }
        if verdict.broken_left_out > 0 {
            found.push("rules: more are broken than can be shown".to_owned());
        }
        for (key, expected, said) in [
            ("rules", &self.rules, refusing(verdict)),
            ("warns", &self.warns, broken(verdict, |ruling| ruling.mode() == Mode::Warn)),
            ("audits", &self.audits, broken(verdict, |ruling| ruling.mode() == Mode::Audit)),
            ("written", &self.written, verdict.written_fields.iter().cloned().collect()),
        ] {
            if let Some(expected) = expected.as_ref().filter(|expected| **expected != said) {
                found.push(format!("{key}: expected {}, said {}", list(expected), list(&said)));
            }
        }
        found.extend(self.sends.as_ref().and_then(|expected| sends(verdict, expected)));
        found
    }
}

/// The rule of the refusal, and all those broken with it.
fn refusing(verdict: &Verdict) -> BTreeSet<String> {
    let mut rules = broken(verdict, |ruling| ruling.mode() == Mode::Enforce && !ruling.candidate);
    let named = verdict.refusal.iter().map(|refusal| refusal.rule.clone());
    rules.extend(named.filter(|rule| !rule.is_empty()));
    rules
}

fn broken(verdict: &Verdict, of: impl Fn(&Ruling) -> bool) -> BTreeSet<String> {
    let broken = verdict.rulings.iter().filter(|ruling| ruling.outcome() != Outcome::Kept && of(ruling));
    broken.map(|ruling| ruling.rule.clone()).collect()
}

fn sends(verdict: &Verdict, expected: &Value) -> Option<String> {
    let said = match verdict.request_json.as_str() {
        "" if verdict.request_left_out => {
            return Some("sends: the request is too large to be shown".to_owned());
        }
        "" => return Some(format!("sends: expected {expected}, said nothing")),
        json => json,
    };
    let is_same = serde_json::from_str::<Value>(said).is_ok_and(|said| said == *expected);
    (!is_same).then(|| format!("sends: expected {expected}, said {said}"))
}

fn list(names: &BTreeSet<String>) -> String {
    match names.len() {
        0 => "none".to_owned(),
        _ => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map(Some).map_err(D::Error::custom)
}

impl TryFrom<String> for Caller {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        super::explain::caller(&text).map(|(org, subject)| Self(org, subject))
    }
}

impl TryFrom<String> for Method {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        let method = methods().find(|method| method.name == name);
        method.map(Self).ok_or("must be the name of a method, like `CreatePrebuild`")
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Refuse => "refuse",
        })
    }
}
