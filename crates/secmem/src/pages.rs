//! Pages of memory: mapping, guarding, locking, hiding from dumps.
//!
//! Layout of a mapping: one inaccessible page, the usable bytes, one
//! inaccessible page; so that running off either end is a fault, not a leak.

use std::ptr::{self, NonNull};

use crate::Errno;

/// Usable bytes between two guard pages.
pub(crate) struct Pages {
    /// First usable byte, aligned to a page.
    pub(crate) base: NonNull<u8>,
    /// Number of usable bytes: whole pages.
    pub(crate) bytes: usize,
    /// What the system made of the advice on them.
    pub(crate) advice: Advice,
}

/// What the system made of the advice on a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// Core dumps leave the pages out (`MADV_DONTDUMP`).
    pub(crate) undumpable: Result<(), Errno>,
    /// Forked children see zeros (`MADV_WIPEONFORK`).
    pub(crate) wiped_on_fork: Result<(), Errno>,
}

/// Size of a page in bytes.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: `sysconf` reads a constant of the system and touches no memory.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a page has a positive size on every Linux")
}

/// Maps `len` zeroed bytes (rounded up to whole pages) between guard pages, and
/// asks for them to be left out of core dumps and emptied in forked children.
///
/// # Errors
///
/// The system's error where it has no memory or no mappings left.
pub(crate) fn map(len: usize) -> Result<Pages, Errno> {
    let page = page_bytes();
    let usable = len.next_multiple_of(page);
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice
    // aliases nothing.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            usable + 2 * page,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: `page` bytes into a mapping of `usable + 2 * page` bytes.
    let base = unsafe { start.byte_add(page) };
    // SAFETY: the range lies inside the mapping made above, which nobody else
    // knows of yet.
    if unsafe { libc::mprotect(base, usable, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
        let errno = Errno::last();
        // SAFETY: exactly the mapping made above; no pointer into it is kept.
        unsafe { libc::munmap(start, usable + 2 * page) };
        return Err(errno);
    }
    let advise = |advice| {
        // SAFETY: advice on a range of the mapping made above. Neither kind
        // changes its content in this process.
        match unsafe { libc::madvise(base, usable, advice) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    };
    let advice = Advice {
        undumpable: advise(libc::MADV_DONTDUMP),
        wiped_on_fork: advise(libc::MADV_WIPEONFORK),
    };
    let base = NonNull::new(base.cast()).expect("one page past a mapping's start is not null");
    Ok(Pages { base, bytes: usable, advice })
}

/// Gives back what [`map`] returned for the same `len`, locked or not.
///
/// # Safety
///
/// `base` and `len` are those of one earlier [`map`], not yet unmapped, and no
/// reference into it is alive.
pub(crate) unsafe fn unmap(base: NonNull<u8>, len: usize) {
    let page = page_bytes();
    let usable = len.next_multiple_of(page);
    // SAFETY: the caller gives exactly a mapping made by `map`, which starts
    // one guard page before `base`.
    unsafe { libc::munmap(base.as_ptr().sub(page).cast(), usable + 2 * page) };
}

/// Locks `len` bytes from `base` into RAM.
///
/// # Errors
///
/// The system's error: most often `ENOMEM`, the limit of `RLIMIT_MEMLOCK`.
pub(crate) fn lock(base: NonNull<u8>, len: usize) -> Result<(), Errno> {
    // SAFETY: `mlock` never writes; an address outside any mapping is answered
    // with an error.
    match unsafe { libc::mlock(base.as_ptr().cast(), len) } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}

/// Overwrites `bytes` with zeros, in a way that no optimiser removes.
pub(crate) fn wipe(bytes: &mut [u8]) {
    // SAFETY: an exclusive slice is valid for writes of its length, and zeros
    // are valid bytes.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) };
}
