//! The commands.

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};

mod audit;
mod call;
mod cases;
mod check;
mod dev;
mod explain;
mod keys;
mod message;
mod serve;
mod trial;
mod verdict;

/// `EX_CONFIG` of sysexits.h: unsafe or wrong configuration does not start.
const EX_CONFIG: u8 = 78;

/// As clap has it.
const EX_USAGE: u8 = 2;
/// As grpcurl has it: a gRPC status code on top of this.
const EXIT_BASE: u8 = 64;
/// How long the end waits for what still blocks, as a sink does that nobody reads: a file is written by then.
const LAST: Duration = Duration::from_secs(1);

/// Guardrails for the Prebuild API of Gitpod/Ona: identity, validation, rate limits and audit in front of
/// gitpod.v1.PrebuildService.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway with demo orgs and an embedded sandbox upstream: nothing else is needed.
    Dev(dev::Args),
    /// Run the gateway.
    Serve(serve::Args),
    /// Say what is wrong with a configuration, by key; exit code 78 if anything is.
    Check(check::Args),
    /// Call a method of a gateway over gRPC; exit code 64 plus the gRPC status code.
    Call(call::Args),
    /// Say what a policy would do to a call, from files alone: nothing is asked or sent.
    Explain(explain::Args),
    /// Read the audit log, check it, and prove what it says.
    #[command(subcommand)]
    Audit(audit::Command),
    /// API keys.
    #[command(subcommand)]
    Keys(keys::Command),
}

/// What a command fails with: one line, and the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(format!("no runtime: {error}")).exit(),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Dev(args) => dev::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Check(args) => check::run(&args).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Call(args) => call::run(args).await,
            Command::Audit(command) => audit::run(&command).await,
            Command::Keys(command) => keys::run(&command),
        }
    });
    runtime.shutdown_timeout(LAST);
    result.unwrap_or_else(|failure| failure.exit())
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    fn config(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: EX_CONFIG }
    }

    /// The command line asks for what there is not.
    fn usage(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: EX_USAGE }
    }

    fn exit(self) -> ExitCode {
        complain(format_args!("prebuild-gateway: {}\n", self.message));
        ExitCode::from(self.code)
    }
}

/// Writes a command's own output. (`print!` panics when nobody reads.)
fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        // A reader that has seen enough, like `head`, is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says what is wrong. Where nobody reads, the exit code says it alone.
fn complain(text: impl Display) {
    let _unread = write!(io::stderr().lock(), "{text}");
}

/// The process's environment.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
