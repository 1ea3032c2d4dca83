//! Protobuf wire bytes to canonical proto3 JSON and back, in one pass, with no message in between.
//!
//! Driven by the tables of [`Schema`](crate::rpc::Schema). Going out ([`to_json`]) the JSON is canonical: camelCase
//! keys, 64-bit integers as strings, enums by name, defaults left out unless the field has presence. Coming in
//! ([`to_wire`]) everything that proto3 JSON allows is read, and what the schema does not know never fails a call and
//! never vanishes unnoticed: it is skipped and named in [`Drift`]. [`unknown_fields`] does the same for field
//! numbers in protobuf bytes.
//!
//! An `Any` is translated if its type is in the schema. `Struct`, `FieldMask` and the wrappers are not translated: they
//! are errors of their own (`Unsupported`). Errors name the known part of the path and never show what was sent.

mod any;
mod drift;
mod edit;
mod problem;
mod read;
mod scalar;
#[cfg(test)]
mod tests;
mod time;
mod unknown;
mod wire;
mod write;

pub use drift::{Drift, DriftItem};
pub use edit::{items, member};
pub use problem::{ReadError, ReadProblem, WireError, WriteError, WriteProblem};
pub use read::{Duplicates, to_wire};
pub use unknown::unknown_fields;
pub use write::to_json;

/// How deep messages may nest, on the wire and on the way to it: the limit of every protobuf library. (JSON read is
/// held to 128 levels of objects and lists by `serde_json`.)
const MAX_DEPTH: usize = 100;
