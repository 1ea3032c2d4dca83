//! The transcoder rule by rule, and against `prost-reflect` as the canonical implementation.

use super::{Drift, Duplicates, ReadError, ReadProblem, WriteError, to_json, to_wire};
use crate::rpc::{MessageSchema, Schema};

mod any;
mod edit;
mod everything;
mod maps;
mod oracle;
mod random;
mod read;
mod strict;
mod times;
mod unknown;
mod write;

/// A message type with its schema, so that a rule is one line.
#[derive(Clone, Copy)]
struct Case {
    schema: &'static Schema,
    message: &'static MessageSchema,
}

impl Case {
    fn gitpod(name: &str) -> Self {
        let schema = Schema::gitpod();
        Self { schema, message: schema.message(&format!("gitpod.v1.{name}")).unwrap() }
    }

    /// Fields of every kind: `fInt32` without presence, `oInt32` with, `rInt32` a list, and so on.
    fn everything() -> Self {
        let schema = everything::schema();
        Self { schema, message: schema.message("test.Everything").unwrap() }
    }

    /// Maps and `Any`s.
    fn holder() -> Self {
        let schema = everything::schema();
        Self { schema, message: schema.message("test.Holder").unwrap() }
    }

    /// Fields that are not translated.
    fn odd() -> Self {
        let schema = everything::schema();
        Self { schema, message: schema.message("test.Odd").unwrap() }
    }

    fn read(self, json: &str) -> Result<(Vec<u8>, Drift), ReadError> {
        self.read_bytes(json.as_bytes(), Duplicates::LastWins)
    }

    fn read_bytes(self, json: &[u8], duplicates: Duplicates) -> Result<(Vec<u8>, Drift), ReadError> {
        to_wire(self.schema, self.message, json, duplicates).map(|(wire, drift)| (wire.to_vec(), drift))
    }

    fn write(self, wire: &[u8]) -> Result<String, WriteError> {
        to_json(self.schema, self.message, wire).map(|json| String::from_utf8(json).unwrap())
    }

    /// Into protobuf and back: what a text means.
    fn meaning(self, json: &str) -> String {
        let (wire, drift) = self.read(json).map_err(|error| format!("{json}: {error}")).unwrap();
        assert!(drift.is_empty(), "{json}: {drift:?}");
        self.write(&wire).map_err(|error| format!("{json}: {error}")).unwrap()
    }

    fn problem(self, json: &str) -> ReadProblem {
        self.read(json).map(|_| json.to_owned()).unwrap_err().problem
    }
}
