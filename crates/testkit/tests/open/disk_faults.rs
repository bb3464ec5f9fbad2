//! A torn last write, flipped bytes, a full disk, a hung disk: recovered, handed
//! over, or refused with file and remedy named; never wrong data.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use strongroom_testkit::{
    Cluster, Explain as _, Node, StatusExt as _, Tenant, evidence,
    faults::{Mount, copy_folder, files_under, flip, kind_of, tear},
    load::Load,
    rounds::{rounds, seed},
    wait,
};
use strongroom_wire::v1::{TakeSnapshotRequest, TransferLeaderRequest};

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;
/// Records of a log of RocksDB lie in blocks of this size.
const LOG_BLOCK_BYTES: usize = 32 * 1024;
/// Exit codes of a node that refuses its disk: at the start, and later.
const REFUSALS: [Option<i32>; 3] = [Some(1), Some(70), Some(71)];

/// The disk of node 3, which was killed under load, and a copy of it.
///
/// A copy is put back only as long as the node has acknowledged nothing since it
/// was taken: later it would be an old one, which is another fault (and refused:
/// `disk_tampering`).
struct Patient {
    name: &'static str,
    cluster: Cluster,
    copy: PathBuf,
}

impl Patient {
    async fn new(name: &'static str) -> Self {
        let cluster = Cluster::builder(name).snapshot_every(50, 20).serving().await.unwrap();
        let copy = cluster.folder().join("copy");
        let patient = Self { name, cluster, copy };
        patient.kill_under_load(150, || ()).await;
        patient
    }

    /// Kills node 3 under load, after so many results, and copies its disk, which
    /// `mend` has rid of what was done to it.
    async fn kill_under_load(&self, results: u64, mend: impl FnOnce()) {
        let tenant = self.cluster.tenant().await.unwrap();
        let load = Load::start(&self.cluster, &tenant, 8);
        load.progress(results, PATIENCE).await.unwrap();
        self.node().kill().unwrap();
        load.progress(results / 3, PATIENCE).await.unwrap();
        load.stop().await.unwrap();
        mend();
        if self.copy.exists() {
            fs::remove_dir_all(&self.copy).unwrap();
        }
        copy_folder(self.node().data_dir(), &self.copy).unwrap();
    }

    fn node(&self) -> &Node {
        self.cluster.node(3)
    }

    fn restore(&self) {
        fs::remove_dir_all(self.node().data_dir()).unwrap();
        copy_folder(&self.copy, self.node().data_dir()).unwrap();
    }

    /// The file of the Raft log that is written last.
    fn newest_log(&self) -> PathBuf {
        let files = files_under(&self.node().data_dir().join("log")).unwrap();
        let logs = files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "log"));
        logs.max().expect("a log in use")
    }

    /// Files with something in them, by kind.
    fn files(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let data = self.node().data_dir();
        let mut by_kind: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for file in files_under(data).unwrap() {
            if fs::metadata(&file).unwrap().len() > 0 {
                by_kind.entry(kind_of(data, &file)).or_default().push(file);
            }
        }
        by_kind
    }

    /// Starts the node: it catches up and has the state of the others, or it
    /// refuses with file and remedy named. Gives which, and the node's disk as
    /// a later kill under load left it, mended: damage that nobody has met yet
    /// must not be taken for that of a later case.
    async fn outcome(self, case: &str, file: &Path, mend: impl FnOnce()) -> (Self, &'static str) {
        let node = self.node();
        let (listened, ended) = match node.start().await {
            Ok(()) => (true, self.caught_up_or_ended(case).await),
            Err(error) => {
                assert!(!node.is_running(), "{case}: {error:#}");
                (false, true)
            }
        };
        if !ended {
            let hashes = self.cluster.equal_hashes().await;
            if node.is_running() {
                hashes.unwrap_or_else(|error| panic!("{case}: {error:#}"));
                self.kill_under_load(30, mend).await;
                return (self, "recovered");
            }
        }
        let status = node.exited().unwrap().expect("it ended");
        let last = node.last_lines(6);
        assert!(REFUSALS.contains(&status.code()), "{case}: {status}: {last}");
        assert!(last.to_lowercase().contains("remedy"), "{case}: no remedy is named:\n{last}");
        // The file, or the directory where the database doesn't say which.
        let folder = file.parent().unwrap().display().to_string();
        // Or the same file by another name: snapshots are hard links.
        let name = file.file_name().unwrap().to_string_lossy();
        let linked = fs::metadata(file).is_ok_and(|metadata| metadata.nlink() > 1);
        let top = kind_of(node.data_dir(), file);
        let top = node.data_dir().join(top.split('/').next().unwrap_or_default());
        let named = last.contains(&folder) || last.contains(&top.display().to_string());
        let named = named || (linked && last.contains(&format!("/{name}")));
        assert!(named, "{case}: no file is named:\n{last}");
        if listened {
            // It may have acknowledged something before it refused: the copy is
            // an old one by now.
            let name = self.name;
            self.cluster.finish().await.unwrap();
            return (Self::new(name).await, "refused");
        }
        (self, "refused")
    }

    async fn caught_up_or_ended(&self, case: &str) -> bool {
        let leader = self.cluster.leader().await.unwrap();
        let goal = leader.status().await.unwrap().applied();
        wait::until(&format!("{case}: caught up or ended"), PATIENCE, || async {
            if self.node().exited()?.is_some() {
                return Ok(true);
            }
            let applied = self.node().status().await?.applied();
            anyhow::ensure!(applied >= goal, "{applied} of {goal}");
            Ok(false)
        })
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.node().last_lines(10)))
    }

    /// The disk as it was is good, and the node serves.
    async fn recovers_in_the_end(self) {
        self.restore();
        self.node().start().await.unwrap();
        self.cluster.unseal(self.node()).await.unwrap();
        self.cluster.equal_hashes().await.unwrap();
        self.cluster.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_write_is_recovered_and_lost_synced_writes_are_refused() {
    let mut patient = Patient::new("torn-write").await;
    let mut outcome;
    // A record that was being written when the power went: half of it is there.
    for bytes in [1, 6, 7, 100, 5000] {
        patient.restore();
        let log = patient.newest_log();
        // A record never crosses the end of a block: 7 bytes of header, then as
        // many as the header says.
        let used = usize::try_from(fs::metadata(&log).unwrap().len()).unwrap() % LOG_BLOCK_BYTES;
        let length = u16::try_from((LOG_BLOCK_BYTES - used).saturating_sub(7).min(10_000)).unwrap();
        let record = [&[0x5a; 4][..], &length.to_le_bytes(), &[2], &[0x77; 10_000]].concat();
        let bytes = bytes.min(usize::from(length) + 6);
        let mut file = OpenOptions::new().append(true).open(&log).unwrap();
        file.write_all(&record[..bytes]).unwrap();
        let case = format!("{bytes} bytes of a record torn");
        (patient, outcome) = patient.outcome(&case, &log, || ()).await;
        println!("{case}: {outcome}");
        assert_eq!(outcome, "recovered", "{case}");
    }
    // What was synced and is gone is no torn write: whatever the node says of
    // the bytes that are left, it never goes on without those that it promised.
    for bytes in [1, 200, 20_000] {
        patient.restore();
        let log = patient.newest_log();
        let bytes = bytes.min(fs::metadata(&log).unwrap().len());
        tear(&log, bytes).unwrap();
        let case = format!("{bytes} synced bytes cut off");
        (patient, outcome) = patient.outcome(&case, &log, || ()).await;
        println!("{case}: {outcome}");
    }
    patient.recovers_in_the_end().await;
}

/// `STRONGROOM_ROUNDS` flips; 200 is the full number.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_any_file_is_recovered_or_refused_by_name() {
    let mut random = StdRng::seed_from_u64(seed("flipped bytes"));
    let mut patient = Patient::new("flipped-bytes").await;
    let kinds: Vec<_> = patient.files().into_keys().collect();
    let mut table: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for round in 0..rounds(2 * kinds.len()) {
        patient.restore();
        let kind = &kinds[round % kinds.len()];
        // A kind may have no file at the moment: a snapshot that was replaced.
        let Some(files) = patient.files().remove(kind) else { continue };
        let file = &files[random.random_range(0..files.len())];
        let offset = random.random_range(0..fs::metadata(file).unwrap().len());
        let mask = 1 << random.random_range(0..8);
        flip(file, offset, mask).unwrap();
        let flipped = byte_at(file, offset);
        let mend = || {
            // Where it still stands as it was flipped: in a table, mostly.
            if byte_at(file, offset) == flipped && flipped.is_some() {
                flip(file, offset, mask).unwrap();
            }
        };
        let case = format!("round {round}: byte {offset} of {} ^ {mask:#04x}", file.display());
        let outcome;
        (patient, outcome) = patient.outcome(&case, file, mend).await;
        *table.entry(kind.clone()).or_default().entry(outcome).or_default() += 1;
    }
    println!("{:24} {:>9} {:>8}", "kind of file", "recovered", "refused");
    let mut flips = 0;
    for (kind, outcomes) in table {
        let of = |outcome| outcomes.get(outcome).copied().unwrap_or(0);
        println!("{kind:24} {:>9} {:>8}", of("recovered"), of("refused"));
        flips += of("recovered") + of("refused");
    }
    assert!(flips >= kinds.len(), "{flips} flips");
    patient.recovers_in_the_end().await;
}

/// A byte of a file; none where there is no such file or byte any more.
fn byte_at(file: &Path, offset: u64) -> Option<u8> {
    fs::read(file).ok()?.get(usize::try_from(offset).ok()?).copied()
}

/// Fills a file system to the last block.
fn fill(path: &Path, leave: u64) {
    let mut file = fs::File::create(path).unwrap();
    let block = vec![0x11; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    // Freed again: what the node may still use.
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(leave)).unwrap();
}

fn mounted(result: anyhow::Result<Mount>) -> Option<Mount> {
    match result {
        Ok(mount) => Some(mount),
        Err(error) => {
            println!("skipped: no file system can be mounted here: {error:#}");
            None
        }
    }
}

async fn history_holds(cluster: &Cluster, tenant: &Tenant, load: Load) {
    let history = load.stop().await.unwrap();
    cluster.caught_up().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    let auditor = cluster.node(2).caller().with_token(&tenant.auditor);
    history.audited_once(&evidence::all_events(&auditor).await.unwrap()).unwrap();
    for node in cluster.nodes() {
        history.all_decrypts(&node.caller().with_token(&tenant.user)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_its_node_alone_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let Some(_disk) = mounted(Mount::tmpfs(&disk, 192 * MIB)) else { return };
    let cluster = Cluster::builder("full-disk")
        .data_dir(3, disk.join("data"))
        .set("limits", "disk_reserve_bytes", i64::try_from(32 * MIB).unwrap())
        .serving()
        .await
        .unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(3);
    let load = Load::start(&cluster, &tenant, 8);
    load.progress(50, PATIENCE).await.unwrap();

    // Below the reserve: uses are refused there, administration goes on.
    let filler = disk.join("filler");
    fill(&filler, 16 * MIB);
    let user = node.caller().with_token(&tenant.user);
    wait::until("uses are refused below the reserve", PATIENCE, || async {
        match user.data_key(&tenant.key_id, &[]).await {
            Err(status) if status.reason() == "DISK_RESERVE" => Ok(()),
            other => anyhow::bail!("{:?}", other.map(drop)),
        }
    })
    .await
    .unwrap();
    let administrator = cluster.administrator(node);
    administrator.set_enabled(&tenant.key_id, true).await.explain("administration").unwrap();

    // No room at all: it stops, and says why; the others go on.
    fs::remove_file(&filler).unwrap();
    fill(&filler, 0);
    let ended = node.wait_ended(PATIENCE).await.unwrap();
    assert_eq!(ended.code(), Some(70), "{}", node.last_lines(5));
    assert!(node.last_lines(5).contains("storage failed"), "{}", node.last_lines(5));
    load.progress(50, PATIENCE).await.unwrap();

    fs::remove_file(&filler).unwrap();
    node.start().await.unwrap();
    cluster.unseal(node).await.unwrap();
    load.progress(50, PATIENCE).await.unwrap();
    history_holds(&cluster, &tenant, load).await;
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_hung_disk_hands_over_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let image = folder.path().join("image");
    let Some(mut mount) = mounted(Mount::ext4(&disk, &image, 256 * MIB)) else { return };
    let cluster = Cluster::builder("hung-disk")
        .data_dir(1, disk.join("data"))
        .set("raft", "flush_lag_max_ms", 2000)
        .set("limits", "disk_reserve_bytes", i64::try_from(16 * MIB).unwrap())
        .serving()
        .await
        .unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(1);
    lead(&cluster, node).await;
    let load = Load::start(&cluster, &tenant, 8);
    load.progress(50, PATIENCE).await.unwrap();

    mount.freeze().unwrap();
    let others = cluster.node(2);
    let new = others.wait_status("another node leads", PATIENCE, |status| {
        status.raft.leader_id.is_some_and(|leader| leader != 1)
    });
    let led = new.await;
    let progress = load.progress(50, PATIENCE).await;
    // It never becomes well before its process has ended or its disk goes on.
    mount.thaw().unwrap();
    led.unwrap();
    progress.unwrap();
    if let Ok(ended) = node.wait_ended(Duration::from_secs(5)).await {
        assert_eq!(ended.code(), Some(70), "{}", node.last_lines(5));
        println!("the hung node ended with exit code 70");
        node.start().await.unwrap();
        cluster.unseal(node).await.unwrap();
    } else {
        println!("the hung node handed over and went on");
    }
    load.progress(50, PATIENCE).await.unwrap();
    history_holds(&cluster, &tenant, load).await;
    let administrator = cluster.administrator(node);
    administrator.cluster().take_snapshot(TakeSnapshotRequest {}).await.unwrap();
    cluster.finish().await.unwrap();
    drop(mount);
}

/// Makes `node` the leader.
async fn lead(cluster: &Cluster, node: &Node) {
    wait::until("the wanted node leads", PATIENCE, || async {
        let leader = cluster.leader().await?;
        if leader.id == node.id {
            return Ok(());
        }
        let request = TransferLeaderRequest { node_id: node.id };
        let administrator = cluster.administrator(&leader);
        administrator.cluster().transfer_leader(request).await.explain("TransferLeader")?;
        anyhow::bail!("node {} leads", leader.id)
    })
    .await
    .unwrap();
}
