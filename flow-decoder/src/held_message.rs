//! An IPFIX message some of whose sets wait for their template: how many data records it has, and so which sequence numbers it
//! covers, is known when the last of them is decoded, by whichever decoder that is.

use std::sync::atomic::{AtomicU32, Ordering};

/// What the parts of a message add up to: each waiting set is one, and what was decoded at once is another.
#[derive(Debug)]
pub(crate) struct HeldMessage {
    /// Parts that are not counted. A part that is given up is never counted, nor is its message then.
    open: AtomicU32,
    records: AtomicU32,
}

impl HeldMessage {
    /// A message whose first waiting set has been met.
    pub(crate) fn new() -> Self {
        Self { open: AtomicU32::new(1), records: AtomicU32::new(0) }
    }

    /// Another set waits.
    pub(crate) fn waits(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A part has so many records. Gives those of the whole message where it was the last.
    pub(crate) fn add(&self, records: u32) -> Option<u32> {
        self.records.fetch_add(records, Ordering::Relaxed);
        let last = self.open.fetch_sub(1, Ordering::AcqRel) == 1;
        last.then(|| self.records.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_when_all_its_parts_are() {
        let message = HeldMessage::new();
        message.waits();
        message.waits();
        assert_eq!((message.add(3), message.add(0), message.add(4)), (None, None, Some(7)));
    }
}
