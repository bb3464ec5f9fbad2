//! Owned bytes of secret memory, and the process-wide arena that they come from.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    ArenaStatus, Errno, LOCKED_BYTES_MAX,
    arena::{Arena, CLASSES, Place, Reserved},
    pages,
};

static SHARED: Mutex<Shared> = Mutex::new(Shared {
    arena: Arena::new(LOCKED_BYTES_MAX, pages::lock),
    own_bytes: 0,
    dumpable_bytes: 0,
});

/// The arena and what is kept outside it. All sizes in bytes.
struct Shared {
    arena: Arena,
    /// Secrets outside the arena: on pages of their own or on the heap.
    own_bytes: usize,
    /// Part of those that may appear in a core dump.
    dumpable_bytes: usize,
}

/// The bookkeeping is whole between any two calls, so a panic elsewhere while
/// the lock was held leaves it usable.
fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the process's secret memory holds.
#[must_use]
pub fn arena_status() -> ArenaStatus {
    let shared = shared();
    let status = shared.arena.status();
    let bytes_capacity = status.bytes_capacity + shared.own_bytes;
    let bytes_locked = status.bytes_locked + shared.arena.bytes_locked_outside();
    ArenaStatus {
        locked: bytes_capacity > 0 && bytes_locked == bytes_capacity,
        bytes_in_use: status.bytes_in_use + shared.own_bytes,
        bytes_capacity,
        bytes_locked,
        bytes_dumpable: status.bytes_dumpable + shared.dumpable_bytes,
        ..status
    }
}

/// Makes the arena's first region. See [`Arena::reserve`].
pub(crate) fn reserve() -> Result<Reserved, Errno> {
    shared().arena.reserve()
}

enum Home {
    Arena(Place),
    Pages { undumpable: bool, locked: bool },
    Heap,
}

/// Owned secret bytes: zeroed when made, at one address while alive, wiped when
/// dropped. Aligned to 16 bytes at least.
///
/// Invariant: `base` is valid for reads and writes of `capacity >= len` bytes;
/// bytes from `len` to `capacity` are zero.
pub(crate) struct Slot {
    base: NonNull<u8>,
    len: usize,
    capacity: usize,
    home: Home,
}

// SAFETY: a slot owns its bytes alone, like a `Box<[u8]>`; nothing in it is
// bound to a thread.
unsafe impl Send for Slot {}
// SAFETY: shared access is read-only.
unsafe impl Sync for Slot {}

impl Slot {
    /// `len` zero bytes: in the arena; a secret larger than its largest class,
    /// or one for which no region could be mapped, on pages of its own, which are
    /// locked while the bound lasts; and where the system has no mapping left, on
    /// the heap.
    pub(crate) fn zeroed(len: usize) -> Self {
        if len <= CLASSES[CLASSES.len() - 1]
            && let Some(place) = shared().arena.take(len)
        {
            return Self { base: place.base, len, capacity: len, home: Home::Arena(place) };
        }
        let mapped = pages::map(len);
        let mut shared = shared();
        let slot = match mapped {
            Ok(mapped) => {
                let undumpable = mapped.advice.undumpable.is_ok();
                let locked = shared.arena.lock_outside(mapped.base, mapped.bytes);
                let home = Home::Pages { undumpable, locked };
                Self { base: mapped.base, len, capacity: mapped.bytes, home }
            }
            Err(_) => Self::on_heap(len),
        };
        shared.own_bytes += slot.capacity;
        shared.dumpable_bytes += slot.bytes_dumpable();
        slot
    }

    fn on_heap(len: usize) -> Self {
        let layout = Self::heap_layout(len);
        // SAFETY: the layout has a size above zero.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        Self { base, len, capacity: len, home: Home::Heap }
    }

    fn heap_layout(len: usize) -> Layout {
        Layout::from_size_align(len.max(1), 16).expect("a secret is far smaller than isize::MAX")
    }

    fn bytes_dumpable(&self) -> usize {
        match self.home {
            Home::Pages { undumpable: false, .. } | Home::Heap => self.capacity,
            Home::Pages { undumpable: true, .. } | Home::Arena(_) => 0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the invariant of the struct; the borrow of `self` keeps the
        // bytes alive and unchanged.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the invariant of the struct; the exclusive borrow of `self`
        // is the only way to the bytes.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// Wipes what lies beyond `len` and forgets it; longer lengths change
    /// nothing.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len {
            pages::wipe(&mut self.bytes_mut()[len..]);
            self.len = len;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        pages::wipe(self.bytes_mut());
        match self.home {
            Home::Arena(place) => return shared().arena.give_back(place),
            // SAFETY: mapped by `zeroed` with this very length in whole pages,
            // and nobody else has the pointer.
            Home::Pages { .. } => unsafe { pages::unmap(self.base, self.capacity) },
            // SAFETY: allocated by `on_heap` with this very layout.
            Home::Heap => unsafe { dealloc(self.base.as_ptr(), Self::heap_layout(self.capacity)) },
        }
        let mut shared = shared();
        shared.own_bytes -= self.capacity;
        shared.dumpable_bytes -= self.bytes_dumpable();
        if let Home::Pages { locked: true, .. } = self.home {
            shared.arena.give_back_outside(self.capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_given_back_is_zero_when_it_is_lent_again() {
        // A class of its own, so that tests on other threads take no part.
        let mut slot = Slot::zeroed(2048);
        slot.bytes_mut().fill(0xa5);
        let address = slot.base;
        drop(slot);
        let again: Vec<Slot> = (0..64).map(|_| Slot::zeroed(2048)).collect();
        assert!(again.iter().any(|slot| slot.base == address), "the slot is lent again");
        assert!(again.iter().all(|slot| slot.bytes().iter().all(|&byte| byte == 0)));
    }

    #[test]
    fn truncating_wipes_the_tail_and_never_grows() {
        let mut slot = Slot::zeroed(100);
        slot.bytes_mut().fill(7);
        slot.truncate(101);
        assert_eq!(slot.bytes().len(), 100);
        slot.truncate(3);
        assert_eq!(slot.bytes(), [7; 3]);
        // SAFETY: the slot's capacity is 100 bytes.
        let tail = unsafe { std::slice::from_raw_parts(slot.base.as_ptr().add(3), 97) };
        assert_eq!(tail, [0; 97]);
    }

    #[test]
    fn a_large_secret_has_pages_of_its_own_that_are_locked_and_counted() {
        let mut slot = Slot::zeroed(100_000);
        let Home::Pages { undumpable, locked } = slot.home else { panic!("not on pages") };
        assert!(undumpable);
        assert!(slot.bytes().iter().all(|&byte| byte == 0));
        slot.bytes_mut()[99_999] = 1;
        assert_eq!(slot.capacity, 100_000_usize.next_multiple_of(pages::page_bytes()));
        let status = arena_status();
        assert!(status.bytes_in_use >= slot.capacity);
        if locked {
            assert!(status.bytes_locked >= slot.capacity);
        } else {
            assert!(status.lock_refusal.is_some(), "it is within the bound");
            assert!(!status.locked, "a secret in unlocked memory shows");
        }
    }

    #[test]
    fn a_secret_beyond_the_bound_is_unlocked_and_shows() {
        let slot = Slot::zeroed(LOCKED_BYTES_MAX + 1);
        assert!(matches!(slot.home, Home::Pages { locked: false, .. }));
        let status = arena_status();
        assert!(!status.locked);
        assert!(status.bytes_capacity - status.bytes_locked >= slot.capacity);
    }

    #[test]
    fn the_heap_serves_where_there_is_no_mapping() {
        let mut slot = Slot::on_heap(33);
        assert_eq!(slot.bytes(), [0; 33]);
        slot.bytes_mut().fill(9);
        assert_eq!(slot.bytes_dumpable(), 33);
        let mut shared = shared();
        shared.own_bytes += 33;
        shared.dumpable_bytes += 33;
        drop(shared);
        drop(slot);
    }

    #[test]
    fn an_empty_secret_is_allowed() {
        assert!(Slot::zeroed(0).bytes().is_empty());
    }
}
