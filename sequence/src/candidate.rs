//! Datagrams that may be the first after a restart of a counter, until it is known whether they are.

/// Datagrams in a row that make a restart where they are behind the highest number, but not far; as many can wait.
pub(crate) const NEAR: usize = 16;

/// Numbers `start .. start + length`; a length of 0 is a place of which the length is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u32,
    pub(crate) length: u32,
}

impl Piece {
    pub(crate) fn end(self) -> u32 {
        self.start.wrapping_add(self.length)
    }
}

/// Datagrams that may be the first after a restart.
#[derive(Debug, Default)]
pub(crate) struct Candidate {
    notes: [Option<Piece>; NEAR],
    pub(crate) count: usize,
}

impl Candidate {
    pub(crate) fn push(&mut self, piece: Piece) {
        if let Some(slot) = self.notes.get_mut(self.count) {
            *slot = Some(piece);
            self.count += 1;
        }
    }

    pub(crate) fn last(&self) -> Option<Piece> {
        self.count.checked_sub(1).and_then(|last| self.notes[last])
    }

    pub(crate) fn take(&mut self) -> impl Iterator<Item = Piece> + use<> {
        self.count = 0;
        std::mem::take(&mut self.notes).into_iter().flatten()
    }
}
