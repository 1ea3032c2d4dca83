//! The wire format of the Connect protocol, unary: shared by what calls the gateway and what the gateway calls.
//!
//! [`json`] turns messages from protobuf into canonical proto3 JSON and back, [`error`] is the form of an error, and
//! [`metadata`] says which headers are metadata that may cross.

pub mod error;
pub mod json;
pub mod metadata;
