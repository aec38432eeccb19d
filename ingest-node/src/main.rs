//! Entry of the `ingest-node` binary: everything it does lives in the library beside it.

#![forbid(unsafe_code)]

fn main() {}
