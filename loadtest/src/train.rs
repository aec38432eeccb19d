//! Datagrams of one exporter on their way out: one buffer, and where each datagram ends in it.

/// Bytes that fit one GSO train: the kernel takes a train as one UDP payload before cutting it.
pub const MAX_RUN_BYTES: usize = 65_507;
/// Datagrams that fit one GSO train on every kernel that has it (`UDP_MAX_SEGMENTS` was 64 before it became 128).
pub const MAX_RUN_DATAGRAMS: usize = 64;

/// Datagrams in sending order.
#[derive(Debug, Default)]
pub struct Train {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
}

/// Consecutive datagrams that can leave as one train: all of `segment` bytes, the last perhaps shorter.
#[derive(Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The payloads, one after the other.
    pub bytes: &'a [u8],
    /// Bytes of each datagram but the last.
    pub segment: u16,
    /// How many datagrams there are.
    pub datagrams: u64,
}

impl Train {
    /// Appends what `write` adds to the buffer as one datagram.
    pub fn datagram(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.sizes.push(self.bytes.len() - start);
    }

    /// Forgets all datagrams and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sizes.clear();
    }

    /// Bytes of all datagrams.
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// How many datagrams there are.
    pub fn datagram_count(&self) -> usize {
        self.sizes.len()
    }

    /// Each datagram in order.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.sizes.iter().map(move |size| {
            let (datagram, after) = rest.split_at(*size);
            rest = after;
            datagram
        })
    }

    /// The datagrams as runs of equal size, in order.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let (mut sizes, mut bytes) = (&self.sizes[..], &self.bytes[..]);
        std::iter::from_fn(move || {
            let segment = *sizes.first()?;
            let most = (MAX_RUN_BYTES / segment.max(1)).clamp(1, MAX_RUN_DATAGRAMS);
            let mut count = sizes.iter().take(most).take_while(|size| **size == segment).count();
            if count < most && sizes.get(count).is_some_and(|size| *size < segment) {
                count += 1;
            }
            let (run, after) = bytes.split_at(sizes[..count].iter().sum());
            (sizes, bytes) = (&sizes[count..], after);
            Some(Run { bytes: run, segment: segment as u16, datagrams: count as u64 })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(sizes: &[usize]) -> Vec<(u16, u64, usize)> {
        let mut train = Train::default();
        for size in sizes {
            train.datagram(|bytes| bytes.resize(bytes.len() + size, 0));
        }
        train.runs().map(|run| (run.segment, run.datagrams, run.bytes.len())).collect()
    }

    #[test]
    fn only_the_last_datagram_of_a_run_may_be_shorter() {
        assert_eq!(shapes(&[10, 10, 4, 10, 12]), [(10, 3, 24), (10, 1, 10), (12, 1, 12)]);
        assert_eq!(shapes(&[]), []);
    }

    #[test]
    fn a_run_keeps_to_the_kernels_limits() {
        assert_eq!(shapes(&[1; 65]), [(1, 64, 64), (1, 1, 1)]);
        assert_eq!(shapes(&[40_000, 40_000]), [(40_000, 1, 40_000), (40_000, 1, 40_000)]);
        assert_eq!(shapes(&[40_000, 30_000]), [(40_000, 1, 40_000), (30_000, 1, 30_000)]);
    }

    #[test]
    fn datagrams_come_out_as_they_went_in() {
        let mut train = Train::default();
        train.datagram(|bytes| bytes.extend_from_slice(b"ab"));
        train.datagram(|bytes| bytes.extend_from_slice(b"c"));
        assert_eq!(train.datagrams().collect::<Vec<_>>(), [&b"ab"[..], b"c"]);
    }
}
