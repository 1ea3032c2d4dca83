//! `serve`: the gateway, until SIGTERM or SIGINT.

use std::{path::PathBuf, process::ExitCode};

use super::{Failure, env};
use crate::{
    app::{App, Listeners, StartError},
    config::Config,
    server::Signals,
    telemetry::{self, Telemetry},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration; deploy/gateway.example.toml explains every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let resolved =
        Config::load(&args.config).and_then(|config| config.resolve(&env)).map_err(Failure::config)?;
    let telemetry = telemetry(&resolved.config.telemetry)?;
    let config = &resolved.config;
    let listeners = Listeners::bind(config.listen, config.admin)
        .await
        .map_err(|error| Failure::new(format!("cannot listen: {error}")))?;
    let signals = signals()?;
    let app = App::start_asked(resolved, listeners).await?;
    tracing::info!(gateway = %app.gateway, admin = %app.admin, "serving");
    Ok(until_signal(app, signals, telemetry).await)
}

pub(super) fn telemetry(config: &telemetry::Config) -> Result<Telemetry, Failure> {
    telemetry::init(config, &env).map_err(Failure::config)
}

pub(super) fn signals() -> Result<Signals, Failure> {
    Signals::listen().map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))
}

/// Serves until the first signal, then drains; a second signal ends at once.
pub(super) async fn until_signal(app: App, mut signals: Signals, telemetry: Telemetry) -> ExitCode {
    let signal = signals.next().await;
    tracing::info!(signal, "draining");
    let code = tokio::select! {
        ended = app.drain() => {
            tracing::info!(requests_lost = ended.requests_lost, tasks_lost = ended.tasks_lost, "ended");
            ExitCode::SUCCESS
        }
        signal = signals.next() => {
            tracing::warn!(signal, "ended without draining");
            ExitCode::FAILURE
        }
    };
    telemetry.shutdown().await;
    code
}

impl From<StartError> for Failure {
    /// What the config names and cannot be used is a configuration error, too.
    fn from(error: StartError) -> Self {
        match error {
            StartError::Audit(_)
            | StartError::HashKeys(_)
            | StartError::Upstream(_)
            | StartError::Organization { .. }
            | StartError::Server(_) => Self::config(error),
            StartError::Reflection(_) | StartError::Listen(_) => Self::new(error.to_string()),
        }
    }
}
