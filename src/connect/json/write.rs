//! Protobuf bytes to canonical proto3 JSON.

use prost_types::field_descriptor_proto::Type;

use super::{
    MAX_DEPTH,
    any::{Packed, TYPE_KEY, VALUE_KEY},
    problem::{WireError, WriteError, WriteProblem},
    scalar::{Scalar, json, quoted},
    time::Seconds,
    wire::{Records, Value, wire_type},
};
use crate::rpc::{Field, Form, Kind, MessageSchema, Schema};

mod canonical;
mod map;
use canonical::canonical;

/// JSON is about this much longer than what it is made from, by the messages of this API.
const GROWTH: usize = 2;

/// What a list and a map begin and end with.
const LIST: (u8, u8) = (b'[', b']');
const MAP: (u8, u8) = (b'{', b'}');

struct Writer<'s> {
    schema: &'s Schema,
    out: Vec<u8>,
    /// Inside an `Any`, whose bytes pass every decoder as they are: they need not be canonical.
    packed: bool,
}

/// Writes a message as canonical proto3 JSON.
///
/// The bytes must be the canonical encoding, as `prost` writes it: fields in the order of their numbers, each once. What
/// an `Any` holds may come in any order.
/// Fields that the schema does not know are left out; [`unknown_fields`](super::unknown_fields) names them.
///
/// # Errors
/// The bytes are not such a message, or hold what JSON cannot: a string that is not UTF-8, a time out of range.
pub fn to_json(schema: &Schema, message: &MessageSchema, wire: &[u8]) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer { schema, out: Vec::with_capacity(wire.len() * GROWTH + 2), packed: false };
    writer.object(message, wire, 0)?;
    Ok(writer.out)
}

impl Writer<'_> {
    fn object(&mut self, message: &MessageSchema, wire: &[u8], depth: usize) -> Result<(), WriteError> {
        if message.form != Form::Object {
            return Err(WriteProblem::Unsupported.into());
        }
        if depth > MAX_DEPTH {
            return Err(WireError::Depth.into());
        }
        self.out.push(b'{');
        self.fields(message, wire, depth)?;
        self.out.push(b'}');
        Ok(())
    }

    fn fields(&mut self, message: &MessageSchema, wire: &[u8], depth: usize) -> Result<(), WriteError> {
        let ordered;
        let wire = if self.packed {
            ordered = canonical(message, wire)?;
            &ordered
        } else {
            wire
        };
        let (mut last, mut open) = (0, None);
        for record in Records::new(wire) {
            let (number, value) = record?;
            let Some(field) = message.field(number) else { continue };
            if number < last || (number == last && !field.repeated) {
                return Err(WriteError::from(WriteProblem::Order).inside(&field.name));
            }
            if number != last {
                self.out.extend(open.take());
            }
            last = number;
            let written = if field.repeated {
                self.elements(field, value, &mut open, depth)
            } else {
                self.single(field, value, depth)
            };
            written.map_err(|error| error.inside(&field.name))?;
        }
        self.out.extend(open);
        Ok(())
    }

    fn single(&mut self, field: &Field, value: Value<'_>, depth: usize) -> Result<(), WriteError> {
        match field.kind {
            Kind::Message(index) => {
                self.key(field);
                self.message(index, value, depth)
            }
            // A map's fields are lists of entries.
            Kind::Map(_) => Err(WriteProblem::Unsupported.into()),
            Kind::Enum(_) | Kind::Scalar(_) => {
                let scalar = Scalar::from_wire(scalar_type(field.kind), value)?;
                if field.presence || !scalar.is_default() {
                    self.key(field);
                    self.scalar(field.kind, &scalar);
                }
                Ok(())
            }
        }
    }

    /// One record of a list or map: one element, or many that are packed. The list begins with its first element, so
    /// that an empty one is never written. `open` is what will end it.
    fn elements(
        &mut self,
        field: &Field,
        value: Value<'_>,
        open: &mut Option<u8>,
        depth: usize,
    ) -> Result<(), WriteError> {
        match (field.kind, value) {
            (Kind::Message(index), value) => {
                self.element(field, open, LIST);
                self.message(index, value, depth)
            }
            (Kind::Map(index), value) => {
                self.element(field, open, MAP);
                self.entry(index, value, depth)
            }
            (_, Value::Bytes(mut packed)) if field.packed() => {
                while !packed.is_empty() {
                    let value = Value::take(&mut packed, wire_type(field.kind), field.number)?;
                    self.scalar_element(field, value, open)?;
                }
                Ok(())
            }
            (_, value) => self.scalar_element(field, value, open),
        }
    }

    fn scalar_element(
        &mut self,
        field: &Field,
        value: Value<'_>,
        open: &mut Option<u8>,
    ) -> Result<(), WriteError> {
        let scalar = Scalar::from_wire(scalar_type(field.kind), value)?;
        self.element(field, open, LIST);
        self.scalar(field.kind, &scalar);
        Ok(())
    }

    fn message(&mut self, index: usize, value: Value<'_>, depth: usize) -> Result<(), WriteError> {
        let Value::Bytes(wire) = value else { return Err(WireError::Malformed.into()) };
        self.form(self.schema.message_at(index), wire, depth)
    }

    fn form(&mut self, message: &MessageSchema, wire: &[u8], depth: usize) -> Result<(), WriteError> {
        match message.form {
            Form::Object | Form::Other => self.object(message, wire, depth + 1),
            Form::Any => self.any(wire, depth + 1),
            Form::Duration => self.time(wire, Seconds::write_duration),
            Form::Timestamp => self.time(wire, Seconds::write_timestamp),
        }
    }

    fn any(&mut self, wire: &[u8], depth: usize) -> Result<(), WriteError> {
        if depth > MAX_DEPTH {
            return Err(WireError::Depth.into());
        }
        let any = Packed::from_wire(wire)?;
        self.out.push(b'{');
        if !any.is_empty() {
            let message = any.message(self.schema).ok_or(WriteProblem::AnyType)?;
            json(&mut self.out, TYPE_KEY);
            self.out.push(b':');
            json(&mut self.out, any.type_url()?);
            let around = std::mem::replace(&mut self.packed, true);
            if message.form == Form::Object {
                self.fields(message, any.value, depth)?;
            } else {
                self.out.push(b',');
                json(&mut self.out, VALUE_KEY);
                self.out.push(b':');
                self.form(message, any.value, depth).map_err(|error| error.inside(VALUE_KEY))?;
            }
            self.packed = around;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn time(
        &mut self,
        wire: &[u8],
        write: fn(Seconds, &mut Vec<u8>) -> Result<(), WriteProblem>,
    ) -> Result<(), WriteError> {
        let time = Seconds::from_wire(wire)?;
        let mut written = Ok(());
        quoted(&mut self.out, |out| written = write(time, out));
        Ok(written?)
    }

    fn scalar(&mut self, kind: Kind, scalar: &Scalar<'_>) {
        match (kind, scalar) {
            (Kind::Enum(index), Scalar::I32(number)) => match self.schema.enum_at(index).name(*number) {
                // An enum's name is an identifier: nothing in it needs an escape.
                Some(name) => quoted(&mut self.out, |out| out.extend_from_slice(name.as_bytes())),
                None => scalar.write_json(&mut self.out),
            },
            _ => scalar.write_json(&mut self.out),
        }
    }

    fn key(&mut self, field: &Field) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.extend_from_slice(field.json_key.as_bytes());
    }

    fn element(&mut self, field: &Field, open: &mut Option<u8>, (begin, end): (u8, u8)) {
        if open.is_some() {
            self.out.push(b',');
        } else {
            self.key(field);
            self.out.push(begin);
            *open = Some(end);
        }
    }
}

fn scalar_type(kind: Kind) -> Type {
    match kind {
        Kind::Scalar(scalar) => scalar,
        Kind::Enum(_) => Type::Enum,
        Kind::Message(_) | Kind::Map(_) => Type::Message,
    }
}
