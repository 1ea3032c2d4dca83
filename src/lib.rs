//! prebuild-gateway: the guardrail endpoint in front of the Prebuild API of Gitpod/Ona.
//!
//! Rooms by level; a room imports only from lower ones (`tests/architecture.rs` holds the code to it).

pub mod call;
pub mod error;
pub mod proto;
pub mod rpc;
