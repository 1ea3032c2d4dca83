//! The keys of issuers of tokens, kept fresh while the gateway runs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::files::Files;
use crate::{
    admin::Check,
    config::{Fetched, Tokens},
    identity::jwt::Issuers,
    telemetry::Metrics,
};

/// Follows those in files, looking `every` so often, and fetches the others until `stop`.
pub(super) fn keep_fresh(
    tokens: Tokens,
    files: &mut Files,
    every: Duration,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    for file in tokens.files {
        let first = file.first();
        files.follow(file, first, every);
    }
    for Fetched { jwks, fetch, pace } in tokens.fetches {
        let fetching = jwks.keep_fresh(fetch, pace, metrics.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(fetching));
    }
}

/// Of each issuer whose keys are fetched: shown only, as one issuer's trouble is not that of the others' callers.
pub(super) fn checks(issuers: &Issuers) -> impl Iterator<Item = Check> {
    let fetched = issuers.entries().enumerate().filter(|(_, (config, _))| config.jwks_url.is_some());
    fetched.map(|(index, (_, jwks))| {
        let problem = jwks.problem();
        let check = Check::shown(
            format!("identity.jwt[{index}].jwks_url"),
            jwks.keys().is_some() && problem.is_none(),
        );
        problem.into_iter().fold(check, Check::with_detail)
    })
}
