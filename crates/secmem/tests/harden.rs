//! `harden_process` changes the whole process, so it has a test binary of its own.

use strongroom_secmem::{Measure, SecretBytes, arena_status, harden_process};

#[test]
fn after_hardening_there_is_no_core_file_and_the_report_agrees_with_the_kernel() {
    let report = harden_process();
    assert_eq!(report.core_files, Measure::Applied);
    assert_eq!(report.undumpable, Measure::Applied);
    assert_eq!(report.memory_undumpable, Measure::Applied);
    assert_eq!(report.memory_wiped_on_fork, Measure::Applied);
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux has it");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let words: Vec<_> = core.expect("the line is there").split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "soft and hard limit");

    let secret = SecretBytes::copy_from(&[1; 32]);
    let status = arena_status();
    assert_eq!(status.locked, report.memory_locked == Measure::Applied);
    assert_eq!(status.bytes_dumpable, 0);
    assert_eq!(status.bytes_in_use, secret.len());
    assert_eq!(report.refusals().count(), usize::from(!status.locked));

    let large = SecretBytes::copy_from(&[1; 20_000]);
    let status = arena_status();
    assert_eq!(status.bytes_locked, locked_by_the_kernel());
    assert!(status.bytes_in_use >= large.len() + secret.len());
    drop(large);
    assert!(arena_status().bytes_locked < status.bytes_locked || !status.locked);
    assert_eq!(arena_status().bytes_locked, locked_by_the_kernel());

    assert_eq!(harden_process(), report, "a second call is harmless");
}

/// Bytes of this process that the kernel holds locked.
fn locked_by_the_kernel() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmLck:")).expect("the line is there");
    let kilobytes = line.split_whitespace().nth(1).and_then(|text| text.parse::<usize>().ok());
    kilobytes.expect("a number") * 1024
}
