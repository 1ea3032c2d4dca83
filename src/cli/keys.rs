//! `keys new`: a key for a caller.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, print};
use crate::identity::api_key::NewKey;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new key and print it with its hash. The key is shown this once.
    New,
}

pub(super) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::New => {
            let new = NewKey::generate().map_err(|error| Failure::new(format!("no randomness: {error}")))?;
            print(format_args!(
                "key     {}    (for the caller; it is not shown again)\n\
                 sha256  {}    (for identity.api_keys)\n",
                new.key, new.sha256
            ))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
