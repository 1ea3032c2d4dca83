//! What of a message may stand in a record: every field of every message has a class, and one that has none is left out.

use serde_json::{Map, Value};

use super::{hash::Keys, record};
use crate::{
    connect::json::to_json,
    rpc::{Field, Form, Kind, MessageSchema, Schema},
};

mod fields;
#[cfg(test)]
mod tests;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It stands in clear: numbers, enums, times, and ids; a string that is no UUID reads `invalid`. Of a message, it is
    /// looked into.
    Keep,
    /// By keyed hash: who has it finds it.
    Hash,
    /// Only how long it is, in bytes.
    Length,
    /// It is not there at all.
    Drop,
}

/// A message as a record may have it. Bytes that are not the message give nothing.
pub(super) fn message(
    schema: &Schema,
    message: Option<&MessageSchema>,
    wire: &[u8],
    keys: &Keys,
) -> Option<Value> {
    let message = message?;
    let json = to_json(schema, message, wire).ok()?;
    let Value::Object(members) = serde_json::from_slice(&json).ok()? else { return None };
    Some(Redactor { schema, keys }.object(message, members))
}

struct Redactor<'r> {
    schema: &'r Schema,
    keys: &'r Keys,
}

impl Redactor<'_> {
    fn object(&self, message: &MessageSchema, members: Map<String, Value>) -> Value {
        let shown = members.into_iter().filter_map(|(key, value)| {
            let value = self.field(message, message.field_named(&key)?, value)?;
            Some((key, value))
        });
        shown.collect::<Map<_, _>>().into()
    }

    fn field(&self, message: &MessageSchema, field: &Field, value: Value) -> Option<Value> {
        let class = fields::class(&message.full_name, &field.name)?;
        match (class, value) {
            (Class::Drop, _) => None,
            (Class::Keep | Class::Hash | Class::Length, Value::Array(items)) => {
                let shown = items.into_iter().filter_map(|item| self.value(class, field.kind, item));
                Some(shown.collect())
            }
            (Class::Keep | Class::Hash | Class::Length, value) => self.value(class, field.kind, value),
        }
    }

    fn value(&self, class: Class, kind: Kind, value: Value) -> Option<Value> {
        match (class, kind, value) {
            (Class::Drop, ..) | (_, Kind::Map(_), _) => None,
            (Class::Keep, Kind::Message(index), value) => self.inner(self.schema.message_at(index), value),
            (Class::Keep, Kind::Scalar(_), Value::String(text)) if is_text(kind) => Some(id(&text)),
            (Class::Keep, Kind::Scalar(_) | Kind::Enum(_), value) => Some(value),
            (Class::Hash, _, Value::String(text)) => Some(self.keys.digest(&text).into()),
            (Class::Hash, _, value) => Some(self.keys.digest(&value.to_string()).into()),
            (Class::Length, _, Value::String(text)) => Some(text.len().into()),
            // Of nothing else does a length tell anything.
            (Class::Length, ..) => None,
        }
    }

    fn inner(&self, message: &MessageSchema, value: Value) -> Option<Value> {
        match (message.form, value) {
            (Form::Object, Value::Object(members)) => Some(self.object(message, members)),
            // Their JSON is a text of digits and signs.
            (Form::Duration | Form::Timestamp, value) => Some(value),
            (Form::Object | Form::Any | Form::Other, _) => None,
        }
    }
}

/// 64-bit integers are strings in JSON, too.
fn is_text(kind: Kind) -> bool {
    use prost_types::field_descriptor_proto::Type;
    matches!(kind, Kind::Scalar(Type::String | Type::Bytes))
}

fn id(text: &str) -> Value {
    if text.is_empty() { text.into() } else { record::id(text).into() }
}
