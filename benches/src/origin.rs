//! Where figures come from: the machine, the commit, the build.

use std::{fs, path::Path, process::Command, time::SystemTime};

use serde_json::{Value, json};

/// What must be known of figures before they are held against others.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Processor, cores, memory, kernel, file system of the data.
    pub machine: String,
    /// Commit of the checkout, with a mark where files differ from it.
    pub commit: String,
    /// How client, echo and servers were compiled.
    pub build: &'static str,
    /// Seconds since 1970 at the start.
    pub at: u64,
}

/// What one build makes: `cargo xtask bench` builds client, echo and servers in
/// one go.
const BUILD: &str = if cfg!(debug_assertions) {
    "profile dev: dependencies optimised, our crates at opt-level 1 to 3 with overflow checks \
     and debug assertions"
} else {
    "profile release"
};

impl Origin {
    /// Of a run that keeps its data in `folder`. What can't be found out is
    /// `unknown`.
    #[must_use]
    pub fn find(folder: &Path) -> Self {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            machine: machine(folder).unwrap_or_else(|| "unknown".to_owned()),
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
            build: BUILD,
            at: at.as_secs(),
        }
    }

    /// As an object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "machine": self.machine,
            "commit": self.commit,
            "build": self.build,
            "unix_seconds": self.at,
        })
    }
}

fn machine(folder: &Path) -> Option<String> {
    let processors = fs::read_to_string("/proc/cpuinfo").ok()?;
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let model = field(&processors, "model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: u64 = field(&memory, "MemTotal")?.split_whitespace().next()?.parse().ok()?;
    Some(format!(
        "{model}, {cores} cores, {} MiB, Linux {}, data on {}",
        kib / 1024,
        kernel.trim(),
        file_system(&mounts, folder).unwrap_or("unknown")
    ))
}

/// Value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Kind of the file system that `folder` lies on, of proc(5)'s `mounts`: the
/// longest mount point, and of equal ones the last mounted.
fn file_system<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments);
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed { format!("{commit} with changes") } else { commit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_tells_the_file_system() {
        let mounts =
            "a / ext4 rw 0 0\nb /tmp tmpfs rw 0 0\nc /tmp/x xfs rw 0 0\nd / btrfs rw\nbad\n";
        let kind = |folder: &str| file_system(mounts, Path::new(folder));
        assert_eq!(kind("/tmp/xy"), Some("tmpfs"));
        assert_eq!(kind("/tmp/x/y"), Some("xfs"));
        assert_eq!(kind("/var"), Some("btrfs"));
        assert_eq!(file_system("", Path::new("/var")), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t: 7\nmodel name\t: A B: C\n";
        assert_eq!((field(text, "model name"), field(text, "mod")), (Some("A B: C"), None));
    }
}
