//! The arena's bookkeeping: regions of pages cut into slots of equal size.
//!
//! A region belongs to one size class while any of its slots is in use, and may
//! change class when none is. Regions are locked into RAM up to a bound, then
//! (or where the system refuses the lock) mapped without it: secrets beyond the
//! bound still stay out of dumps and of forked children. Regions are never
//! unmapped, so the arena's size is that of its peak.
//!
//! The bound is one for the process: pages outside the arena are locked, while it
//! lasts, by [`Arena::lock_outside`].
//!
//! Does not know what is in a slot; whoever gives one back has wiped it.

use std::ptr::NonNull;

use crate::{
    Errno,
    pages::{self, Advice},
};

/// Most bytes that are locked into RAM: the usual `RLIMIT_MEMLOCK`.
pub const LOCKED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a region: a multiple of every page size in use, and small enough
/// that a limit of 64 KiB still locks the first one.
pub(crate) const REGION_BYTES: usize = 64 * 1024;

/// Sizes of slots in bytes, ascending. Larger secrets get pages of their own.
pub(crate) const CLASSES: [usize; 9] = [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

/// What the arena holds. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaStatus {
    /// Every secret of this process is in locked memory.
    pub locked: bool,
    /// Slots in use, by the size of their class, and secrets with pages of
    /// their own.
    pub bytes_in_use: usize,
    /// All slots, used and free, and secrets with pages of their own.
    pub bytes_capacity: usize,
    /// Part of the capacity that is locked into RAM.
    pub bytes_locked: usize,
    /// Part of what is in use that may appear in a core dump: the system
    /// refused the advice, or had no mapping left and the heap had to do.
    pub bytes_dumpable: usize,
    /// Why the system refused to lock, where it did.
    pub lock_refusal: Option<Errno>,
}

/// One slot, on loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base: NonNull<u8>,
    region: u32,
    index: u16,
}

struct Region {
    base: NonNull<u8>,
    class: usize,
    locked: bool,
    advice: Advice,
    /// Indexes of free slots; the last one is handed out next.
    free: Vec<u16>,
}

impl Region {
    fn slots(class: usize) -> usize {
        REGION_BYTES / CLASSES[class]
    }

    fn is_dumpable(&self) -> bool {
        self.advice.undumpable.is_err()
    }

    fn is_idle(&self) -> bool {
        self.free.len() == Self::slots(self.class)
    }

    fn assign(&mut self, class: usize) {
        let slots = u16::try_from(Self::slots(class)).expect("a region has at most 2048 slots");
        self.class = class;
        self.free.clear();
        self.free.extend((0..slots).rev());
    }
}

/// What became of the measures on the first region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) locked: Result<(), Errno>,
    pub(crate) advice: Advice,
}

/// Regions and their free slots.
///
/// Invariants: `roomy[class][locked]` lists exactly the regions of that class
/// and kind that have a free slot, each once; every free slot is all zeros;
/// `bytes_locked` and `bytes_locked_outside` together are at most
/// `locked_bytes_max`.
pub(crate) struct Arena {
    locked_bytes_max: usize,
    lock: fn(NonNull<u8>, usize) -> Result<(), Errno>,
    regions: Vec<Region>,
    roomy: [[Vec<u32>; 2]; CLASSES.len()],
    bytes_in_use: usize,
    bytes_locked: usize,
    bytes_locked_outside: usize,
    bytes_dumpable: usize,
    /// Why the system refused to lock a region: it is not asked again.
    lock_refusal: Option<Errno>,
    /// That refusal came while pages outside were locked, and is forgotten when
    /// some of them are given back.
    refused_beside_outside: bool,
    /// Why the system refused to lock pages outside.
    outside_refusal: Option<Errno>,
}

// SAFETY: the pointers lead to mappings that the arena owns for the life of the
// process and never dereferences itself; nothing in them is bound to a thread.
unsafe impl Send for Arena {}

impl Arena {
    /// An empty arena that locks at most `locked_bytes_max` bytes with `lock`.
    pub(crate) const fn new(
        locked_bytes_max: usize,
        lock: fn(NonNull<u8>, usize) -> Result<(), Errno>,
    ) -> Self {
        Self {
            locked_bytes_max,
            lock,
            regions: Vec::new(),
            roomy: [const { [const { Vec::new() }; 2] }; CLASSES.len()],
            bytes_in_use: 0,
            bytes_locked: 0,
            bytes_locked_outside: 0,
            bytes_dumpable: 0,
            lock_refusal: None,
            refused_beside_outside: false,
            outside_refusal: None,
        }
    }

    /// A free slot of at least `len` bytes, all zeros; `None` where `len`
    /// exceeds every class or the system has no memory left.
    pub(crate) fn take(&mut self, len: usize) -> Option<Place> {
        let class = CLASSES.iter().position(|&bytes| bytes >= len)?;
        let number = self.roomy_region(class)?;
        let region = &mut self.regions[number as usize];
        let index = region.free.pop().expect("a region listed as roomy has a free slot");
        let (kind, dumpable) = (usize::from(region.locked), region.is_dumpable());
        // SAFETY: `index` is below the number of slots of this class, so the
        // offset stays inside the region.
        let base = unsafe { region.base.add(usize::from(index) * CLASSES[class]) };
        if region.free.is_empty() {
            self.roomy[class][kind].pop();
        }
        self.bytes_in_use += CLASSES[class];
        self.bytes_dumpable += if dumpable { CLASSES[class] } else { 0 };
        Some(Place { base, region: number, index })
    }

    /// Takes a slot back. The caller has wiped it and keeps no pointer to it.
    pub(crate) fn give_back(&mut self, place: Place) {
        let region = &mut self.regions[place.region as usize];
        let bytes = CLASSES[region.class];
        if region.free.is_empty() {
            self.roomy[region.class][usize::from(region.locked)].push(place.region);
        }
        region.free.push(place.index);
        self.bytes_in_use -= bytes;
        self.bytes_dumpable -= if region.is_dumpable() { bytes } else { 0 };
    }

    /// Makes sure that there is a region, locked if possible, and says what
    /// became of the measures on it.
    ///
    /// # Errors
    ///
    /// The system's error where it has no memory for a region.
    pub(crate) fn reserve(&mut self) -> Result<Reserved, Errno> {
        if self.regions.is_empty() {
            let locked = self.may_lock(REGION_BYTES) && self.grow(0, true).is_ok();
            if !locked {
                self.grow(0, false)?;
            }
        }
        let Region { locked, advice, .. } = self.regions[0];
        let refusal = self.lock_refusal.unwrap_or(Errno(libc::ENOMEM));
        Ok(Reserved { locked: if locked { Ok(()) } else { Err(refusal) }, advice })
    }

    /// Locks pages that are not the arena's, if the bound lasts for them and the
    /// system lets it; says whether they are locked. They count until
    /// [`Arena::give_back_outside`].
    pub(crate) fn lock_outside(&mut self, base: NonNull<u8>, bytes: usize) -> bool {
        if !self.may_lock(bytes) {
            return false;
        }
        match (self.lock)(base, bytes) {
            Ok(()) => {
                self.bytes_locked_outside += bytes;
                true
            }
            // Of that many pages: a region is smaller, and may be locked yet.
            Err(errno) => {
                self.outside_refusal = Some(errno);
                false
            }
        }
    }

    /// Counts `bytes` that [`Arena::lock_outside`] locked as unlocked again.
    pub(crate) fn give_back_outside(&mut self, bytes: usize) {
        self.bytes_locked_outside -= bytes;
        if self.refused_beside_outside {
            self.lock_refusal = None;
            self.refused_beside_outside = false;
        }
    }

    /// Bytes locked by [`Arena::lock_outside`] at present.
    pub(crate) fn bytes_locked_outside(&self) -> usize {
        self.bytes_locked_outside
    }

    pub(crate) fn status(&self) -> ArenaStatus {
        let bytes_capacity = self.regions.len() * REGION_BYTES;
        ArenaStatus {
            locked: bytes_capacity > 0 && self.bytes_locked == bytes_capacity,
            bytes_in_use: self.bytes_in_use,
            bytes_capacity,
            bytes_locked: self.bytes_locked,
            bytes_dumpable: self.bytes_dumpable,
            lock_refusal: self.lock_refusal.or(self.outside_refusal),
        }
    }

    fn may_lock(&self, bytes: usize) -> bool {
        let locked = self.bytes_locked + self.bytes_locked_outside;
        self.lock_refusal.is_none() && bytes <= self.locked_bytes_max - locked
    }

    /// A region of `class` with a free slot: a locked one if possible, then an
    /// idle one of another class, then an unlocked one.
    fn roomy_region(&mut self, class: usize) -> Option<u32> {
        if let Some(&number) = self.roomy[class][1].last() {
            return Some(number);
        }
        if self.may_lock(REGION_BYTES)
            && let Ok(number) = self.grow(class, true)
        {
            return Some(number);
        }
        if let Some(number) = self.reassign_idle(class, true) {
            return Some(number);
        }
        if let Some(&number) = self.roomy[class][0].last() {
            return Some(number);
        }
        self.reassign_idle(class, false).or_else(|| self.grow(class, false).ok())
    }

    /// One more region of `class`: locked or, where the system refuses that, not
    /// made.
    fn grow(&mut self, class: usize, locked: bool) -> Result<u32, Errno> {
        let number = u32::try_from(self.regions.len()).map_err(|_| Errno(libc::ENOMEM))?;
        let mapped = pages::map(REGION_BYTES)?;
        if locked && let Err(errno) = (self.lock)(mapped.base, REGION_BYTES) {
            // SAFETY: mapped above with this very length, and nobody else has
            // the pointer.
            unsafe { pages::unmap(mapped.base, REGION_BYTES) };
            self.lock_refusal = Some(errno);
            self.refused_beside_outside = self.bytes_locked_outside > 0;
            return Err(errno);
        }
        let mut region =
            Region { base: mapped.base, class, locked, advice: mapped.advice, free: Vec::new() };
        region.assign(class);
        self.regions.push(region);
        self.roomy[class][usize::from(locked)].push(number);
        self.bytes_locked += if locked { REGION_BYTES } else { 0 };
        Ok(number)
    }

    fn reassign_idle(&mut self, class: usize, locked: bool) -> Option<u32> {
        let at = self.regions.iter().position(|r| r.locked == locked && r.is_idle())?;
        let number = u32::try_from(at).expect("regions are numbered by u32");
        let region = &mut self.regions[at];
        self.roomy[region.class][usize::from(locked)].retain(|&other| other != number);
        region.assign(class);
        self.roomy[class][usize::from(locked)].push(number);
        Some(number)
    }
}

#[cfg(test)]
mod tests;
