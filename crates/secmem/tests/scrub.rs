//! `scrubbed` under a global allocator that looks at what is given back to it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::RefCell,
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
};

use strongroom_secmem::{WipingAllocator, scrubbed, scrubbed_thread};

const CANARY: u8 = 0xc9;

/// Counts blocks that still hold a run of canary bytes when they are freed.
struct Inspector;

static CANARIES_FREED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator; reads a block only
// while its owner has not released it yet.
unsafe impl GlobalAlloc for Inspector {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: allocated with this size, all of it initialised by `alloc`.
        let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
        if bytes.windows(8).any(|window| window == [CANARY; 8]) {
            CANARIES_FREED.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: WipingAllocator<Inspector> = WipingAllocator(Inspector);

/// Frees one canary by dropping and several by growing.
fn careless() -> usize {
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        bytes.push(black_box(CANARY));
    }
    black_box(bytes).len()
}

/// Leaves a canary with its thread, as a generator leaves what it drew.
fn careless_thread() -> usize {
    thread_local! {
        static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    KEPT.with_borrow_mut(|kept| {
        kept.resize(1000, black_box(CANARY));
        kept.len()
    })
}

#[inline(never)]
fn careless_stack() -> usize {
    let block = black_box([CANARY; 4096]);
    block.as_ptr().addr()
}

/// Looks at stack memory below the caller's frame, where a call just ended.
#[inline(never)]
fn canaries_at(address: usize) -> usize {
    let from = std::ptr::with_exposed_provenance::<u8>(address);
    (0..4096)
        // SAFETY: a part of this thread's own mapped stack; whatever stands
        // there is a valid byte, read volatile because no object lives there.
        .filter(|&at| unsafe { from.add(at).read_volatile() } == CANARY)
        .count()
}

// One test, because the counter belongs to the process.
#[test]
fn memory_freed_and_stack_left_inside_scrubbed_is_wiped() {
    assert_eq!(careless(), 1000);
    assert!(CANARIES_FREED.swap(0, Ordering::SeqCst) > 1, "the inspector sees a planted canary");

    assert_eq!(scrubbed(careless), 1000);
    assert_eq!(CANARIES_FREED.load(Ordering::SeqCst), 0);

    assert_eq!(scrubbed(|| scrubbed(careless) + careless()), 2000);
    assert_eq!(CANARIES_FREED.load(Ordering::SeqCst), 0, "nested calls wipe to the outer end");

    let plain = std::thread::spawn(|| scrubbed(careless_thread));
    assert_eq!(plain.join().unwrap(), 1000);
    assert!(
        CANARIES_FREED.swap(0, Ordering::SeqCst) > 0,
        "what a thread keeps outlives `scrubbed`"
    );
    assert_eq!(scrubbed_thread(careless_thread), 1000);
    assert_eq!(CANARIES_FREED.load(Ordering::SeqCst), 0, "what the thread kept is wiped");
    let panicked = std::panic::catch_unwind(|| scrubbed_thread(|| panic!("planted")));
    assert!(panicked.is_err());
    CANARIES_FREED.store(0, Ordering::SeqCst);

    let panicked = std::panic::catch_unwind(|| scrubbed(|| panic!("planted")));
    assert!(panicked.is_err());
    careless();
    assert!(CANARIES_FREED.load(Ordering::SeqCst) > 0, "wiping ends with the scope");

    let address = careless_stack();
    assert!(canaries_at(address) > 1000, "the planted canary stays on the stack by itself");
    let address = scrubbed(careless_stack);
    assert!(canaries_at(address) < 100);
}
