//! What `/proc` says: stolen time, CPU of processes and threads, memory.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::load;

/// Ticks of CPU time a second in `/proc` (`USER_HZ`): 100 on every architecture
/// that is supported here (proc(5)).
const TICKS_PER_SECOND: u32 = 100;

/// CPU time of the whole machine in ticks, as of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    busy: u64,
    idle: u64,
    stolen: u64,
}

impl Machine {
    /// As of now, since the machine started.
    ///
    /// # Errors
    ///
    /// When `/proc/stat` can't be read.
    pub fn read() -> anyhow::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?)
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal.
    /// What guests took is within user already.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let line = text.lines().next().context("/proc/stat is empty")?;
        let fields = line
            .strip_prefix("cpu ")
            .context("/proc/stat begins with the sum of all processors")?
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        let [user, nice, system, idle, wait, irq, soft, stolen, ..] = fields[..] else {
            anyhow::bail!("/proc/stat has too few fields");
        };
        Ok(Self { busy: user + nice + system + irq + soft, idle: idle + wait, stolen })
    }

    /// What passed since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(earlier.busy),
            idle: self.idle.saturating_sub(earlier.idle),
            stolen: self.stolen.saturating_sub(earlier.stolen),
        }
    }

    /// Share of all CPU time that the hypervisor gave to others, 0 to 1.
    #[must_use]
    pub fn stolen_share(&self) -> f64 {
        self.share(self.stolen)
    }

    /// Share that went to neither idling nor processes that took `ours`.
    #[must_use]
    pub fn foreign_share(&self, ours: Duration) -> f64 {
        let ours = ours.as_millis() * u128::from(TICKS_PER_SECOND) / 1000;
        self.share(self.busy.saturating_sub(u64::try_from(ours).unwrap_or(u64::MAX)))
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks of a slice are few")]
    fn share(&self, part: u64) -> f64 {
        let all = self.busy + self.idle + self.stolen;
        if all == 0 { 0.0 } else { part as f64 / all as f64 }
    }
}

/// CPU time of threads by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks(BTreeMap<String, Duration>);

impl Tasks {
    /// Of the threads of these processes that live now.
    ///
    /// # Errors
    ///
    /// When a process is gone.
    pub fn of_all(processes: &[u32]) -> anyhow::Result<Self> {
        let mut tasks = Self::default();
        for process in processes {
            for entry in fs::read_dir(format!("/proc/{process}/task"))? {
                // A thread that ended meanwhile has nothing to say.
                let Ok(text) = fs::read_to_string(entry?.path().join("stat")) else { continue };
                let (name, cpu) = parse_stat(&text)?;
                *tasks.0.entry(group(name)).or_default() += cpu;
            }
        }
        Ok(tasks)
    }

    /// CPU time of one process, threads that ended included.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn cpu_of(process: u32) -> anyhow::Result<Duration> {
        let path = format!("/proc/{process}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
        Ok(parse_stat(&text)?.1)
    }

    /// CPU time of several processes.
    ///
    /// # Errors
    ///
    /// When one is gone.
    pub fn cpu_of_all(processes: &[u32]) -> anyhow::Result<Duration> {
        processes.iter().map(|process| Self::cpu_of(*process)).sum()
    }

    /// What passed since `earlier`, the largest first.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<(String, Duration)> {
        let before = |name: &str| earlier.0.get(name).copied().unwrap_or_default();
        let mut passed: Vec<_> = self
            .0
            .iter()
            .map(|(name, cpu)| (name.clone(), cpu.saturating_sub(before(name))))
            .filter(|(_, cpu)| !cpu.is_zero())
            .collect();
        passed.sort_by_key(|(_, passed)| std::cmp::Reverse(*passed));
        passed
    }
}

/// Threads of one pool differ in a number at the end, if at all.
fn group(name: &str) -> String {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == ':').to_owned()
}

/// Name and CPU time from a `stat` file of proc(5): the name is in parentheses
/// and may hold anything; utime and stime are fields 14 and 15.
fn parse_stat(text: &str) -> anyhow::Result<(&str, Duration)> {
    let (head, tail) = text.rsplit_once(')').context("no name")?;
    let (_, name) = head.split_once('(').context("no name")?;
    let mut fields = tail.split_whitespace().skip(11).map(str::parse::<u64>);
    let user = fields.next().context("no utime")??;
    let system = fields.next().context("no stime")??;
    let ticks = u32::try_from(user + system).context("a process of years")?;
    Ok((name, Duration::from_secs(1) * ticks / TICKS_PER_SECOND))
}

/// Bytes on disk of a directory, each file once however often it is linked.
///
/// # Errors
///
/// When it can't be read; files that vanish meanwhile are left out.
pub fn disk_bytes(folder: &Path) -> io::Result<u64> {
    let mut seen = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                folders.push(entry.path());
            } else {
                seen.insert(data.ino(), data.blocks() * 512);
            }
        }
    }
    Ok(seen.into_values().sum())
}

/// Latencies in microseconds of `count` writes of 4 KiB, each followed by
/// fdatasync, to a file in `folder` that is removed again.
///
/// # Errors
///
/// What the system reports.
pub fn fdatasync_us(folder: &Path, count: u32) -> io::Result<Histogram<u64>> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut latencies = load::histogram();
    for _ in 0..count {
        let started = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        latencies.saturating_record(load::micros(started.elapsed()).max(1));
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_foreign_stat_lines_are_refused() {
        for text in ["", "intr 1 2", "cpu  1 2 3", "cpu  1 2 3 4 5 6 7 x"] {
            assert!(Machine::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "1 (a", "1 (a) S 1"] {
            assert!(parse_stat(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn shares_are_of_all_time_and_guests_count_once() {
        let before = Machine::parse("cpu  10 0 0 10 0 0 0 0 10 0").unwrap();
        let after = Machine::parse("cpu  40 10 10 50 5 5 5 30 40 0\ncpu0 1").unwrap();
        let passed = after.since(&before);
        assert_eq!(passed, Machine { busy: 60, idle: 45, stolen: 30 });
        assert!((passed.stolen_share() - 30.0 / 135.0).abs() < 1e-9);
        let foreign = passed.foreign_share(Duration::from_millis(400));
        assert!((foreign - 20.0 / 135.0).abs() < 1e-9);
        assert!(passed.foreign_share(Duration::from_secs(9)).abs() < 1e-9, "never below nothing");
    }

    #[test]
    fn a_thread_may_have_any_name() {
        let text = "7 (a) S (b-3) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let (name, cpu) = parse_stat(text).unwrap();
        assert_eq!((name, cpu), ("a) S (b-3", Duration::from_secs(2)));
        assert_eq!(group("tokio-rt-worker-12"), "tokio-rt-worker");
        assert_eq!(group("rocksdb:low3"), "rocksdb:low");
    }

    #[test]
    fn a_file_linked_twice_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("a"), vec![1; 100_000]).unwrap();
        let once = disk_bytes(folder.path()).unwrap();
        assert!(once >= 100_000);
        fs::hard_link(folder.path().join("a"), folder.path().join("sub/b")).unwrap();
        assert_eq!(disk_bytes(folder.path()).unwrap(), once);
    }
}
