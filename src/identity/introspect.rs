//! Callers known by a token of upstream's own, which the gateway passes on.
//!
//! Upstream says whose a token is. It is asked once per token and time to live, however many calls bring it, and at most
//! so often in all: made-up tokens must not become load upstream. The tokens that are known already are not touched by
//! that.

use std::{fmt, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use self::look_up::{Joined, LookUps};
use super::{Asker, Refused, every_class};
use crate::{
    call::{Deadline, Identity, Introspect, Scope, Token},
    telemetry::Metrics,
};

mod known;
mod look_up;
#[cfg(test)]
mod tests;

/// A token that upstream has revoked works for as long, where no call of its own finds out before.
const DEFAULT_TTL: Duration = Duration::from_secs(60);
/// A token that works from now on is not kept out for long.
const DEFAULT_REFUSED_TTL: Duration = Duration::from_secs(5);

/// `[identity.upstream_tokens]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether a caller may come with a token of upstream's own.
    pub enabled: bool,
    /// How long what upstream says of a token counts: above 0, at most 10 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub ttl: Duration,
    /// How long a token that is nobody's is not asked for again: above 0, less than `ttl`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refused_ttl: Duration,
    /// What may be called with it here: `read`, `mutate`, `secret`, `explain`, or names of methods; at least one.
    /// The first three by default. Upstream's own permissions bound it further.
    pub scopes: Vec<Scope>,
}

/// What is known of such tokens, and who is asked. Clones share it.
#[derive(Clone)]
pub struct UpstreamTokens(Arc<LookUps>);

/// A question that somebody waits for. Who leaves before the answer has asked in vain: else it would be a way to ask
/// without end.
struct Asked<'a> {
    asker: &'a dyn Asker,
    in_vain: bool,
}

/// The tokens themselves are kept nowhere but with whom they are.
type Hash = [u8; 32];

/// Who is known by a token.
type Outcome = Result<Identity, Refused>;

impl Default for Config {
    fn default() -> Self {
        Self { enabled: false, ttl: DEFAULT_TTL, refused_ttl: DEFAULT_REFUSED_TTL, scopes: every_class() }
    }
}

impl UpstreamTokens {
    pub fn new(config: &Config, introspect: Arc<dyn Introspect>, metrics: Metrics) -> Self {
        Self(Arc::new(LookUps::new(config, introspect, metrics)))
    }

    /// Who is known by the token, by what upstream has said of it or says now. An asker that has made up too many tokens
    /// has to wait, but with a token that was good not long ago.
    ///
    /// # Errors
    /// Nobody, or it cannot be told before the deadline, or must not be asked.
    pub(super) async fn identify(&self, text: &str, asker: &dyn Asker, deadline: Deadline) -> Outcome {
        let token = Token::new(text).map_err(|_| Refused::Unauthenticated("no token of upstream's"))?;
        let hash = Sha256::digest(text).into();
        if let Some(outcome) = self.0.known(&hash) {
            return outcome;
        }
        if !asker.may_ask() && !self.0.was_good(&hash) {
            return Err(self.0.capped("too many tokens of this address were nobody's"));
        }
        let mut told = match self.0.join(hash, token)? {
            Joined::Known(outcome) => return outcome,
            Joined::Waits(told) => told,
        };
        let mut asked = Asked { asker, in_vain: true };
        let told = tokio::time::timeout_at(deadline.instant().into(), told.wait_for(Option::is_some)).await;
        let Ok(told) = told else { return Err(Refused::Late) };
        let outcome = told.ok().and_then(|outcome| outcome.clone());
        let outcome = outcome.unwrap_or(Err(Refused::Unavailable("the look-up of the token has failed")));
        asked.in_vain = matches!(outcome, Err(Refused::Unauthenticated(_)));
        outcome
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.in_vain {
            self.asker.asked_in_vain();
        }
    }
}

impl fmt::Debug for UpstreamTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamTokens")
    }
}
