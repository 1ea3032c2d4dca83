//! `audit prove`

use super::{
    EXIT_BAD, ExitCode, Failure, Instance, Kept, Logs, PathBuf, complain, kept, print, trust, verify,
};
use crate::audit::prove::{ProveError, consistency, inclusion};

/// The log is verified before: of a bad one nothing is proven.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    logs: Logs,
    /// Prove that the record with this number is in the log: a C2SP tlog-proof, with the record in base64, the hashes, and
    /// the newest checkpoint.
    #[arg(long, value_name = "N", required_unless_present = "between", conflicts_with = "between")]
    record: Option<u64>,
    /// Prove that the log still begins as it did at this checkpoint: the hashes and the newest checkpoint, as a C2SP
    /// tlog-witness takes them.
    #[arg(long, value_name = "CHECKPOINT")]
    between: Option<PathBuf>,
    /// The instance, where there are several.
    #[arg(long)]
    instance: Option<String>,
    /// The public key: PEM, or verifier keys; by default the `key.pub` beside the log.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let old = args.between.as_deref().map(kept).transpose()?;
    let instance = args.instance(old.as_ref())?;
    let its: Vec<_> = old.iter().collect();
    let report = verify(&instance, &trust(args.public_key.as_deref())?, &its)?;
    if let Some(fault) = &report.fault {
        complain(format_args!("{}: BAD: {fault}\n", instance.name()));
        return Ok(ExitCode::from(EXIT_BAD));
    }
    let proof = match (&old, args.record) {
        (Some(old), _) => consistency(&instance, &report, old.says()),
        (None, Some(record)) => inclusion(&instance, &report, record),
        (None, None) => return Err(Failure::usage("either --record or --between")),
    };
    print(proof.map_err(|error: ProveError| Failure::new(error.to_string()))?)?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// The one that is named, the one that the checkpoint is of, or the only one.
    fn instance(&self, old: Option<&Kept>) -> Result<Instance, Failure> {
        let mut instances = self.logs.open()?;
        instances.retain(|one| match (&self.instance, old) {
            (Some(name), _) => one.name() == name,
            (None, Some(old)) if one.is_named() => old.origin().is_of(one.name()),
            (None, _) => true,
        });
        match (instances.pop(), instances.len()) {
            (Some(only), 0) => Ok(only),
            (Some(_), _) => Err(Failure::usage("there are several instances: name one with --instance")),
            (None, _) => Err(Failure::usage("there is no such instance")),
        }
    }
}
