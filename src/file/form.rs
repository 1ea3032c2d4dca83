//! TOML texts as values of a type, and what is wrong with one in a line that names the key.

use std::fmt;

use serde::de::DeserializeOwned;

/// What is wrong, in one line that names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Misfit {
    /// The path of the key, `upstream.base_url`; the line or the file where there is no key.
    pub key: String,
    pub problem: String,
}

/// Reads a text of the form of `T`. serde shows what it does not like: of a value at a path for which `secret` has a
/// text it is that text that is shown.
///
/// # Errors
/// The text is not TOML, or not of this form.
pub fn read<T: DeserializeOwned>(
    text: &str,
    secret: impl Fn(&str) -> Option<&'static str>,
) -> Result<T, Misfit> {
    let toml = toml::Deserializer::parse(text).map_err(|error| misplaced(text, &error))?;
    serde_path_to_error::deserialize(toml).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        if let Some(problem) = secret(path) {
            return Misfit::new(path, problem);
        }
        match Misfit::at(path, error.inner().message()) {
            top if top.key.is_empty() => misplaced(text, error.inner()),
            error => error,
        }
    })
}

/// An error that no key can be named for.
fn misplaced(text: &str, error: &toml::de::Error) -> Misfit {
    let key = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    match error.message() {
        // Other spans may cover a value, which may be a secret.
        message @ "duplicate key" => Misfit::new(line_of(text, error), format_args!("{message} `{key}`")),
        message => Misfit::new(line_of(text, error), message),
    }
}

impl Misfit {
    pub fn new(key: impl fmt::Display, problem: impl fmt::Display) -> Self {
        // One line, whatever a library says.
        let problem = problem.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { key: key.to_string(), problem }
    }

    /// What serde says of the value at `path`. What it says of a key in it is said of that key.
    fn at(path: &str, message: &str) -> Self {
        let below = |name: &str| match path {
            "" => name.to_owned(),
            path if path.ends_with(&format!(".{name}")) || path == name => path.to_owned(),
            path => format!("{path}.{name}"),
        };
        if let Some((name, _)) = quoted(message, "missing field `") {
            return Self::new(below(name), "is required");
        }
        if let Some((name, expected)) = quoted(message, "unknown field `") {
            return Self::new(below(name), format_args!("is not a key{expected}"));
        }
        Self::new(path, message)
    }
}

/// `line N`, where an error has no key.
fn line_of(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}")
}

/// The name after `before`, and what follows its closing quote.
fn quoted<'m>(message: &'m str, before: &str) -> Option<(&'m str, &'m str)> {
    message.strip_prefix(before)?.split_once('`')
}
