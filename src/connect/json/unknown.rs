//! Finds the field numbers in protobuf bytes that the schema does not know.

use super::{
    MAX_DEPTH,
    any::Packed,
    problem::WireError,
    wire::{Records, Value},
};
use crate::rpc::{Form, Kind, MessageSchema, Schema};

/// Paths that are named: enough for any honest client, and a bound for a message that is nothing but unknown fields.
const MAX_PATHS: usize = 32;

struct Walk<'s> {
    schema: &'s Schema,
    path: Vec<&'s str>,
    found: Vec<String>,
}

/// The paths of unknown fields in protobuf bytes, through all known messages: `#9`, `spec.#17`. Each is named once, and
/// at most 32 are.
///
/// # Errors
/// The bytes are not a protobuf message of this type, or nested more than 100 deep.
pub fn unknown_fields(
    schema: &Schema,
    message: &MessageSchema,
    wire: &[u8],
) -> Result<Vec<String>, WireError> {
    let mut walk = Walk { schema, path: Vec::new(), found: Vec::new() };
    walk.message(message, wire)?;
    Ok(walk.found)
}

impl<'s> Walk<'s> {
    fn message(&mut self, message: &'s MessageSchema, wire: &[u8]) -> Result<(), WireError> {
        if self.path.len() > MAX_DEPTH {
            return Err(WireError::Depth);
        }
        for record in Records::new(wire) {
            let (number, value) = record?;
            let Some(field) = message.field(number) else {
                self.note(number);
                continue;
            };
            if !value.fits(field) {
                return Err(WireError::Malformed);
            }
            if let (Kind::Message(index) | Kind::Map(index), Value::Bytes(bytes)) = (field.kind, value) {
                self.path.push(&field.name);
                let message = self.schema.message_at(index);
                self.message(message, bytes)?;
                if message.form == Form::Any {
                    self.any(bytes)?;
                }
                self.path.pop();
            }
        }
        Ok(())
    }

    /// What an `Any` holds, if that is a message known here: anything else is mere bytes to everybody.
    fn any(&mut self, wire: &[u8]) -> Result<(), WireError> {
        let any = Packed::from_wire(wire)?;
        match any.message(self.schema) {
            Some(message) => self.message(message, any.value),
            None => Ok(()),
        }
    }

    fn note(&mut self, number: u32) {
        if self.found.len() >= MAX_PATHS {
            return;
        }
        let mut path = self.path.join(".");
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&format!("#{number}"));
        if !self.found.contains(&path) {
            self.found.push(path);
        }
    }
}
