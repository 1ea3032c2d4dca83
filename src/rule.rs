//! What rules and limits of every kind have in common: a name, a mode, a share of the calls, and what became of them for
//! one call.
//!
//! A rule that is only looked at (`audit`, `warn`) never decides: what is refused is what rules in force refuse, with or
//! without any others beside them.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

mod quota;
#[cfg(test)]
mod tests;

pub use quota::{Bound, Budget, BudgetOf, Burden, Holder, InvalidRate, Need, Quota, Rank, Rate, Selection};

/// What a share is counted in: millionths of all calls.
const WHOLE: u32 = 1_000_000;

/// Names a rule or limit: as the policy, refusals, records and metrics have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RuleId(Arc<str>);

/// Which policy judged a call: the start of the SHA-256 of all that it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Version(Arc<str>);

/// What a broken rule does.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is as if the rule were not there.
    Off,
    /// The call passes; metrics and the audit record tell.
    Audit,
    /// The call passes; the caller is told, too.
    Warn,
    /// The call is refused.
    #[default]
    Enforce,
}

/// A part of all calls, above 0 and at most 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(with = "f64")]
pub struct Share(u32);

/// A share that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be above 0 and at most 1")]
pub struct NotAShare;

/// What a request draws: always the same for one request and rule, so that every stage, and whoever computes it again
/// from the record, comes to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(u128);

/// In which mode a rule is, and for which share of the calls. The others are audited, so that what a wider share would do
/// can be seen before it does; of a rule that is only audited they are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stance {
    pub mode: Mode,
    pub share: Share,
}

/// A rule or limit as it stands for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<T> {
    pub rule: RuleId,
    /// Never `Off`; a candidate's is never `Enforce`.
    pub mode: Mode,
    /// It is a value that is tried beside the live one.
    pub candidate: bool,
    pub value: T,
    /// Where a person can read more.
    pub link: Option<Arc<str>>,
}

/// What became of a rule for one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ruling {
    pub rule: RuleId,
    pub mode: Mode,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub candidate: bool,
    pub outcome: Outcome,
    /// The proto field path that broke it, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    /// What would keep it, in words: without anything of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Cow<'static, str>>,
    /// Of the operator's, for the caller.
    #[serde(skip)]
    pub message: Option<Arc<str>>,
    #[serde(skip)]
    pub link: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The call keeps the rule.
    Kept,
    /// The call breaks it.
    Broken,
    /// It could not be told, which counts as broken.
    Failed,
}

/// What is left of a rate, for the caller (`RateLimit` of draft-ietf-httpapi-ratelimit-headers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    pub rule: RuleId,
    pub rate: Rate,
    /// Of cost 1, calls that would pass now.
    pub calls: u32,
    /// Until all of the burst is there again.
    pub full_in: Duration,
}

impl RuleId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RuleId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Version {
    /// 64 bits tell policies apart; whoever writes policies has no interest in two alike.
    const BYTES: usize = 8;

    /// Of all texts, in their order, and of where one ends and the next begins.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(
            hash.finalize()
                .iter()
                .take(Self::BYTES)
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into(),
        )
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

impl TryFrom<f64> for Share {
    type Error = NotAShare;

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 and a million")]
    fn try_from(share: f64) -> Result<Self, NotAShare> {
        let parts = (share * f64::from(WHOLE)).round();
        if share <= 1.0 && parts >= 1.0 { Ok(Self(parts as u32)) } else { Err(NotAShare) }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self(WHOLE)
    }
}

impl Share {
    pub fn is_whole(self) -> bool {
        self.0 == WHOLE
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(WHOLE))
    }
}

impl Draw {
    pub fn new(request: u128) -> Self {
        Self(request)
    }

    /// By a hash, as ids of one moment are alike; and by the rule's name, too, so that one unlucky call is not every
    /// rule's.
    fn is_within(self, share: Share, rule: &RuleId) -> bool {
        if share.is_whole() {
            return true;
        }
        let hash = Sha256::new().chain_update(self.0.to_be_bytes()).chain_update(rule.as_str()).finalize();
        let drawn = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        drawn % u64::from(WHOLE) < u64::from(share.0)
    }
}

impl Stance {
    /// The mode for one request.
    pub fn of(self, rule: &RuleId, draw: Draw) -> Mode {
        match self.mode {
            Mode::Off => Mode::Off,
            mode if draw.is_within(self.share, rule) => mode,
            Mode::Audit => Mode::Off,
            Mode::Warn | Mode::Enforce => Mode::Audit,
        }
    }
}

impl<T> Applied<T> {
    pub fn is_enforced(&self) -> bool {
        self.mode == Mode::Enforce && !self.candidate
    }

    /// What became of it.
    pub fn ruling(&self, outcome: Outcome) -> Ruling {
        Ruling {
            rule: self.rule.clone(),
            mode: self.mode,
            candidate: self.candidate,
            outcome,
            field: None,
            bound: None,
            message: None,
            link: self.link.clone(),
        }
    }
}

impl Ruling {
    #[must_use]
    pub fn on(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    #[must_use]
    pub fn within(mut self, bound: impl Into<Cow<'static, str>>) -> Self {
        self.bound = Some(bound.into());
        self
    }

    /// As metrics have it: what is tried beside a live value is told apart from what is audited.
    pub const fn shown_mode(&self) -> &'static str {
        if self.candidate { "candidate" } else { self.mode.as_str() }
    }

    pub fn is_broken(&self) -> bool {
        self.outcome != Outcome::Kept
    }

    /// Whether the call is refused for it.
    pub fn refuses(&self) -> bool {
        self.is_broken() && self.mode == Mode::Enforce && !self.candidate
    }

    /// Whether the caller is told of it, on a call that passes.
    pub fn warns(&self) -> bool {
        self.is_broken() && self.mode == Mode::Warn
    }
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
            Self::Failed => "failed",
        }
    }
}
