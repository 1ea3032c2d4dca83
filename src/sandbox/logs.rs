//! Log tokens: secrets for one prebuild and one hour.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

/// As the contract states it.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Tokens that are kept per organization; a sandbox under load forgets the oldest.
const CAPACITY: usize = 10_000;

/// The tokens of one organization, oldest first.
#[derive(Debug, Default)]
pub(super) struct Logs(VecDeque<LogsToken>);

#[derive(Debug)]
struct LogsToken {
    secret: String,
    prebuild: Uuid,
    expires: SystemTime,
}

impl Logs {
    pub(super) fn issue(&mut self, prebuild: Uuid, now: SystemTime) -> String {
        while self.0.front().is_some_and(|oldest| oldest.expires <= now) || self.0.len() >= CAPACITY {
            self.0.pop_front();
        }
        let secret = format!("logs_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.0.push_back(LogsToken { secret: secret.clone(), prebuild, expires: now + LIFETIME });
        secret
    }

    /// Whether a token opens the logs of a prebuild now.
    pub(super) fn admits(&self, secret: &str, prebuild: Uuid, now: SystemTime) -> bool {
        self.0.iter().any(|token| token.secret == secret && token.prebuild == prebuild && now < token.expires)
    }
}
