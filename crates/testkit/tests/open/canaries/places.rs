//! What is looked through: files of the nodes, pages, core files, memory.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use rustix::process::Signal;
use strongroom_testkit::{
    Cluster,
    faults::files_under,
    scan::{self, Finding, Layer, Scanner},
};

use super::PATIENCE;

/// Kinds that are there once a cluster has worked, taken snapshots, and one of
/// its nodes was killed and started again. Others are looked through too.
pub(super) const KINDS: [&str; 31] = [
    "server.log",
    "server.toml",
    "data/LOCK",
    "data/boot",
    "data/ceremony",
    "data/endpoints.json",
    "data/identity.json",
    "data/log.watermark",
    "data/log/#.log",
    "data/log/#.sst",
    "data/log/CURRENT",
    "data/log/IDENTITY",
    "data/log/LOG",
    "data/log/MANIFEST-#",
    "data/log/OPTIONS-#",
    "data/state/CURRENT",
    "data/state/#/#.sst",
    "data/state/#/CURRENT",
    "data/state/#/IDENTITY",
    "data/state/#/LOG",
    "data/state/#/MANIFEST-#",
    "data/state/#/OPTIONS-#",
    "data/snapshots/#/#.sst",
    "data/snapshots/#/CONTENTS",
    "data/snapshots/#/CURRENT",
    "data/snapshots/#/MANIFEST-#",
    "data/snapshots/#/OPTIONS-#",
    "node # /metrics",
    "node # /status",
    "node # /livez",
    "node # /readyz",
];

/// A file, or a page of a listener.
pub(super) struct Place {
    /// Folder below which the path tells the kind; empty for a page.
    root: PathBuf,
    /// Path of the file, or name of the page.
    path: PathBuf,
    /// Text of the page; `None`: it is a file.
    text: Option<Vec<u8>>,
}

impl Place {
    fn of_file(root: &Path, path: PathBuf) -> Self {
        Self { root: root.to_owned(), path, text: None }
    }

    fn of_page(name: &str, text: Vec<u8>) -> Self {
        Self { root: PathBuf::new(), path: name.into(), text: Some(text) }
    }

    /// Its name without numbers.
    pub(super) fn kind(&self) -> String {
        scan::kind(&self.root, &self.path)
    }

    /// In what layers it is looked through.
    pub(super) fn layers(&self) -> Vec<Layer> {
        if self.text.is_some() { vec![Layer::AsItIs] } else { Layer::of(&self.path) }
    }

    /// Looks through it.
    pub(super) fn scan(&self, scanner: &Scanner) -> Vec<Finding> {
        match &self.text {
            Some(text) => scanner.bytes(&self.path, text),
            None => scanner.file(&self.path).unwrap(),
        }
    }

    /// What it holds.
    pub(super) fn content(&self) -> Vec<u8> {
        self.text.clone().unwrap_or_else(|| fs::read(&self.path).unwrap())
    }

    /// A place of the same kind that holds `content`; a file lies below `root`.
    pub(super) fn copy(&self, root: &Path, content: Vec<u8>) -> Self {
        if self.text.is_some() {
            return Self { root: PathBuf::new(), path: self.path.clone(), text: Some(content) };
        }
        let path = root.join(self.path.strip_prefix(&self.root).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        Self::of_file(root, path)
    }
}

/// All kinds of these places, each with every layer that is looked at.
pub(super) fn kinds(places: &[Place]) -> BTreeSet<(String, Layer)> {
    let layers = |place: &Place| {
        let kind = place.kind();
        place.layers().into_iter().map(move |layer| (kind.clone(), layer))
    };
    places.iter().flat_map(layers).collect()
}

/// Every file of every node, and core files, wherever they lie.
pub(super) fn files(cluster: &Cluster, cores: &[PathBuf]) -> Vec<Place> {
    let mut files = Vec::new();
    for node in cluster.nodes() {
        let root = node.folder();
        let below = files_under(root).unwrap();
        files.extend(below.into_iter().map(|path| Place::of_file(root, path)));
    }
    for core in cores {
        files.push(Place::of_file(core.parent().unwrap(), core.clone()));
    }
    files
}

/// Every page of every node's monitor listener.
pub(super) async fn pages(cluster: &Cluster) -> Vec<Place> {
    let mut pages = Vec::new();
    for node in cluster.nodes() {
        for path in ["/metrics", "/status", "/livez", "/readyz"] {
            let (_, page) = node.fetch(path).await.unwrap();
            assert!(!page.is_empty() || path != "/metrics");
            pages.push(Place::of_page(&format!("node {} {path}", node.id), page.into_bytes()));
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
