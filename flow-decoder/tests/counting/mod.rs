//! An allocator that counts what the calling thread does: the test harness has threads of its own.

#![allow(unsafe_code, reason = "an allocator that counts has to be one")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

/// What glibc takes for an allocation: 8 octets of its own, in steps of 16, at least 32.
fn taken(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + taken(layout));
        PEAK.set(PEAK.get().max(HELD.get()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - taken(layout));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Octets that this thread has allocated and not given back, with what the allocator takes beside them. What another thread
/// has allocated and this one gives back counts too, so only the difference of two calls means something.
pub(crate) fn held() -> isize {
    HELD.get()
}

/// The most that [`held`] has been since [`reset_peak`].
pub(crate) fn peak() -> isize {
    PEAK.get()
}

/// Begins to look for the most anew.
pub(crate) fn reset_peak() {
    PEAK.set(HELD.get());
}
