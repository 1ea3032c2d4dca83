//! What proves and reads the audit log: on logs that are made here, so that nothing that is to be found is put right by
//! what writes the real ones.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

#[path = "audit"]
mod audit {
    mod calls;
    mod commands;
    pub(super) mod forge;
    mod good;
    mod proofs;
    mod pruned;
    mod replay;
    mod tampered;
}
