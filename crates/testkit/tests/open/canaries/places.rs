//! Places other than files of the nodes: pages, core files, memory.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use rustix::process::Signal;
use strongroom_testkit::Cluster;

use super::PATIENCE;

/// Every page of every node's monitor listener.
pub(super) async fn pages(cluster: &Cluster) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for node in cluster.nodes() {
        for path in ["/metrics", "/status", "/livez", "/readyz"] {
            let (_, page) = node.fetch(path).await.unwrap();
            assert!(!page.is_empty() || path != "/metrics");
            pages.push((format!("node {} {path}", node.id), page));
        }
    }
    pages
}

/// Where this system puts core files of processes that run in `folder`; `None`
/// where it hands them to a program.
pub(super) fn core_folder(folder: &Path) -> Option<PathBuf> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let pattern = pattern.trim();
    if pattern.starts_with('|') {
        return None;
    }
    match Path::new(pattern).parent() {
        Some(parent) if parent.is_absolute() => Some(parent.to_owned()),
        _ => Some(folder.to_owned()),
    }
}

/// Core files of process `pid` in `folder`.
pub(super) fn cores_in(folder: &Path, pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_core = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name == "core" || (name.starts_with("core") && name.contains(&pid.to_string()))
    };
    paths.filter(is_core).collect()
}

/// Aborts a node that is allowed core files of any size, and gives those that it
/// left. There should be none; what there is has to be looked through.
pub(super) async fn core_files(cluster: &Cluster, id: u64) -> Vec<PathBuf> {
    let node = cluster.node(id);
    let pid = node.pid().unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<_> = limit.split_whitespace().collect();
    assert_eq!(values[4..6], ["0", "0"], "core files are off: {limit}");
    // Root may raise the limit from outside; the process is undumpable even so.
    let raised =
        Command::new("prlimit").args(["--core=unlimited", "--pid", &pid.to_string()]).output();
    if !raised.is_ok_and(|output| output.status.success()) {
        println!("the limit of core files could not be raised from outside");
    }
    node.signal(Signal::ABORT).unwrap();
    let ended = node.wait_ended(PATIENCE).await.unwrap();
    assert_eq!(ended.signal(), Some(6), "{ended}");
    assert!(!ended.core_dumped(), "a core file was written");
    core_folder(node.folder()).map_or_else(Vec::new, |folder| cores_in(&folder, pid))
}

/// Writes all memory of a process that can be read into one file.
pub(super) fn memory_image(pid: u32, image: &Path) -> anyhow::Result<()> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut image = File::create(image)?;
    let mut written = 0;
    let mut chunk = vec![0; 1024 * 1024];
    for line in maps.lines() {
        let mut parts = line.split_whitespace();
        let range = parts.next().context("a mapping has a range")?;
        let readable = parts.next().is_some_and(|rights| rights.starts_with('r'));
        let of_kernel = line.ends_with("[vvar]") || line.ends_with("[vsyscall]");
        if !readable || of_kernel || line.contains("[vvar_") {
            continue;
        }
        let (from, to) = range.split_once('-').context("a range has two ends")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        memory.seek(SeekFrom::Start(from))?;
        let mut rest = usize::try_from(to - from)?;
        while rest > 0 {
            let wanted = rest.min(chunk.len());
            // A mapping may be gone meanwhile: the next one is looked at then.
            let Ok(read @ 1..) = memory.read(&mut chunk[..wanted]) else { break };
            image.write_all(&chunk[..read])?;
            rest -= read;
            written += read;
        }
    }
    image.flush()?;
    anyhow::ensure!(written > 0, "no memory of process {pid} can be read");
    Ok(())
}
