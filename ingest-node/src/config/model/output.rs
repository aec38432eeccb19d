//! Files, and the batches that all outputs take.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use catchment_settings::{ByteSize, section};

use crate::config::choice::FileFormat;

section! {
    /// Output into files (`output: file`).
    File {
        /// The file that is written; older ones stand beside it with a number behind the name.
        path: Option<PathBuf> = "" (as "must be set with `output: file`"),
        /// The size at which a new file is begun; empty: no size is too large.
        rotate_bytes: Option<ByteSize> = "256MiB" in "64KiB" to "1024TiB",
        /// The age at which a new file is begun; empty: none is too old.
        rotate_age: Option<Duration> = "" in "1s" to "3650d",
        /// How many older files are kept.
        keep: NonZeroUsize = "10" in "1" to "100000",
        /// How records are written.
        format: FileFormat = "json",
    }
}

section! {
    /// Batches of encoded records, which all outputs take. A batch is handed over when it is full or old enough.
    Batch {
        /// The size of a full batch.
        bytes: ByteSize = "64KiB" in "1KiB" to "16MiB",
        /// The age at which a batch that is not full is handed over.
        age: Duration = "20ms" in "1ms" to "1m",
        /// Memory for open batches of all workers; with `kafka.partition_by` there is one per partition and worker.
        memory: ByteSize = "64MiB" in "64KiB" to "1TiB",
    }
}
