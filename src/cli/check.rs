//! `check`: what is wrong with a configuration, before it runs.

use std::{path::PathBuf, process::ExitCode};

use super::{Failure, env, print};
use crate::{config::Config, upstream::Client};

#[derive(Debug, clap::Args)]
#[group(required = true)]
pub(super) struct Args {
    /// The configuration to check, with the files and environment variables that it names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the JSON Schema of the configuration.
    #[arg(long)]
    schema: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.schema {
        let schema = schemars::schema_for!(Config);
        let schema =
            serde_json::to_string_pretty(&schema).map_err(|error| Failure::new(error.to_string()))?;
        print(format_args!("{schema}\n"))?;
    }
    if let Some(path) = &args.config {
        let resolved = Config::load(path).and_then(|config| config.resolve(&env)).map_err(Failure::config)?;
        let config = &resolved.config;
        Client::new(&config.upstream, resolved.base, resolved.credentials)
            .map_err(|error| Failure::config(format!("{}: {error}", error.key())))?;
        let (orgs, keys) = (config.orgs.len(), config.identity.api_keys.len());
        let (path, url) = (path.display(), &config.upstream.base_url);
        print(format_args!("{path}: ok ({orgs} orgs, {keys} keys, upstream {url})\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
