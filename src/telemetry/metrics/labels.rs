//! The labels of the series, each from a bounded set.

use std::{
    collections::HashSet,
    fmt::{self, Write},
    hash::Hash,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use super::super::{Decision, log::UNKNOWN};
use crate::rpc::MethodSpec;

/// Stands for all values beyond a bound, and for names that are none.
pub(super) const OTHER: &str = "other";

/// The longest name that upstream made up and that becomes a label, in bytes.
const MAX_NAME: usize = 64;

/// What went wrong with an attempt to get an answer from upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamFault {
    /// No connection, name or TLS session.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke after the request had begun to leave.
    Reset,
    /// An answer with an HTTP status that is no success and no Connect error.
    Status,
    /// A complete answer that is not what the contract says.
    Invalid,
    /// A redirect.
    Redirect,
    /// An answer beyond the size limit.
    TooLarge,
}

/// The kinds of audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditStage {
    /// The first record of a file.
    Segment,
    Intent,
    Outcome,
    Reject,
    /// Stands for many rejects.
    Aggregate,
    /// The end of a call of which a crash left none.
    Recovered,
    /// Records are missing.
    Gap,
    /// A signed state of the log.
    Checkpoint,
    /// Files were removed.
    Pruned,
    /// The end of a process.
    Shutdown,
}

/// What became of a fetch of an issuer's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JwksResult {
    /// Other keys are in force now.
    Changed,
    Unchanged,
    /// The last ones stay.
    Failed,
}

/// Who decided on a call's rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitedBy {
    /// What the replicas share.
    Store,
    /// The replica alone, as the store did not answer.
    Replica,
}

/// The first values that come, up to a number; later ones are told apart no more.
#[derive(Debug)]
pub(super) struct Capped<T> {
    max: usize,
    admitted: RwLock<HashSet<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) code: &'static str,
    pub(super) org: Arc<str>,
    pub(super) decision: Decision,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByMethod {
    pub(super) method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByMethodAndKind {
    pub(super) method: &'static str,
    pub(super) kind: UpstreamFault,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByMethodAndCode {
    pub(super) method: &'static str,
    pub(super) code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByOrgAndMethod {
    pub(super) org: Arc<str>,
    pub(super) method: &'static str,
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByOrgAndRule {
    pub(super) org: Arc<str>,
    pub(super) rule: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByName {
    pub(super) path: Arc<str>,
    pub(super) name: Arc<str>,
}

/// The keys are the config's, so they are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByKey {
    pub(super) key: String,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByIssuer {
    pub(super) issuer: Arc<str>,
    pub(super) result: JwksResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByOrg {
    pub(super) org: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByResult {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByKind {
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BySink {
    /// One of the config's.
    pub(super) sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByStage {
    pub(super) stage: AuditStage,
}

/// One at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByVersion {
    pub(super) version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByRule {
    pub(super) rule: Arc<str>,
    pub(super) mode: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Version {
    pub(super) version: &'static str,
}

impl ByName {
    /// A name that upstream made up is a label only if it looks like a name.
    pub(super) fn new(path: &str, name: &str) -> Self {
        Self { path: path.into(), name: shown_name(name).into() }
    }

    pub(super) fn rest() -> Self {
        Self { path: OTHER.into(), name: OTHER.into() }
    }
}

impl ByOrgAndRule {
    pub(super) fn rest() -> Self {
        Self { org: OTHER.into(), rule: OTHER.into() }
    }
}

impl UpstreamFault {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Status => "status",
            Self::Invalid => "invalid",
            Self::Redirect => "redirect",
            Self::TooLarge => "too_large",
        }
    }
}

impl AuditStage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Reject => "reject",
            Self::Aggregate => "aggregate",
            Self::Recovered => "recovered",
            Self::Gap => "gap",
            Self::Checkpoint => "checkpoint",
            Self::Pruned => "pruned",
            Self::Shutdown => "shutdown",
        }
    }
}

impl JwksResult {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

macro_rules! label_values {
    ($($label:ty),*) => {
        $(impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(self.as_str())
            }
        })*
    };
}

label_values!(AuditStage, Decision, JwksResult, UpstreamFault);

impl<T: Clone + Eq + Hash> Capped<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, admitted: RwLock::default() }
    }

    /// The value itself if it is one of the first, else what stands for the rest.
    pub(super) fn admit(&self, value: T, rest: impl FnOnce() -> T) -> T {
        if self.admitted.read().unwrap_or_else(PoisonError::into_inner).contains(&value) {
            return value;
        }
        let mut admitted = self.admitted.write().unwrap_or_else(PoisonError::into_inner);
        if admitted.len() >= self.max && !admitted.contains(&value) {
            return rest();
        }
        admitted.insert(value.clone());
        value
    }
}

/// A name that upstream made up, if it looks like one; else what stands for all others.
pub fn shown_name(name: &str) -> &str {
    if is_name(name) { name } else { OTHER }
}

/// `[A-Za-z0-9_]{1,64}`
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn method_name(method: Option<&'static MethodSpec>) -> &'static str {
    method.map_or(UNKNOWN, |method| method.name)
}
