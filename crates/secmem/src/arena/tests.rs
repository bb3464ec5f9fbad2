//! Tests of the arena's bookkeeping, on arenas of their own.

use std::{cell::Cell, collections::HashSet};

use super::*;

fn assert_invariants(arena: &Arena) {
    let mut listed = HashSet::new();
    for (class, kinds) in arena.roomy.iter().enumerate() {
        for (kind, numbers) in kinds.iter().enumerate() {
            for &number in numbers {
                let region = &arena.regions[number as usize];
                assert!(listed.insert(number), "region {number} is listed twice");
                assert_eq!((region.class, usize::from(region.locked)), (class, kind));
                assert!(!region.free.is_empty(), "region {number} is listed and full");
            }
        }
    }
    let roomy = arena.regions.iter().filter(|region| !region.free.is_empty()).count();
    assert_eq!(roomy, listed.len(), "a region with room is not listed");
    let in_use: usize = arena
        .regions
        .iter()
        .map(|r| (Region::slots(r.class) - r.free.len()) * CLASSES[r.class])
        .sum();
    assert_eq!(in_use, arena.bytes_in_use);
    let locked = arena.regions.iter().filter(|region| region.locked).count() * REGION_BYTES;
    assert_eq!(locked, arena.bytes_locked);
    assert!(locked + arena.bytes_locked_outside <= arena.locked_bytes_max);
}

#[test]
fn a_refused_lock_leaves_a_working_arena_that_says_so() {
    let mut arena = Arena::new(LOCKED_BYTES_MAX, |_, _| Err(Errno(libc::EPERM)));
    assert_eq!(arena.reserve().unwrap().locked, Err(Errno(libc::EPERM)));
    let place = arena.take(32).unwrap();
    let status = arena.status();
    assert!(!status.locked);
    assert_eq!(status.lock_refusal, Some(Errno(libc::EPERM)));
    assert_eq!((status.bytes_in_use, status.bytes_locked), (32, 0));
    assert_eq!(status.bytes_capacity, REGION_BYTES, "an idle unlocked region is used again");
    arena.give_back(place);
    assert_eq!(arena.status().bytes_in_use, 0);
    assert_invariants(&arena);
}

#[test]
fn an_oversize_secret_has_no_slot() {
    let mut arena = Arena::new(0, pages::lock);
    assert_eq!(arena.take(CLASSES[CLASSES.len() - 1] + 1), None);
    assert_eq!(arena.status().bytes_capacity, 0);
}

#[test]
fn locked_bytes_never_pass_the_bound_and_the_rest_is_unlocked() {
    let mut arena = Arena::new(2 * REGION_BYTES + 1, |_, _| Ok(()));
    let places: Vec<_> = (0..32).map(|_| arena.take(8192).unwrap()).collect();
    let status = arena.status();
    assert_eq!((status.bytes_locked, status.bytes_capacity), (2 * REGION_BYTES, 4 * REGION_BYTES));
    assert!(!status.locked);
    places.into_iter().for_each(|place| arena.give_back(place));
    let again = arena.take(32).unwrap();
    assert!(arena.regions[again.region as usize].locked, "locked room comes first");
    assert_invariants(&arena);
}

#[test]
fn the_first_region_tells_what_became_of_every_measure() {
    let mut arena = Arena::new(REGION_BYTES, |_, _| Ok(()));
    let reserved = arena.reserve().unwrap();
    assert_eq!(reserved, Reserved { locked: Ok(()), advice: arena.regions[0].advice });
    assert_eq!(arena.reserve(), Ok(reserved), "a second call makes nothing");
    assert_eq!(arena.status().bytes_capacity, REGION_BYTES);

    let refused = Err(Errno(libc::EINVAL));
    arena.regions[0].advice = Advice { undumpable: refused, wiped_on_fork: refused };
    assert_eq!(arena.reserve().unwrap().advice.wiped_on_fork, refused);
    let place = arena.take(64).unwrap();
    assert_eq!(arena.status().bytes_dumpable, 64);
    arena.give_back(place);
    assert_eq!(arena.status().bytes_dumpable, 0);
}

#[test]
fn pages_outside_are_locked_while_the_bound_lasts_and_regions_count_against_it() {
    let mut arena = Arena::new(3 * REGION_BYTES, |_, _| Ok(()));
    let pages = NonNull::dangling();
    assert!(!arena.lock_outside(pages, 3 * REGION_BYTES + 1));
    assert!(arena.lock_outside(pages, 2 * REGION_BYTES));
    let places: Vec<_> = (0..9).map(|_| arena.take(8192).unwrap()).collect();
    assert_eq!(arena.status().bytes_locked, REGION_BYTES, "one region is left of the bound");
    assert_eq!(arena.status().bytes_capacity, 2 * REGION_BYTES);
    assert!(!arena.lock_outside(pages, 1));
    assert_eq!(arena.status().lock_refusal, None, "the system was not asked");
    assert_invariants(&arena);

    arena.give_back_outside(2 * REGION_BYTES);
    assert_eq!(arena.bytes_locked_outside(), 0);
    places.into_iter().for_each(|place| arena.give_back(place));
    for _ in 0..24 {
        arena.take(8192).unwrap();
    }
    assert_eq!(arena.status().bytes_locked, 3 * REGION_BYTES);
    assert_invariants(&arena);
}

#[test]
fn a_lock_refused_beside_pages_outside_is_tried_again_once_they_are_given_back() {
    thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(2 * REGION_BYTES) };
    }
    let mut arena = Arena::new(LOCKED_BYTES_MAX, |_, bytes| {
        let left = LEFT.get().checked_sub(bytes).ok_or(Errno(libc::ENOMEM))?;
        LEFT.set(left);
        Ok(())
    });
    assert!(!arena.lock_outside(NonNull::dangling(), 2 * REGION_BYTES + 1));
    assert_eq!(arena.status().lock_refusal, Some(Errno(libc::ENOMEM)));
    assert!(arena.lock_outside(NonNull::dangling(), REGION_BYTES), "fewer pages are");
    for _ in 0..9 {
        arena.take(8192).unwrap();
    }
    assert_eq!(arena.status().bytes_locked, REGION_BYTES);
    assert_eq!(arena.lock_refusal, Some(Errno(libc::ENOMEM)));
    assert_eq!(arena.status().bytes_capacity, 2 * REGION_BYTES, "no region is left over");

    LEFT.set(REGION_BYTES);
    arena.give_back_outside(REGION_BYTES);
    let place = arena.take(4096).unwrap();
    assert!(arena.regions[place.region as usize].locked);
    // Refused with nothing outside: the system is not asked again.
    arena.take(2048).unwrap();
    assert_eq!(arena.lock_refusal, Some(Errno(libc::ENOMEM)));
    LEFT.set(REGION_BYTES);
    assert!(!arena.lock_outside(NonNull::dangling(), 1));
    arena.take(1024).unwrap();
    assert_eq!(arena.status().bytes_locked, 2 * REGION_BYTES);
    assert_invariants(&arena);
}

#[test]
fn an_idle_region_serves_another_class_before_unlocked_memory_does() {
    let mut arena = Arena::new(REGION_BYTES, |_, _| Ok(()));
    let small = arena.take(32).unwrap();
    arena.give_back(small);
    arena.take(4096).unwrap();
    assert_eq!(arena.status().bytes_capacity, REGION_BYTES);
    assert!(arena.status().locked);
    assert_invariants(&arena);
}

#[test]
fn slots_in_use_never_overlap() {
    let mut arena = Arena::new(4 * REGION_BYTES, |_, _| Ok(()));
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for round in 0..2000 {
        let len = CLASSES[round % CLASSES.len()];
        let place = arena.take(len).unwrap();
        if round % 3 == 0 {
            arena.give_back(place);
        } else {
            spans.push((place.base.as_ptr().addr(), len));
        }
    }
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    assert_invariants(&arena);
}

/// Flags of the mapping that holds `address`, from `/proc/self/smaps`, and the
/// permissions of the mappings right before and after it.
fn mapping_of(address: usize) -> (String, [String; 2]) {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut maps: Vec<(usize, usize, String, String)> = Vec::new();
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let bounds = range
            .map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
        if let Some((Ok(from), Ok(to))) = bounds {
            maps.push((from, to, line.split(' ').nth(1).unwrap().to_owned(), String::new()));
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            flags.clone_into(&mut maps.last_mut().unwrap().3);
        }
    }
    let at = maps.iter().position(|map| (map.0..map.1).contains(&address)).unwrap();
    assert_eq!(maps[at - 1].1, maps[at].0, "the page before is mapped");
    assert_eq!(maps[at].1, maps[at + 1].0, "the page after is mapped");
    (maps[at].3.clone(), [maps[at - 1].2.clone(), maps[at + 1].2.clone()])
}

#[test]
fn pages_are_fenced_undumpable_and_wiped_on_fork() {
    let mut arena = Arena::new(REGION_BYTES, pages::lock);
    let place = arena.take(64).unwrap();
    let (flags, fences) = mapping_of(place.base.as_ptr().addr());
    assert_eq!(fences, ["---p", "---p"]);
    assert!(flags.split_whitespace().any(|flag| flag == "dd"), "not MADV_DONTDUMP: {flags}");
    assert!(flags.split_whitespace().any(|flag| flag == "wf"), "not MADV_WIPEONFORK: {flags}");
    let locked = flags.split_whitespace().any(|flag| flag == "lo");
    assert_eq!(locked, arena.status().locked, "status and kernel agree on the lock: {flags}");
}

#[test]
fn a_forked_child_sees_zeros() {
    let mut arena = Arena::new(0, pages::lock);
    let place = arena.take(32).unwrap();
    // SAFETY: the slot is ours and 32 bytes long.
    unsafe { place.base.as_ptr().write_bytes(0xa5, 32) };
    // SAFETY: the child only reads memory and ends by `_exit`, both allowed
    // after a fork of a process with threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: see above; the slot is mapped in the child too.
        unsafe { libc::_exit(i32::from(place.base.as_ptr().read_volatile())) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: waits for our own child and writes a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status));
    assert_eq!(libc::WEXITSTATUS(status), 0);
    // SAFETY: the slot is ours.
    assert_eq!(unsafe { place.base.as_ptr().read() }, 0xa5, "the parent keeps its bytes");
}
