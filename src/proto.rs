//! The messages, the gRPC client and the descriptors that `build.rs` compiles from `proto/`.
//!
//! The only file that includes generated code.

#![allow(deprecated, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

/// `gitpod.v1`: prebuilds, warm pools, identity.
pub mod gitpod {
    #[allow(missing_docs)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/gitpod.v1.rs"));
    }
}

/// `prebuildgateway.v1`: what the gateway says of itself.
pub mod prebuildgateway {
    #[allow(missing_docs)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/prebuildgateway.v1.rs"));
    }
}

/// The compiled `google.protobuf.FileDescriptorSet` of `proto/` and what it imports.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
