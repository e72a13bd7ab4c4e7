//! An allocator that counts what the calling thread does.
#![allow(unsafe_code, reason = "an allocator can't be had otherwise; it passes all calls on as they are")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

pub struct Counting;

/// What malloc takes for so many bytes: a word before them, in steps of 16.
fn block(bytes: usize) -> i64 {
    (bytes + 8).next_multiple_of(16).max(32) as i64
}

fn count(allocations: u64, bytes: i64) {
    // A thread that ends may free when its own counters are gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = BYTES.try_with(|sum| sum.set(sum.get() + bytes));
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, block(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, block(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, block(size) - block(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -block(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

/// How often this thread has allocated, and the bytes that it has not freed since.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    pub allocations: u64,
    pub bytes: i64,
}

/// What this thread does meanwhile.
pub fn during<T>(act: impl FnOnce() -> T) -> (T, Counted) {
    let (allocations, bytes) = (ALLOCATIONS.get(), BYTES.get());
    let done = act();
    (done, Counted { allocations: ALLOCATIONS.get() - allocations, bytes: BYTES.get() - bytes })
}
