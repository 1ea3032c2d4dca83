//! Maps: an object in JSON, a list of entries on the wire.

use std::{collections::HashSet, fmt};

use prost_types::field_descriptor_proto::Type;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::{
    super::{
        problem::ReadProblem,
        scalar::{Scalar, Token},
        wire::Open,
    },
    Duplicates, Reader, Slot,
};
use crate::rpc::{Field, Kind};

/// The key of an entry.
struct EntryKey<'r, 's> {
    reader: &'r mut Reader<'s>,
    field: &'s Field,
}

impl<'s> Reader<'s> {
    /// Of a key that is given twice both entries are written, and the last one wins for whoever decodes them.
    pub(super) fn map<'de, A: MapAccess<'de>>(
        &mut self,
        field: &'s Field,
        index: usize,
        mut map: A,
    ) -> Result<(), A::Error> {
        let entry = self.schema.message_at(index);
        let (Some(key), Some(value)) = (entry.field(1), entry.field(2)) else {
            return Err(self.fail(ReadProblem::Unsupported));
        };
        let mut keys: HashSet<Box<[u8]>> = HashSet::new();
        self.path.push(&value.name);
        loop {
            let entry = Open::begin(&mut self.out, field.number);
            if map.next_key_seed(EntryKey { reader: self, field: key })?.is_none() {
                entry.cancel(&mut self.out);
                break;
            }
            if self.duplicates == Duplicates::Reject && !keys.insert(Box::from(entry.content(&self.out))) {
                return Err(self.fail(ReadProblem::Duplicate));
            }
            let before = self.out.len();
            map.next_value_seed(Slot { reader: self, field: value, element: true })?;
            if self.out.len() == before {
                // An enum's unknown name: the entry goes, as an element of a list does.
                entry.cancel(&mut self.out);
            } else {
                entry.end(&mut self.out);
            }
        }
        self.path.pop();
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for EntryKey<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for EntryKey<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map's key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let Kind::Scalar(kind) = self.field.kind else {
            return Err(self.reader.fail(ReadProblem::Unsupported));
        };
        let token = match (kind, text) {
            (Type::Bool, "true") => Token::Bool(true),
            (Type::Bool, "false") => Token::Bool(false),
            _ => Token::Text(text),
        };
        match Scalar::from_json(kind, token) {
            Ok(scalar) => {
                self.reader.scalar(self.field, true, kind, &scalar);
                Ok(())
            }
            Err(problem) => Err(self.reader.fail(problem)),
        }
    }
}
