//! Process hardening: no core dumps, no debugger of the same user.
//!
//! Measures are independent: one that the system refuses does not stop the
//! next. The caller warns of each refusal; going on is its decision.

use std::{fmt, io};

use crate::{arena::Reserved, slot};

/// An error number of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// The calling thread's last error.
    pub(crate) fn last() -> Self {
        Self(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

/// What became of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// In force.
    Applied,
    /// Refused by the system; the process goes on without it.
    Refused(Errno),
}

impl Measure {
    fn of(status: libc::c_int) -> Self {
        if status == 0 { Self::Applied } else { Self::Refused(Errno::last()) }
    }
}

impl From<Result<(), Errno>> for Measure {
    fn from(outcome: Result<(), Errno>) -> Self {
        outcome.map_or_else(Self::Refused, |()| Self::Applied)
    }
}

/// What became of each measure of [`harden_process`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardeningReport {
    /// `RLIMIT_CORE` is zero, soft and hard: no core file.
    pub core_files: Measure,
    /// `PR_SET_DUMPABLE` is off: no core to a pipe handler, no attaching by
    /// another process of the same user, `/proc/<pid>/mem` closed to it.
    pub undumpable: Measure,
    /// The arena's first pages are locked into RAM.
    pub memory_locked: Measure,
    /// Core dumps leave the arena's first pages out (`MADV_DONTDUMP`).
    pub memory_undumpable: Measure,
    /// Forked children see the arena's first pages empty (`MADV_WIPEONFORK`).
    pub memory_wiped_on_fork: Measure,
    /// Soft limit of `RLIMIT_MEMLOCK` in bytes; `None`: no limit.
    pub memlock_limit_bytes: Option<u64>,
}

impl HardeningReport {
    /// The measures that are not in force, by name, with the system's reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, Errno)> {
        [
            ("core files off (RLIMIT_CORE)", self.core_files),
            ("process undumpable (PR_SET_DUMPABLE)", self.undumpable),
            ("secret memory locked (RLIMIT_MEMLOCK)", self.memory_locked),
            ("secret memory out of core dumps (MADV_DONTDUMP)", self.memory_undumpable),
            ("secret memory empty in forked children (MADV_WIPEONFORK)", self.memory_wiped_on_fork),
        ]
        .into_iter()
        .filter_map(|(name, measure)| match measure {
            Measure::Applied => None,
            Measure::Refused(errno) => Some((name, errno)),
        })
    }
}

/// Switches core dumps and debuggers off, and locks the arena's first pages.
///
/// Call it first thing in `main`, before any secret exists. Calling it again is
/// harmless.
///
/// A side effect of the undumpable flag: files under `/proc/<pid>` belong to
/// root, so that other processes of the same user no longer read them.
pub fn harden_process() -> HardeningReport {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `setrlimit` reads the struct, which lives through the call.
    let core_files = Measure::of(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) });
    // SAFETY: this option takes one integer and touches no memory of ours.
    let undumpable = Measure::of(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) });
    let reserved = slot::reserve();
    let memory = |outcome: fn(Reserved) -> Result<(), Errno>| -> Measure {
        reserved.and_then(outcome).into()
    };
    HardeningReport {
        core_files,
        undumpable,
        memory_locked: memory(|reserved| reserved.locked),
        memory_undumpable: memory(|reserved| reserved.advice.undumpable),
        memory_wiped_on_fork: memory(|reserved| reserved.advice.wiped_on_fork),
        memlock_limit_bytes: memlock_limit(),
    }
}

fn memlock_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `getrlimit` writes the struct, which lives through the call.
    let status = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (status == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_measures_are_listed_by_name_and_reason() {
        let report = HardeningReport {
            core_files: Measure::Applied,
            undumpable: Measure::Refused(Errno(libc::EPERM)),
            memory_locked: Measure::Refused(Errno(libc::ENOMEM)),
            memory_undumpable: Measure::Refused(Errno(libc::EINVAL)),
            memory_wiped_on_fork: Measure::Refused(Errno(libc::ENOSYS)),
            memlock_limit_bytes: Some(0),
        };
        let refusals: Vec<_> = report.refusals().collect();
        assert_eq!(refusals.len(), 4);
        assert!(refusals[0].0.contains("PR_SET_DUMPABLE"));
        assert_eq!(refusals[1].1, Errno(libc::ENOMEM));
        assert!(refusals[1].1.to_string().contains("memory"));
        assert!(refusals[2].0.contains("MADV_DONTDUMP"));
        assert_eq!(refusals[2].1, Errno(libc::EINVAL));
        assert!(refusals[3].0.contains("MADV_WIPEONFORK"));
        assert_eq!(refusals[3].1, Errno(libc::ENOSYS));
    }
}
