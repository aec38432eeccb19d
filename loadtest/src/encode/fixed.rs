//! A record of a fixed layout, put together on the stack: one copy into the datagram instead of one per field.

/// `N` bytes, filled from the front.
pub(super) struct Fixed<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Fixed<N> {
    pub(super) fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    /// The next field, already in network order.
    #[inline(always)]
    pub(super) fn put<const M: usize>(&mut self, field: [u8; M]) -> &mut Self {
        self.bytes[self.at..self.at + M].copy_from_slice(&field);
        self.at += M;
        self
    }

    /// The finished record; every byte must have been put.
    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8; N] {
        debug_assert_eq!(self.at, N, "the layout's length is wrong");
        &self.bytes
    }
}
