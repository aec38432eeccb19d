//! Compiles the contracts with protox, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: &[&str] = &[
    "proto/catchment/cluster/v1/admin.proto",
    "proto/catchment/cluster/v1/session.proto",
    "proto/catchment/cluster/v1/state.proto",
    "proto/catchment/cluster/v1/store.proto",
    "proto/catchment/flow/v1/flow.proto",
    "proto/catchment/flow/v1/sflow_counters.proto",
    "proto/catchment/flow/v1/sflow_hardware_counters.proto",
    "proto/catchment/node/v1/control.proto",
    "proto/catchment/node/v1/node.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    // The messages' size says nothing about how often they are moved: boxing every large variant would only cost.
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
