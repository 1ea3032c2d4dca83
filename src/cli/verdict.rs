//! The verdict of a dry run, for people: of a gateway that runs (`call --dry-run`) or of files alone (`explain`).

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use crate::proto::prebuildgateway::v1::{
    Verdict,
    verdict::{Mode, Outcome, Quota, Ruling},
};

#[cfg(test)]
mod tests;

/// One line that says it all, then a line for each rule, rate and field.
pub(super) struct Shown<'v>(pub(super) &'v Verdict);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.0;
        let by = match verdict.policy.as_str() {
            "" => String::new(),
            version => format!(" (policy {version})"),
        };
        match &verdict.refusal {
            None => writeln!(f, "would be forwarded{by}")?,
            Some(refusal) => {
                let rule =
                    if refusal.rule.is_empty() { String::new() } else { format!(", {}", refusal.rule) };
                writeln!(f, "would be refused: {}, {}{rule}{by}", refusal.code, refusal.reason)?;
            }
        }
        let width = verdict.rulings.iter().map(|ruling| ruling.rule.len()).max().unwrap_or_default();
        for ruling in &verdict.rulings {
            writeln!(f, "  {}", line(ruling, width))?;
        }
        if verdict.kept_left_out > 0 {
            writeln!(f, "  and {} more that are kept", verdict.kept_left_out)?;
        }
        if verdict.broken_left_out > 0 {
            writeln!(f, "  and {} more that are broken", verdict.broken_left_out)?;
        }
        for quota in &verdict.quotas {
            writeln!(f, "  {}", left(quota))?;
        }
        for field in &verdict.written_fields {
            writeln!(f, "  default  {field} is written")?;
        }
        if !verdict.request_json.is_empty() {
            writeln!(f, "  sends    {}", verdict.request_json)?;
        }
        Ok(())
    }
}

/// `enforce  broken  limits.max_timeout  spec.timeout must be at most 3600s: ask the platform team; https://...`
fn line(ruling: &Ruling, width: usize) -> String {
    let mode = match (ruling.candidate, ruling.mode()) {
        (true, _) => "tried",
        (false, Mode::Enforce) => "enforce",
        (false, Mode::Warn) => "warn",
        (false, Mode::Audit) => "audit",
        (false, Mode::Unspecified) => "-",
    };
    let outcome = match ruling.outcome() {
        Outcome::Kept => "kept",
        Outcome::Broken => "broken",
        Outcome::Failed => "failed",
        Outcome::Unspecified => "-",
    };
    let mut line = format!("{mode:<7}  {outcome:<6}  {:<width$}", ruling.rule);
    for (before, text) in
        [("  ", &ruling.field), (" ", &ruling.bound), (": ", &ruling.message), ("; ", &ruling.link)]
    {
        if !text.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(line, "{before}{text}");
        }
    }
    line.trim_end().to_owned()
}

fn left(quota: &Quota) -> String {
    let full = Duration::try_from_secs_f64(quota.full_in_seconds).unwrap_or_default();
    let full = Duration::from_millis(u64::try_from(full.as_millis()).unwrap_or(u64::MAX));
    format!(
        "rate     {}: {} of {} left, all in {}",
        quota.rule,
        quota.remaining,
        quota.burst,
        humantime::format_duration(full)
    )
}
