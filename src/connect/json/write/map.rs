//! Maps: entries on the wire, an object in JSON.

use prost::encoding::WireType;

use super::{
    super::{
        MAX_DEPTH,
        problem::{WireError, WriteError, WriteProblem},
        scalar::{Scalar, json, quoted},
        wire::{Records, Value, wire_type},
    },
    Writer, scalar_type,
};
use crate::rpc::Kind;

impl Writer<'_> {
    /// One entry. A key or value that is left out stands for its default.
    pub(super) fn entry(&mut self, index: usize, value: Value<'_>, depth: usize) -> Result<(), WriteError> {
        let Value::Bytes(wire) = value else { return Err(WireError::Malformed.into()) };
        if depth >= MAX_DEPTH {
            return Err(WireError::Depth.into());
        }
        let entry = self.schema.message_at(index);
        let (Some(key), Some(value)) = (entry.field(1), entry.field(2)) else {
            return Err(WriteProblem::Unsupported.into());
        };
        let (mut key_value, mut value_value) = (absent(key.kind), absent(value.kind));
        for record in Records::new(wire) {
            match record? {
                (1, found) => key_value = found,
                (2, found) => value_value = found,
                _ => {}
            }
        }
        match Scalar::from_wire(scalar_type(key.kind), key_value)? {
            Scalar::Text(text) => json(&mut self.out, text),
            // Longer integers are quoted already.
            number @ (Scalar::I64(_) | Scalar::U64(_)) => number.write_json(&mut self.out),
            other => quoted(&mut self.out, |out| other.write_json(out)),
        }
        self.out.push(b':');
        let written = match value.kind {
            Kind::Message(index) => self.message(index, value_value, depth + 1),
            kind => Scalar::from_wire(scalar_type(kind), value_value)
                .map(|scalar| self.scalar(kind, &scalar))
                .map_err(WriteError::from),
        };
        written.map_err(|error| error.inside(&value.name))
    }
}

fn absent(kind: Kind) -> Value<'static> {
    match wire_type(kind) {
        WireType::SixtyFourBit => Value::Fixed64(0),
        WireType::ThirtyTwoBit => Value::Fixed32(0),
        WireType::LengthDelimited => Value::Bytes(&[]),
        WireType::Varint | WireType::StartGroup | WireType::EndGroup => Value::Varint(0),
    }
}
