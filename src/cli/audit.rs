//! `audit`: what the log says, and whether it is what was written. Everything is read from files; nothing is asked or sent.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;

use super::{Failure, complain, print};
use crate::audit::{
    read::{Begin, Found, Instance, Joined, ReadError, Recorded, Unjudged, View, Word},
    verify::{Kept, Report, Trust, VerifyError, verify},
};

mod find;
mod key;
mod prove;
mod replay;
mod stats;
mod tail;
mod verify;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every record, checkpoint and file, and name the first bad record.
    #[command(after_help = "Exit codes: 0 good, 1 bad or not to be read, 2 wrong usage")]
    Verify(verify::Args),
    /// Print the newest records, and those that come.
    Tail(tail::Args),
    /// Print the records that fit, of all instances by time.
    Find(find::Args),
    /// Prove that a record is in the log, or that the log still begins as it did at an older checkpoint: in a form that is
    /// checked without the log.
    #[command(after_help = "Exit codes: 0 proven, 1 not to be proven or bad, 2 wrong usage")]
    Prove(prove::Args),
    /// Judge the calls that are on record by another policy, and list those that it would decide otherwise.
    Replay(replay::Args),
    /// Count records by stage, org, method and code.
    Stats(stats::Args),
    /// Make a signing key and print it (Ed25519, PKCS #8, PEM).
    Keygen,
    /// Print the verifier key of a signing key or of a public key, in PEM, for one log.
    Key(key::Args),
}

/// The logs that a command reads.
#[derive(Debug, clap::Args)]
struct Logs {
    /// The directory of the log: `audit.directory`, or one instance in it.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// A command that reads, of which something was found to be bad.
const EXIT_BAD: u8 = 1;

pub(super) async fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify(args) => verify::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Find(args) => find::run(args),
        Command::Prove(args) => prove::run(args),
        Command::Replay(args) => replay::run(args).await,
        Command::Stats(args) => stats::run(args),
        Command::Keygen => key::generate(),
        Command::Key(args) => key::run(args),
    }
}

impl Logs {
    /// At least one.
    fn open(&self) -> Result<Vec<Instance>, Failure> {
        let instances = Instance::all(&self.directory)?;
        if instances.is_empty() {
            return Err(Failure::new(format!("{}: there is no audit log", self.directory.display())));
        }
        Ok(instances)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Self::new(error.to_string())
    }
}

/// A file that the command line names.
fn named(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The key that `--public-key` names.
fn trust(path: Option<&Path>) -> Result<Trust, Failure> {
    let Some(path) = path else { return Ok(Trust::Beside) };
    Trust::parse(&named(path)?).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// A checkpoint that the command line names.
fn kept(path: &Path) -> Result<Kept, Failure> {
    let kept = Kept::parse(named(path)?);
    kept.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Shows records as they stand in the log. Says whether anybody still reads.
fn show<'a>(found: impl IntoIterator<Item = &'a Found>) -> Result<bool, Failure> {
    let mut lines = Vec::new();
    for found in found {
        lines.extend_from_slice(&found.record);
        lines.push(b'\n');
    }
    let mut out = io::stdout().lock();
    match out.write_all(&lines).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        // Who has seen enough, like `head`, does not want the rest of a large log to be read.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("cannot write: {error}"))),
    }
}
