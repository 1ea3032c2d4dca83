//! `google.protobuf.Any`: a message with the name of its type.

use std::str::from_utf8;

use super::{
    problem::{WireError, WriteProblem},
    wire::{Records, Value},
};
use crate::rpc::{MessageSchema, Schema};

/// The key that holds the type in JSON.
pub(super) const TYPE_KEY: &str = "@type";

/// The key of what an `Any` holds, where that has a form of its own in JSON.
pub(super) const VALUE_KEY: &str = "value";

/// The fields of an `Any` on the wire.
pub(super) const TYPE_URL: u32 = 1;
pub(super) const VALUE: u32 = 2;

/// What an `Any` holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packed<'w> {
    type_url: &'w [u8],
    pub(super) value: &'w [u8],
}

impl<'w> Packed<'w> {
    pub(super) fn from_wire(wire: &'w [u8]) -> Result<Self, WireError> {
        let mut any = Self::default();
        for record in Records::new(wire) {
            match record? {
                (TYPE_URL, Value::Bytes(bytes)) => any.type_url = bytes,
                (VALUE, Value::Bytes(bytes)) => any.value = bytes,
                (TYPE_URL | VALUE, _) => return Err(WireError::Malformed),
                _ => {}
            }
        }
        Ok(any)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.type_url.is_empty() && self.value.is_empty()
    }

    pub(super) fn type_url(&self) -> Result<&'w str, WriteProblem> {
        from_utf8(self.type_url).map_err(|_| WriteProblem::Utf8)
    }

    /// The message that the type names, if it is known here.
    pub(super) fn message<'s>(&self, schema: &'s Schema) -> Option<&'s MessageSchema> {
        named(schema, from_utf8(self.type_url).ok()?)
    }
}

/// The message that a type URL names: what comes after its last slash. Nothing is ever fetched from the rest of it.
pub(super) fn named<'s>(schema: &'s Schema, type_url: &str) -> Option<&'s MessageSchema> {
    schema.message(type_url.rsplit_once('/')?.1)
}
