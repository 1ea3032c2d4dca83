//! JSON to protobuf bytes: one pass over the text, straight into the wire format.

use bytes::Bytes;
use prost::encoding::encode_key;
use prost_types::field_descriptor_proto::Type;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess};
use serde_json::{error::Category, value::RawValue};

use super::{
    MAX_DEPTH,
    drift::Drift,
    problem::{ReadError, ReadProblem},
    scalar::{Scalar, Token},
    time::Seconds,
    wire::{Open, Records, wire_type},
};
use crate::rpc::{Field, Form, Kind, MessageSchema, Schema};

mod any;
mod map;
mod visit;
use visit::{Key, Slot, Top};

/// How deep an unknown value may nest: the limit that `serde_json` sets for all others.
const MAX_SKIPPED_DEPTH: usize = 128;

/// Repeated keys that are resolved in one text. Each costs a walk over its message, and no honest writer repeats any.
const MAX_REPEATS: usize = 32;

/// What to do with a field that is given twice, in either spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// An error: for requests, where the two could be meant for two readers.
    Reject,
    /// The last one replaces the others, as most JSON readers have it: for replies, which are not ours to judge.
    LastWins,
}

struct Reader<'s> {
    schema: &'s Schema,
    duplicates: Duplicates,
    out: Vec<u8>,
    /// The known fields around the place that is being read. Left as it is when something fails there.
    path: Vec<&'s str>,
    drift: Drift,
    /// How many `Any`s around the place were kept back until their type was known.
    kept: usize,
    /// Set where serde's own error, which tells the category only, would say too little.
    problem: Option<ReadProblem>,
}

/// The fields of a message that were there.
#[derive(Default)]
pub(super) struct Seen {
    low: u128,
    /// Of messages with more fields than `low` has bits.
    high: Vec<usize>,
}

/// Reads a JSON message into protobuf bytes, and tells what in it the schema does not know.
///
/// Fields come out in the order of the text, so the bytes are valid but not canonical; of two members of a oneof, the
/// last one wins there. A value that is skipped because its key is unknown must be well-formed JSON and nest at most
/// 128 deep; it is not looked at otherwise.
///
/// # Errors
/// The text is not JSON for this message.
pub fn to_wire(
    schema: &Schema,
    message: &MessageSchema,
    json: &[u8],
    duplicates: Duplicates,
) -> Result<(Bytes, Drift), ReadError> {
    let text = std::str::from_utf8(json)
        .map_err(|_| ReadError { problem: ReadProblem::Utf8, path: String::new() })?;
    let mut reader = Reader {
        schema,
        duplicates,
        out: Vec::with_capacity(json.len()),
        path: Vec::new(),
        drift: Drift::default(),
        kept: 0,
        problem: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let top = Top { reader: &mut reader, message };
    match deserializer.deserialize_map(top).and_then(|()| deserializer.end()) {
        Ok(()) => Ok((reader.out.into(), reader.drift)),
        Err(error) => Err(reader.error(&error)),
    }
}

impl<'s> Reader<'s> {
    fn object<'de, A: MapAccess<'de>>(&mut self, message: &'s MessageSchema, map: A) -> Result<(), A::Error> {
        if self.path.len() > MAX_DEPTH {
            return Err(self.fail(ReadProblem::Depth));
        }
        match message.form {
            Form::Object => self.fields(message, map, false),
            Form::Any => self.any(map),
            Form::Duration | Form::Timestamp | Form::Other => Err(self.fail(ReadProblem::Unsupported)),
        }
    }

    /// The keys of an object, or those that are left of it when its type (`typed`) has been read.
    fn fields<'de, A: MapAccess<'de>>(
        &mut self,
        message: &'s MessageSchema,
        mut map: A,
        typed: bool,
    ) -> Result<(), A::Error> {
        let start = self.out.len();
        let (mut seen, mut after) = (Seen::default(), 0);
        while let Some(key) = map.next_key_seed(Key { reader: self, message, after, typed })? {
            let Some((index, field)) = key.and_then(|index| Some((index, message.fields.get(index)?))) else {
                self.skip(map.next_value::<&RawValue>()?.get())?;
                continue;
            };
            after = index + 1;
            self.path.push(&field.name);
            if !seen.insert(index) {
                self.repeat(start, field.number)?;
            }
            map.next_value_seed(Slot { reader: self, field, element: false })?;
            self.path.pop();
        }
        Ok(())
    }

    fn nested<'de, A: MapAccess<'de>>(&mut self, field: &'s Field, map: A) -> Result<(), A::Error> {
        let Kind::Message(index) = field.kind else { return Err(self.fail(ReadProblem::Type)) };
        let message = self.schema.message_at(index);
        if matches!(message.form, Form::Duration | Form::Timestamp) {
            return Err(self.fail(ReadProblem::Type));
        }
        let open = Open::begin(&mut self.out, field.number);
        self.object(message, map)?;
        open.end(&mut self.out);
        Ok(())
    }

    fn list<'de, A: SeqAccess<'de>>(&mut self, field: &'s Field, mut seq: A) -> Result<(), A::Error> {
        let packed = field.packed().then(|| Open::begin(&mut self.out, field.number));
        while seq.next_element_seed(Slot { reader: self, field, element: true })?.is_some() {}
        if let Some(open) = packed {
            open.end_unless_empty(&mut self.out);
        }
        Ok(())
    }

    fn token<E: Error>(&mut self, field: &'s Field, element: bool, token: Token<'_>) -> Result<(), E> {
        let written = match field.kind {
            Kind::Scalar(kind) => {
                Scalar::from_json(kind, token).map(|scalar| self.scalar(field, element, kind, &scalar))
            }
            Kind::Enum(index) => self.enum_value(field, element, index, token),
            Kind::Message(index) => self.time(field, index, token),
            Kind::Map(_) => Err(ReadProblem::Type),
        };
        written.map_err(|problem| self.fail(problem))
    }

    fn scalar(&mut self, field: &Field, element: bool, kind: Type, scalar: &Scalar<'_>) {
        if !element && !field.presence && scalar.is_default() {
            return;
        }
        if !(element && field.packed()) {
            encode_key(field.number, wire_type(field.kind), &mut self.out);
        }
        scalar.write_wire(kind, &mut self.out);
    }

    fn enum_value(
        &mut self,
        field: &Field,
        element: bool,
        index: usize,
        token: Token<'_>,
    ) -> Result<(), ReadProblem> {
        let scalar = match token {
            Token::Text(name) => match self.schema.enum_at(index).number(name) {
                Some(number) => Scalar::I32(number),
                None => {
                    self.drift.enum_name(&self.path, name);
                    return Ok(());
                }
            },
            token => Scalar::from_json(Type::Enum, token)?,
        };
        self.scalar(field, element, Type::Enum, &scalar);
        Ok(())
    }

    fn time(&mut self, field: &Field, index: usize, token: Token<'_>) -> Result<(), ReadProblem> {
        let time = match (self.schema.message_at(index).form, token) {
            (Form::Duration, Token::Text(text)) => Seconds::from_duration(text)?,
            (Form::Timestamp, Token::Text(text)) => Seconds::from_timestamp(text)?,
            (Form::Other, _) => return Err(ReadProblem::Unsupported),
            (Form::Object | Form::Any | Form::Duration | Form::Timestamp, _) => {
                return Err(ReadProblem::Type);
            }
        };
        let open = Open::begin(&mut self.out, field.number);
        time.write_wire(&mut self.out);
        open.end(&mut self.out);
        Ok(())
    }

    /// A field comes again in a message that began at `start`: what it was before is taken out.
    fn repeat<E: Error>(&mut self, start: usize, number: u32) -> Result<(), E> {
        self.drift.repeats += 1;
        if self.duplicates == Duplicates::Reject || self.drift.repeats > MAX_REPEATS {
            return Err(self.fail(ReadProblem::Duplicate));
        }
        let before = self.out.split_off(start);
        let mut records = Records::new(&before);
        while let Some(Ok((other, _, record))) = records.next_whole() {
            if other != number {
                self.out.extend_from_slice(record);
            }
        }
        Ok(())
    }

    /// `serde_json` skips without counting, and JSON callers get what was skipped: a nesting bomb must not pass.
    fn skip<E: Error>(&mut self, raw: &str) -> Result<(), E> {
        let (mut depth, mut in_string, mut escaped) = (self.path.len(), false, false);
        for byte in raw.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth -= 1,
                _ => {}
            }
            if depth > MAX_SKIPPED_DEPTH {
                return Err(self.fail(ReadProblem::Syntax));
            }
        }
        Ok(())
    }

    fn fail<E: Error>(&mut self, problem: ReadProblem) -> E {
        self.problem = Some(problem);
        E::custom(problem)
    }

    fn error(self, error: &serde_json::Error) -> ReadError {
        let problem = self.problem.unwrap_or(match error.classify() {
            Category::Data => ReadProblem::Type,
            Category::Eof => ReadProblem::Truncated,
            Category::Syntax | Category::Io => ReadProblem::Syntax,
        });
        ReadError { problem, path: self.path.join(".") }
    }
}

impl Seen {
    /// Whether the field is new.
    pub(super) fn insert(&mut self, index: usize) -> bool {
        let bit = u32::try_from(index).ok().and_then(|shift| 1_u128.checked_shl(shift));
        let new = bit.map_or_else(|| !self.high.contains(&index), |bit| self.low & bit == 0);
        match bit {
            Some(bit) => self.low |= bit,
            None if new => self.high.push(index),
            None => {}
        }
        new
    }
}
