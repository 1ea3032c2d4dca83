//! `keys new`: a key for a caller.

use std::process::ExitCode;

use clap::Subcommand;
use uuid::Uuid;

use super::{Failure, print};
use crate::{config::keys::entries, identity::api_key::NewKey};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new key and print it with its entry for the config or the key file. The key is shown this once.
    New(New),
}

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Names the key in the audit log; a new name by default.
    #[arg(long)]
    id: Option<String>,
    /// Who calls with it.
    #[arg(long, default_value = "SUBJECT")]
    subject: String,
    /// For which org.
    #[arg(long, default_value = "ORG")]
    org: String,
    /// When it ends, by RFC 3339: 2027-01-31T00:00:00Z. It does not by default.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// What it is good for: read, mutate, secret, or names of methods, parted by commas. All three by default.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
}

pub(super) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::New(new) => {
            let key = NewKey::generate().map_err(|error| Failure::new(format!("no randomness: {error}")))?;
            let entry = new.entry(&key);
            // What is pasted must be taken.
            entries(&entry).map_err(|error| Failure::new(error.to_string()))?;
            print(format_args!(
                "key     {}    (for the caller; it is not shown again)\n\n\
                 # For the config, or the file of identity.keys_file:\n{entry}",
                key.key
            ))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl New {
    fn entry(&self, key: &NewKey) -> String {
        // The random end of a version 7 UUID.
        let id = self.id.clone().unwrap_or_else(|| {
            let uuid = Uuid::now_v7().simple().to_string();
            format!("key-{}", &uuid[uuid.len() - 8..])
        });
        let Self { subject, org, expires, scopes, .. } = self;
        let mut entry = format!(
            "[[identity.api_keys]]\nid = {id:?}\nsubject = {subject:?}\norg = {org:?}\nsha256 = \"{}\"\n",
            key.sha256
        );
        if let Some(expires) = expires {
            entry += &format!("expires = {expires:?}\n");
        }
        if !scopes.is_empty() {
            entry += &format!("scopes = {scopes:?}\n");
        }
        entry
    }
}
