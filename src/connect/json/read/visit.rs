//! What serde asks of a reader: one visitor for each place that a JSON value can be in.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    super::{any::TYPE_KEY, problem::ReadProblem, scalar::Token},
    Reader,
};
use crate::rpc::{Field, Form, Kind, MessageSchema};

/// The message at the top.
pub(super) struct Top<'r, 's> {
    pub(super) reader: &'r mut Reader<'s>,
    pub(super) message: &'s MessageSchema,
}

/// A key; becomes its field's index, or `None` if the schema does not know it.
pub(super) struct Key<'r, 's> {
    pub(super) reader: &'r mut Reader<'s>,
    pub(super) message: &'s MessageSchema,
    pub(super) after: usize,
    /// An `Any`'s, whose type has been read already.
    pub(super) typed: bool,
}

/// The value of a field, or one element of its list.
pub(super) struct Slot<'r, 's> {
    pub(super) reader: &'r mut Reader<'s>,
    pub(super) field: &'s Field,
    pub(super) element: bool,
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.reader.object(self.message, map)
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let index = self.message.position(name, self.after);
        if index.is_none() {
            if self.typed && name == TYPE_KEY {
                return Err(self.reader.fail(ReadProblem::Duplicate));
            }
            self.reader.drift.field(&self.reader.path, name);
        }
        Ok(index)
    }
}

impl<'de> DeserializeSeed<'de> for Slot<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Slot<'_, '_> {
    fn token<E: Error>(self, token: Token<'_>) -> Result<(), E> {
        if self.is_list() {
            return Err(self.reader.fail(ReadProblem::Type));
        }
        self.reader.token(self.field, self.element, token)
    }

    fn is_list(&self) -> bool {
        self.field.repeated && !self.element
    }
}

impl<'de> Visitor<'de> for Slot<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's value")
    }

    /// `null` is an absent field; a list has no absent elements.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.element { Err(self.reader.fail(ReadProblem::Type)) } else { Ok(()) }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.token(Token::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.token(Token::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.token(Token::Signed(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.token(Token::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.token(Token::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        if self.is_list() && !matches!(self.field.kind, Kind::Map(_)) {
            self.reader.list(self.field, seq)
        } else {
            Err(self.reader.fail(ReadProblem::Type))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.field.kind {
            Kind::Map(index) => self.reader.map(self.field, index, map),
            Kind::Message(index) if self.reader.schema.message_at(index).form == Form::Other => {
                Err(self.reader.fail(ReadProblem::Unsupported))
            }
            _ if self.is_list() => Err(self.reader.fail(ReadProblem::Type)),
            _ => self.reader.nested(self.field, map),
        }
    }
}
