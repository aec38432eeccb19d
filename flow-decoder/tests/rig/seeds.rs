//! Inputs of tests as seeds of the fuzz targets, where `CATCHMENT_FUZZ_SEEDS` names a folder for them (`dev/fuzz`).

#![allow(dead_code, reason = "each test binary uses its part")]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::{env, fs};

/// Larger inputs teach a fuzzer little and slow it down.
const LARGEST: usize = 4096;

/// Whether seeds are made.
pub(crate) fn wanted() -> bool {
    env::var_os("CATCHMENT_FUZZ_SEEDS").is_some()
}

/// Keeps an input of a target.
pub(crate) fn keep(target: &str, bytes: &[u8]) {
    let Some(folder) = env::var_os("CATCHMENT_FUZZ_SEEDS").filter(|_| bytes.len() <= LARGEST) else { return };
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let folder = Path::new(&folder).join(target);
    fs::create_dir_all(&folder).expect("a folder for seeds");
    fs::write(folder.join(format!("{:016x}", hasher.finish())), bytes).expect("a seed");
}
