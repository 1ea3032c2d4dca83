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

impl Mistake {
    /// The file and the line.
    pub fn place(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}", self.file)
    }

    /// The rule and its problem.
    pub fn said(&self) -> String {
        let rule = self.rule.as_ref().map(|rule| format!("rule `{rule}`: ")).unwrap_or_default();
        format!("{rule}{}", self.problem)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.said())
    }
}

/// Whatever a file holds, its mistakes are text of one line, and read as they are written.
fn one_line(text: &str) -> String {
    let blank = |letter: char| letter.is_control() || is_unseen(letter);
    text.chars().map(|letter| if blank(letter) { ' ' } else { letter }).take(MAX_CHARS).collect()
}

/// Ends a line where no control character does, or changes the direction in which a text is shown (Unicode's
/// `Bidi_Control`): what stands there would look like something else.
const fn is_unseen(letter: char) -> bool {
    matches!(
        letter,
        '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{2029}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}
