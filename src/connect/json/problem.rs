//! What may be wrong with a message, in constant words.

use thiserror::Error;

/// JSON that is not the message it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}{}", shown(path))]
pub struct ReadError {
    pub problem: ReadProblem,
    /// Where, as far as the schema knows the way: `prebuilds.status`. Empty at the top.
    pub path: String,
}

/// What is wrong with JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadProblem {
    #[error("the text is not UTF-8")]
    Utf8,
    #[error("the text is not well-formed JSON, or nested too deep")]
    Syntax,
    #[error("the JSON text ends too early")]
    Truncated,
    #[error("a JSON value has the wrong type")]
    Type,
    #[error("a number is out of range")]
    Range,
    #[error("a number is malformed")]
    Number,
    #[error("a duration is malformed or out of range")]
    Duration,
    #[error("a timestamp is malformed or out of range")]
    Timestamp,
    #[error("a value is not base64")]
    Base64,
    #[error("a field is given more than once")]
    Duplicate,
    #[error("messages are nested too deep")]
    Depth,
    #[error("the type that an Any names is absent or not known here")]
    AnyType,
    #[error("the field's type has no JSON form here")]
    Unsupported,
}

/// Protobuf bytes that cannot be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}{}", shown(path))]
pub struct WriteError {
    pub problem: WriteProblem,
    /// Where, as far as the schema knows the way. Empty at the top.
    pub path: String,
}

/// What keeps protobuf bytes from being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteProblem {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("a duration is out of range or of mixed sign")]
    Duration,
    #[error("a timestamp is out of range")]
    Timestamp,
    #[error("the encoding is not canonical: fields out of order, or twice")]
    Order,
    #[error("the type that an Any names is absent or not known here")]
    AnyType,
    #[error("the field's type has no JSON form here")]
    Unsupported,
}

/// Bytes that are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("the protobuf bytes are malformed")]
    Malformed,
    #[error("messages are nested too deep")]
    Depth,
}

impl WriteError {
    /// The same, seen from the message around it.
    pub(super) fn inside(mut self, field: &str) -> Self {
        self.path = if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }
}

impl<P: Into<WriteProblem>> From<P> for WriteError {
    fn from(problem: P) -> Self {
        Self { problem: problem.into(), path: String::new() }
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {path}") }
}
