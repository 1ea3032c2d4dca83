//! `audit verify`

use super::{
    EXIT_BAD, ExitCode, Failure, Kept, Logs, PathBuf, Report, Trust, complain, kept, print, trust, verify,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    logs: Logs,
    /// The public key: PEM, or verifier keys as in `key.pub`, one a line. By default the `key.pub` beside each log, which
    /// proves nothing against whoever can write there.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere: shows whether the log was rolled back. May stand several times, for several
    /// instances.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let instances = args.logs.open()?;
    let trust = trust(args.public_key.as_deref())?;
    let kept: Vec<Kept> = args.checkpoint.iter().map(|path| kept(path)).collect::<Result<_, _>>()?;
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
            "signed up to {} by the key of {}; the chain alone holds what is behind",
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
