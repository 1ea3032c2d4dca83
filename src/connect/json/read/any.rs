//! `Any`: an object whose type stands in it, at any place.

use std::{fmt, vec};

use prost::encoding::{WireType, encode_key};
use prost_types::field_descriptor_proto::Type;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    super::{
        MAX_DEPTH,
        any::{TYPE_KEY, TYPE_URL, VALUE, VALUE_KEY, named},
        problem::ReadProblem,
        scalar::Scalar,
        time::Seconds,
        wire::Open,
    },
    Reader,
};
use crate::rpc::Form;

/// `Any`s inside each other whose type does not come first. Each reads its text twice, so that nested ones multiply;
/// writers put the type first, and sorted keys do too.
const MAX_KEPT: usize = 4;

/// An object whose first members were kept back: they come before the rest of it.
struct Replay<'de, A> {
    kept: vec::IntoIter<(String, &'de RawValue)>,
    value: Option<&'de RawValue>,
    rest: A,
}

/// What an `Any` holds that is not an object of its fields.
struct Own<'r, 's> {
    reader: &'r mut Reader<'s>,
    form: Form,
}

impl Reader<'_> {
    pub(super) fn any<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        if self.path.len() > MAX_DEPTH {
            return Err(self.fail(ReadProblem::Depth));
        }
        let mut kept = Vec::new();
        let type_url: String = loop {
            match map.next_key::<String>()? {
                Some(key) if key == TYPE_KEY => break map.next_value()?,
                Some(key) => kept.push((key, map.next_value::<&RawValue>()?)),
                None if kept.is_empty() => return Ok(()),
                None => return Err(self.fail(ReadProblem::AnyType)),
            }
        };
        let again = usize::from(!kept.is_empty());
        self.kept += again;
        if self.kept > MAX_KEPT {
            return Err(self.fail(ReadProblem::Depth));
        }
        self.packed(&type_url, Replay { kept: kept.into_iter(), value: None, rest: map })?;
        self.kept -= again;
        Ok(())
    }

    fn packed<'de, A: MapAccess<'de>>(&mut self, type_url: &str, map: A) -> Result<(), A::Error> {
        let Some(message) = named(self.schema, type_url) else {
            return Err(self.fail(ReadProblem::AnyType));
        };
        encode_key(TYPE_URL, WireType::LengthDelimited, &mut self.out);
        Scalar::Text(type_url).write_wire(Type::String, &mut self.out);
        let open = Open::begin(&mut self.out, VALUE);
        match message.form {
            Form::Object => self.fields(message, map, true)?,
            form => self.own(form, map)?,
        }
        open.end_unless_empty(&mut self.out);
        Ok(())
    }

    fn own<'de, A: MapAccess<'de>>(&mut self, form: Form, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == TYPE_KEY || (key == VALUE_KEY && found) {
                return Err(self.fail(ReadProblem::Duplicate));
            } else if key == VALUE_KEY {
                found = true;
                self.path.push(VALUE_KEY);
                map.next_value_seed(Own { reader: self, form })?;
                self.path.pop();
            } else {
                self.drift.field(&self.path, &key);
                self.skip(map.next_value::<&RawValue>()?.get())?;
            }
        }
        if found { Ok(()) } else { Err(self.fail(ReadProblem::Type)) }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Replay<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some((key, value)) = self.kept.next() else { return self.rest.next_key_seed(seed) };
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let Some(value) = self.value.take() else { return self.rest.next_value_seed(seed) };
        let mut again = serde_json::Deserializer::from_str(value.get());
        seed.deserialize(&mut again).map_err(A::Error::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Own<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Own<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what an Any holds")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let time = match self.form {
            Form::Duration => Seconds::from_duration(text),
            Form::Timestamp => Seconds::from_timestamp(text),
            Form::Object | Form::Any => Err(ReadProblem::Type),
            Form::Other => Err(ReadProblem::Unsupported),
        };
        match time {
            Ok(time) => {
                time.write_wire(&mut self.reader.out);
                Ok(())
            }
            Err(problem) => Err(self.reader.fail(problem)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.form {
            Form::Any => self.reader.any(map),
            Form::Object | Form::Duration | Form::Timestamp => Err(self.reader.fail(ReadProblem::Type)),
            Form::Other => Err(self.reader.fail(ReadProblem::Unsupported)),
        }
    }
}
