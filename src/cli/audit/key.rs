//! `audit keygen` and `audit key`

use secrecy::ExposeSecret as _;

use super::{ExitCode, Failure, PathBuf, named, print};
use crate::audit::key::{Origin, PublicKey, SigningKey, VerifierKey};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A signing key or a public key, in PEM.
    #[arg(value_name = "FILE")]
    key: PathBuf,
    /// What the log's checkpoints begin with: `<audit.origin>/<instance>`. Without it, the public key in PEM is printed.
    #[arg(long)]
    origin: Option<Origin>,
}

pub(super) fn generate() -> Result<ExitCode, Failure> {
    let pem = SigningKey::generate().and_then(|key| key.to_pem());
    let pem = pem.map_err(|_| Failure::new("no randomness"))?;
    print(pem.expose_secret())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let pem = named(&args.key)?;
    let private = SigningKey::from_pem(pem.as_bytes()).map(|key| key.public());
    let key = private.or_else(|_| PublicKey::from_pem(pem.as_bytes())).map_err(|_| {
        Failure::usage(format!(
            "{}: is no Ed25519 key in PEM, neither a private one nor a public one",
            args.key.display()
        ))
    })?;
    match &args.origin {
        Some(origin) => print(format_args!("{}\n", VerifierKey::new(origin.clone(), key)))?,
        None => print(key.to_pem())?,
    }
    Ok(ExitCode::SUCCESS)
}
