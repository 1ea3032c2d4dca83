//! The policy changes while the gateway runs: its files are followed.

use tokio::task::spawn_blocking;

use super::files::Files;
use crate::{
    admin::Check,
    budget::Budgets,
    config::{ConfigError, POLICY_FILE, PolicyFile},
    follow::{Follow, Taken},
    policy::{Edition, Policy, Source, Texts},
    telemetry::Metrics,
};

/// The files, and what judges by them.
#[derive(Debug)]
struct FollowedPolicy {
    file: PolicyFile,
    policy: Policy,
    budgets: Budgets,
    metrics: Metrics,
}

/// Puts the first edition in force, and follows the file that it is from.
pub(super) fn begin(
    first: Edition,
    file: Option<PolicyFile>,
    source: &Source,
    files: &mut Files,
    budgets: &Budgets,
    metrics: &Metrics,
) -> Policy {
    budgets.follow(&first.budgeted());
    metrics.policy_in_force(first.version().as_str());
    let policy = Policy::new(first);
    if let Some(file) = file {
        let first = Ok(file.first().clone());
        let (policy, budgets, metrics) = (policy.clone(), budgets.clone(), metrics.clone());
        files.follow(FollowedPolicy { file, policy, budgets, metrics }, first, source.reload_interval);
    }
    policy
}

impl Follow for FollowedPolicy {
    type Look = Result<Texts, ConfigError>;

    fn key(&self) -> String {
        POLICY_FILE.to_owned()
    }

    fn look(&self) -> Self::Look {
        self.file.read()
    }

    async fn take(&self, look: Self::Look) -> Taken {
        let file = self.file.clone();
        // It takes as long as the rules are many, and calls are served meanwhile.
        let read = spawn_blocking(move || look.and_then(|texts| file.edition(&texts))).await;
        let edition = read.unwrap_or_else(|_| Err(ConfigError::new(POLICY_FILE, "cannot be judged")));
        let taken = edition.map(|edition| {
            self.metrics.policy_in_force(edition.version().as_str());
            let budgeted = edition.budgeted();
            self.policy.replace(edition);
            self.budgets.follow(&budgeted);
        });
        taken.into()
    }
}

/// Shown only: which policy judges, and why the newer one does not.
pub(super) fn check(policy: &Policy, files: &Files) -> Check {
    let edition = policy.edition();
    let revision = edition.revision().map(|revision| format!(" ({revision})")).unwrap_or_default();
    let version = format!("version {}{revision}", edition.version());
    match files.problem(POLICY_FILE) {
        None => Check::shown("policy", true).with_detail(version),
        Some(problem) => {
            let detail = format!("{version}; what the file holds now is not in force: {problem}");
            Check::shown("policy", false).with_detail(detail)
        }
    }
}
