//! `audit verify`

use super::{
    Begin, EXIT_BAD, ExitCode, Failure, Instance, Kept, Logs, Path, PathBuf, Report, Trust, complain, fs,
    kept, print, trust, verify,
};
use crate::audit::read::Line;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    logs: Logs,
    /// The public keys: PEM, or verifier keys as in `key.pub`, one a line. By default the `key.pub` beside each log, which
    /// proves nothing against whoever can write there.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere, or the directory of `audit.checkpoints` with one of each log: shows whether the
    /// log was rolled back. May stand several times.
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let instances = args.logs.open()?;
    let trust = trust(args.public_key.as_deref())?;
    let kept = args.kept(&instances)?;
    let mut good = true;
    for instance in &instances {
        let its = kept.iter().filter(|kept| !instance.is_named() || kept.origin().is_of(instance.name()));
        let its: Vec<_> = its.collect();
        let report = verify(instance, &trust, &its)?;
        good &= report.is_good();
        print(told(&report, instance.name(), &trust))?;
    }
    // A log that is gone as a whole has left no record that could be bad.
    let is_of_any =
        |kept: &&Kept| instances.iter().any(|one| !one.is_named() || kept.origin().is_of(one.name()));
    for kept in kept.iter().filter(|kept| !is_of_any(kept)) {
        good = false;
        complain(format_args!("{}: BAD: the log of this checkpoint is not there\n", kept.origin()));
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BAD) })
}

impl Args {
    /// What was kept. Of a log by itself, a directory's checkpoints of others say nothing.
    fn kept(&self, instances: &[Instance]) -> Result<Vec<Kept>, Failure> {
        let only = match instances {
            [one] if !one.is_named() => name(one)?,
            _ => None,
        };
        let mut all = Vec::new();
        for path in &self.checkpoint {
            if path.is_dir() {
                let is_of_it = |kept: &Kept| only.as_ref().is_none_or(|log| kept.origin().is_of(log));
                all.extend(within(path)?.into_iter().filter(is_of_it));
            } else {
                all.push(kept(path)?);
            }
        }
        Ok(all)
    }
}

/// The log that the first record is of.
fn name(instance: &Instance) -> Result<Option<String>, Failure> {
    let Some(segment) = instance.segments().first() else { return Ok(None) };
    let mut lines = segment.lines()?;
    let Line::Record(record) = lines.next()? else { return Ok(None) };
    Ok(Begin::parse(record).map(|begin| begin.log.to_owned()))
}

/// The checkpoints in a directory, by name. What is hidden is being written, or was left by a crash.
fn within(directory: &Path) -> Result<Vec<Kept>, Failure> {
    let failed = |error| Failure::usage(format!("{}: {error}", directory.display()));
    let paths = fs::read_dir(directory).map_err(failed)?;
    let paths = paths.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    let mut paths: Vec<_> = paths.collect::<Result<_, _>>()?;
    let is_hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| !is_hidden(path));
    paths.sort_unstable();
    paths.iter().map(|path| kept(path)).collect()
}

fn told(report: &Report, directory: &str, trust: &Trust) -> String {
    let log = if report.log.is_empty() { directory } else { &report.log };
    let mut text = String::new();
    let mut line = |what: String| text += &format!("{log}: {what}\n");
    if let Some(fault) = &report.fault {
        line(format!("BAD: {fault}"));
    }
    for lost in &report.lost {
        let (first, last) = (lost.start, lost.end - 1);
        line(format!(
            "LOST: records {first} to {last} were signed and are gone: their file was removed or cut"
        ));
    }
    let Report { records, first, files, bytes, .. } = report;
    line(format!(
        "consistent up to {records}: records {first} to {records}, this one not included, in {files} files, {bytes} bytes"
    ));
    match &report.signed {
        Some(signed) => line(format!(
            "signed up to {} by the key of {}; whoever can write the log can also have written what is behind",
            signed.checkpoint.size, signed.checkpoint.origin
        )),
        None => line("nothing of it is signed".to_owned()),
    }
    for void in &report.void {
        line(format!(
            "void: records {} to {}, as the file that had them failed or was removed",
            void.start,
            void.end - 1
        ));
    }
    let void = report.void.first().filter(|void| void.end == *first);
    let pruned = void.map_or(*first, |void| void.start);
    if pruned > 0 {
        line(format!("pruned: what is before record {pruned}"));
    }
    if report.open > 0 {
        line(format!("calls whose end is not on record yet: {}", report.open));
    }
    if report.torn {
        line("the newest file ends within a record: it is being written, or a crash has torn it".to_owned());
    }
    if report.is_good() {
        line(match report.kept {
            true => "good, and not rolled back behind the checkpoint that was kept".to_owned(),
            false => "good; roll-back not excluded: no checkpoint kept elsewhere was given (--checkpoint)"
                .to_owned(),
        });
    }
    if *trust == Trust::Beside {
        line("the key is the one beside the log: this proves nothing against whoever can write there (--public-key)".to_owned());
    }
    text
}
