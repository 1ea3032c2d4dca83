//! Compiles `proto/` with protox, so that a build needs no `protoc`, into `OUT_DIR`: the message types, a gRPC client
//! (for `call` and the tests) and the descriptor set that drives the JSON transcoder.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 4] = [
    "gitpod/v1/prebuild.proto",
    "gitpod/v1/identity.proto",
    "gitpod/v1/pagination.proto",
    "prebuildgateway/v1/verdict.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // The server side is `tonic`'s codec driven by the method table (`src/front/grpc.rs`), not a generated trait:
    // a second service is then mounted by its rows alone.
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
