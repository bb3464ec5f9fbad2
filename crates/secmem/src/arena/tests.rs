//! Tests of the arena's bookkeeping, on arenas of their own.

use std::collections::HashSet;

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
}

#[test]
fn a_refused_lock_leaves_a_working_arena_that_says_so() {
    let mut arena = Arena::new(LOCKED_BYTES_MAX, |_, _| Err(Errno(libc::EPERM)));
    assert_eq!(arena.reserve(), Err(Errno(libc::EPERM)));
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
