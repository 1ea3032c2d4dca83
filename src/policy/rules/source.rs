//! The text of rules: where one ends and the next begins, and whether it is small enough to be read.
//!
//! Cedar's reader and typechecker call themselves for each level of an expression, and its evaluator gives up when the
//! stack runs low. So a rule is bounded before Cedar sees it: what loads is also judged, on any thread.

use super::mistake::Mistake;

/// Text of all files. More is a mistake of whoever generates them.
const MAX_BYTES: usize = 256 * 1024;
/// Rules of all files: each is looked at on every call that it may concern.
const MAX_RULES: usize = 256;
/// Brackets within brackets.
const MAX_NESTING: usize = 8;
/// `if` within `if`: what reads a rule may take each branch twice.
const MAX_IFS: usize = 8;
/// What may nest without brackets: `a.b`, `a && b`, `if a then b else if c ..`.
const MAX_OPERATORS: usize = 128;

/// One rule as it stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source<'t> {
    pub(super) file: &'t str,
    /// Of its first letter, from 1.
    pub(super) line: usize,
    /// To its `;`.
    pub(super) text: &'t str,
}

/// Reads letters, past strings and comments.
#[derive(Debug)]
struct Scan<'t> {
    text: &'t str,
    at: usize,
}

/// What stands somewhere in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Gap,
    Open,
    Close,
    Operator,
    If,
    End,
    Other,
}

/// How deep a rule nests.
#[derive(Clone, Copy, Debug, Default)]
struct Depth {
    open: usize,
    deepest: usize,
    operators: usize,
    ifs: usize,
}

/// The rules of all files, in their order.
///
/// # Errors
/// There is more than the bounds allow, or a rule has no end.
pub(super) fn split(files: &[(String, String)]) -> Result<Vec<Source<'_>>, Vec<Mistake>> {
    let mut bytes = 0;
    let (mut sources, mut mistakes) = (Vec::new(), Vec::new());
    for (file, text) in files {
        bytes += text.len();
        if bytes > MAX_BYTES {
            return Err(vec![Mistake::of_file(
                file,
                format_args!("the rules have more than {MAX_BYTES} bytes"),
            )]);
        }
        split_file(file, text, &mut sources, &mut mistakes);
    }
    if let Some(source) = sources.get(MAX_RULES) {
        mistakes.push(Mistake::of_rule(source, format_args!("there are more than {MAX_RULES} rules")));
    }
    if mistakes.is_empty() { Ok(sources) } else { Err(mistakes) }
}

fn split_file<'t>(file: &'t str, text: &'t str, sources: &mut Vec<Source<'t>>, mistakes: &mut Vec<Mistake>) {
    let mut scan = Scan { text, at: 0 };
    let mut begun: Option<(usize, Depth)> = None;
    loop {
        let start = scan.at;
        let token = scan.next();
        if token.is_none_or(|token| token == Token::End) {
            let (from, depth) = begun.take().unwrap_or((start, Depth::default()));
            let source =
                Source { file, line: line_of(text, from), text: text.get(from..scan.at).unwrap_or("") };
            match (token, source.text) {
                (None, "") => return,
                (None, _) => mistakes.push(Mistake::of_rule(&source, "does not end with `;`")),
                (Some(_), _) => match depth.problem() {
                    Some(problem) => mistakes.push(Mistake::of_rule(&source, problem)),
                    None => sources.push(source),
                },
            }
        } else if let Some(token) = token.filter(|token| begun.is_some() || *token != Token::Gap) {
            begun.get_or_insert((start, Depth::default())).1.add(token);
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

impl<'t> Source<'t> {
    /// As a person reads it: Cedar may not be able to.
    pub(super) fn id(&self) -> Option<&'t str> {
        let (_, rest) = self.text.split_once("@id(\"")?;
        rest.split_once('"').map(|(id, _)| id).filter(|id| !id.is_empty() && id.len() <= 64)
    }

    /// The line of the file that a place in the rule is on.
    pub(super) fn line_at(&self, at: usize) -> usize {
        self.line + line_of(self.text, at) - 1
    }
}

impl Scan<'_> {
    /// One token, as Cedar's grammar has strings and comments.
    fn next(&mut self) -> Option<Token> {
        let rest = self.text.get(self.at..)?;
        let first = rest.chars().next()?;
        let word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let (length, token) = match first {
            '"' => (string(rest), Token::Other),
            '/' if rest.starts_with("//") => (rest.find(['\n', '\r']).unwrap_or(rest.len()), Token::Gap),
            _ if first.is_whitespace() => (first.len_utf8(), Token::Gap),
            '(' | '[' | '{' => (1, Token::Open),
            ')' | ']' | '}' => (1, Token::Close),
            ';' => (1, Token::End),
            ',' | ':' | '@' | '?' => (1, Token::Other),
            _ if word(first) => {
                let length = rest.find(|letter| !word(letter)).unwrap_or(rest.len());
                let nests = matches!(rest.get(..length), Some("in" | "has" | "is" | "like"));
                match nests {
                    _ if rest.get(..length) == Some("if") => (length, Token::If),
                    true => (length, Token::Operator),
                    false => (length, Token::Other),
                }
            }
            _ => (first.len_utf8(), Token::Operator),
        };
        self.at += length;
        Some(token)
    }
}

/// The length of the string that a text begins with.
fn string(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

impl Depth {
    fn add(&mut self, token: Token) {
        match token {
            Token::Open => self.open += 1,
            Token::Close => self.open = self.open.saturating_sub(1),
            Token::Operator => self.operators += 1,
            Token::If => self.ifs += 1,
            Token::Gap | Token::End | Token::Other => {}
        }
        self.deepest = self.deepest.max(self.open);
    }

    fn problem(self) -> Option<String> {
        if self.deepest > MAX_NESTING {
            Some(format!("has more than {MAX_NESTING} brackets within each other"))
        } else if self.operators > MAX_OPERATORS {
            Some(format!("has more than {MAX_OPERATORS} operators"))
        } else if self.ifs > MAX_IFS {
            Some(format!("has more than {MAX_IFS} of `if`"))
        } else {
            None
        }
    }
}
