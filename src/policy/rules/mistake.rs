//! What is wrong with a file of rules: one line each, for whoever wrote it.

use std::fmt;

use cedar_policy::ffi::DetailedError;

use super::source::Source;

/// A line of a terminal or two; a message of Cedar's may list every name that it knows.
const MAX_CHARS: usize = 300;

/// One mistake, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub file: String,
    /// From 1; none where the file as a whole is meant.
    pub line: Option<usize>,
    /// The rule's id, where it has one that can be read.
    pub rule: Option<String>,
    pub problem: String,
}

impl Mistake {
    pub(super) fn of_file(file: &str, problem: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line: None, rule: None, problem: one_line(&problem.to_string()) }
    }

    pub(super) fn of_rule(source: &Source<'_>, problem: impl fmt::Display) -> Self {
        Self {
            file: source.file.to_owned(),
            line: Some(source.line),
            rule: source.id().map(one_line),
            problem: one_line(&problem.to_string()),
        }
    }

    /// What Cedar says of a rule, at the place that it means.
    pub(super) fn told(source: &Source<'_>, told: &DetailedError) -> Self {
        let said = match told.message.strip_prefix("for policy `").and_then(|rest| rest.split_once('`')) {
            Some((_, problem)) => problem.trim_start_matches([',', ':', ' ']),
            None => &told.message,
        };
        let mut mistake = match &told.help {
            Some(help) => Self::of_rule(source, format_args!("{said} ({help})")),
            None => Self::of_rule(source, said),
        };
        if let Some(label) = told.source_locations.first() {
            mistake.line = Some(source.line_at(label.loc.start));
        }
        mistake
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ": rule `{rule}`")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Whatever a file holds, its mistakes are text of one line.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_CHARS).collect()
}
