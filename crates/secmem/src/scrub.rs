//! Wiping after foreign code that handles secrets carelessly.
//!
//! A library that splits a key or decodes a text leaves copies behind: in
//! buffers that it frees, and in the stack frames that it leaves. [`scrubbed`]
//! runs such code and wipes both, the heap's part only in a program whose
//! global allocator is a [`WipingAllocator`].

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    hint::black_box,
    ptr,
};

use crate::pages;

/// Bytes of stack that are overwritten: several times what the code run under
/// [`scrubbed`] uses, and a small part of a thread's 2 MiB.
const STACK_BYTES: usize = 64 * 1024;

thread_local! {
    /// Depth of nested [`scrubbed`] calls. Constant initial value and nothing to
    /// drop, so that the allocator may read it at any time.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work` so that what it leaves behind is wiped: memory that it frees
/// (with a [`WipingAllocator`]), and its stack frames.
///
/// What `work` returns is not wiped, so it must not own secrets other than in
/// this crate's types; and memory that another thread frees is not wiped.
pub fn scrubbed<R>(work: impl FnOnce() -> R) -> R {
    struct Scope;
    impl Drop for Scope {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
            wipe_stack();
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _scope = Scope;
    below(work)
}

/// Runs `work` under [`scrubbed`] on a thread of its own, and wipes what that
/// thread's local values free at its end, too.
///
/// For code that draws its secrets from a generator that lives in the thread: a
/// generator's buffer holds what was drawn until the thread ends, and the
/// threads of a daemon don't.
///
/// # Panics
///
/// When `work` does, and when the system has no thread left.
pub fn scrubbed_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let joined = std::thread::scope(|scope| {
        let work = || {
            // Not taken back: the locals of this thread are dropped after its
            // work, and nothing else runs on it.
            DEPTH.set(1);
            scrubbed(work)
        };
        scope.spawn(work).join()
    });
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Keeps the frames of `work` below the caller's, where [`wipe_stack`] writes.
#[inline(never)]
fn below<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn wipe_stack() {
    let mut block = [0_u8; STACK_BYTES];
    pages::wipe(&mut block);
    black_box(&mut block);
}

/// A global allocator that wipes memory freed (or moved) inside [`scrubbed`],
/// and passes everything on to `A`.
///
/// Outside [`scrubbed`] it costs one read of a thread-local per call that frees.
pub struct WipingAllocator<A>(pub A);

fn wiping() -> bool {
    DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0)
}

// SAFETY: every block comes from `A` and goes back to `A` with its own layout;
// a block is written to only between the caller's release and `A`'s.
unsafe impl<A: GlobalAlloc> GlobalAlloc for WipingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if wiping() {
            // SAFETY: the caller gives up a block of this size, valid until the
            // next line.
            unsafe { libc::explicit_bzero(block.cast(), layout.size()) };
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !wiping() {
            // SAFETY: the caller's promise is passed on.
            return unsafe { self.0.realloc(block, layout, new_size) };
        }
        // SAFETY: the caller promises that `new_size`, rounded up to the
        // alignment, is no more than `isize::MAX`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the caller promises that `new_size` is above zero.
        let new_block = unsafe { self.0.alloc(new_layout) };
        if !new_block.is_null() {
            // SAFETY: both blocks are valid for the smaller of their sizes and
            // distinct; the old one is given up by the caller and released with
            // its own layout.
            unsafe {
                ptr::copy_nonoverlapping(block, new_block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
        }
        new_block
    }
}
