//! A sink that forgets: batches are used again once they are full, as a node's are.

use flow_decoder::{Delimiting, RecordBuffer, Sink, Stream};

/// Octets of a full batch.
const FULL: usize = 32 << 10;

pub(crate) struct Batches([RecordBuffer; Stream::COUNT]);

impl Batches {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| RecordBuffer::new(2 * FULL, Delimiting::Length)))
    }
}

impl Sink for Batches {
    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        Some(&mut self.0[stream as usize])
    }

    fn written(&mut self, stream: Stream, _len: usize) {
        let batch = &mut self.0[stream as usize];
        if batch.len() >= FULL {
            batch.clear();
        }
    }
}
