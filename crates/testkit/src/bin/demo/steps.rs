//! The steps, in order.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use strongroom_testkit::{
    Ceremony, Cluster, Front, Tenant, Who, evidence,
    load::{History, Load},
    server_binary,
};

use crate::{Arguments, application::Application, program::Program, story::Story};

const RECOVERY: Duration = Duration::from_secs(60);

/// Where the demonstration keeps its own files.
struct Places {
    shares: PathBuf,
    administrator: PathBuf,
    user: PathBuf,
    auditor: PathBuf,
    sealed: PathBuf,
    restored: PathBuf,
}

impl Places {
    fn of(cluster: &Cluster) -> Self {
        let own = |name| cluster.folder().join(name);
        Self {
            shares: own("shares"),
            administrator: own("shares/administrator-token.txt"),
            user: own("user.token"),
            auditor: own("auditor.token"),
            sealed: own("file.sealed"),
            restored: own("file.restored"),
        }
    }
}

/// Starts three nodes.
pub(crate) async fn start(story: &mut Story) -> anyhow::Result<Cluster> {
    story.step("Three nodes start, each with a certificate of its own");
    let cluster = Cluster::builder("demo").direct_links().fixed_ports();
    let cluster = cluster.snapshot_every(200, 100).start().await?;
    for node in cluster.nodes() {
        let (pid, address) = (node.pid()?, node.client_address()?);
        story.holds(format!("node {} runs as process {pid}, calls at {address}", node.id));
    }
    story.note(format!("everything is under {}", cluster.folder().display()));
    Ok(cluster)
}

/// Every step after the start.
pub(crate) async fn all(
    story: &mut Story,
    cluster: &Cluster,
    arguments: &Arguments,
) -> anyhow::Result<Front> {
    let places = Places::of(cluster);
    initialise(story, cluster, &places)?;
    unseal(story, cluster, &places).await?;
    let tenant = tenant(story, cluster, &places)?;
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => server_binary()?,
    };
    let front = front(story, cluster).await?;
    encrypt(story, cluster, &front, &places, &tenant, &file).await?;
    let history = kill_leader(story, cluster, &tenant, arguments).await?;
    decrypt(story, cluster, &front, &places, &file).await?;
    return_of_the_killed(story, cluster, &tenant, &history).await?;
    audit(story, cluster, &places, &tenant, &history).await?;
    metrics(story, cluster, &front).await?;
    Ok(front)
}

/// Starts a front before the nodes.
async fn front(story: &mut Story, cluster: &Cluster) -> anyhow::Result<Front> {
    story.step("A front starts, with a certificate of its own: applications know its address only");
    let front = Front::start(cluster, 1).await?;
    story.holds(format!("calls at {} go to whichever node serves", front.address()));
    Ok(front)
}

fn initialise(story: &mut Story, cluster: &Cluster, places: &Places) -> anyhow::Result<()> {
    story.step("An operator forms the cluster: five shares, three of them unseal");
    let operator = Program::new(cluster, Who::Operator, None)?;
    let folder = places.shares.display().to_string();
    let arguments = ["init", "--shares", "5", "--threshold", "3", "--share-dir", &folder, "--yes"];
    operator.show(story, &arguments)?;
    for number in 1..=5 {
        read_secret(&share_file(places, number))?;
    }
    story.holds("five shares in five files that only their owner can read");
    let run = operator.run(&["status"])?;
    story.command("status", &run.output);
    ensure!(run.code == 2, "after init every node is sealed: status ends with 2, not {}", run.code);
    story.holds("every node is sealed: it replicates and votes, and holds no key in memory");
    Ok(())
}

fn share_file(places: &Places, number: u32) -> PathBuf {
    places.shares.join(format!("share-{number}.txt"))
}

fn read_secret(path: &Path) -> anyhow::Result<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode =
        fs::metadata(path).with_context(|| format!("no {}", path.display()))?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{} can be read by others", path.display());
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

async fn unseal(story: &mut Story, cluster: &Cluster, places: &Places) -> anyhow::Result<()> {
    story.step("Three operators bring their shares, one after the other");
    let operator = Program::new(cluster, Who::Operator, None)?;
    for number in [2, 5, 3] {
        let file = share_file(places, number).display().to_string();
        operator.show(story, &["unseal", "--share-file", &file])?;
    }
    for node in cluster.nodes() {
        node.wait_seal("unsealed").await?;
    }
    operator.show(story, &["status"])?;
    story.holds("all nodes are unsealed, after each compared its state with the others");
    Ok(())
}

fn tenant(story: &mut Story, cluster: &Cluster, places: &Places) -> anyhow::Result<Tenant> {
    story.step("An administrator makes a key, and tokens for an application and an auditor");
    let administrator = Program::new(cluster, Who::Client, Some(&places.administrator))?;
    let key = administrator.json(&["key", "create", "--description", "orders database"])?;
    let key_id = find(&key, "key_id").context("no key_id")?;
    story.holds(format!("key {key_id}"));
    for (name, role, file) in
        [("orders", "user", &places.user), ("ann", "auditor", &places.auditor)]
    {
        let out = file.display().to_string();
        let arguments =
            ["token", "create", "--principal", name, "--role", role, "--token-out", &out];
        administrator.show(story, &arguments)?;
    }
    let shares = (1..=5).map(|number| read_secret(&share_file(places, number)));
    cluster.remember(Ceremony {
        shares: shares.collect::<anyhow::Result<_>>()?,
        threshold: 3,
        administrator_token: read_secret(&places.administrator)?,
        init_token: Vec::new(),
        seal_epoch: 1,
    });
    Ok(Tenant {
        administrator: read_secret(&places.administrator)?,
        user: read_secret(&places.user)?,
        auditor: read_secret(&places.auditor)?,
        key_id,
    })
}

/// The first text of that name, wherever it stands.
fn find(value: &serde_json::Value, name: &str) -> Option<String> {
    match value {
        serde_json::Value::Object(fields) => {
            let own = fields.get(name).and_then(|value| value.as_str()).map(str::to_owned);
            own.or_else(|| fields.values().find_map(|value| find(value, name)))
        }
        serde_json::Value::Array(items) => items.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

async fn encrypt(
    story: &mut Story,
    cluster: &Cluster,
    front: &Front,
    places: &Places,
    tenant: &Tenant,
    file: &Path,
) -> anyhow::Result<()> {
    story.step("The application encrypts a real file under a data key, got through the front");
    let application = Application::connect(cluster, front, &places.user).await?;
    let length = application.encrypt_file(&tenant.key_id, file, &places.sealed).await?;
    story.holds(format!("{} is now {length} bytes of ciphertext", file.display()));
    story.note("the data key was used and forgotten; beside the ciphertext it is wrapped");
    Ok(())
}

async fn kill_leader(
    story: &mut Story,
    cluster: &Cluster,
    tenant: &Tenant,
    arguments: &Arguments,
) -> anyhow::Result<History> {
    let callers = usize::from(arguments.callers);
    story.step(&format!("The leader is killed (SIGKILL) while {callers} callers work"));
    let load = Load::start(cluster, tenant, callers);
    load.progress(300, RECOVERY).await?;
    let leader = cluster.leader().await?;
    let killed_at = load.elapsed();
    leader.kill()?;
    story.note(format!("node {} led and is dead", leader.id));
    load.progress(300, RECOVERY).await?;
    let history = load.stop().await?;
    let pause = history.longest_pause_after(killed_at);
    let next = cluster.leader().await?;
    story.holds(format!(
        "node {} leads; {} results in all, the longest wait for one was {:.1} s",
        next.id,
        history.released(),
        pause.length.as_secs_f32()
    ));
    let user = next.caller().with_token(&tenant.user);
    let decrypted = history.all_decrypts(&user).await?;
    story.holds(format!("all {decrypted} blobs ever handed out decrypt to what they were"));
    Ok(history)
}

async fn decrypt(
    story: &mut Story,
    cluster: &Cluster,
    front: &Front,
    places: &Places,
    file: &Path,
) -> anyhow::Result<()> {
    story.step("The survivors decrypt the file, through the same front");
    let application = Application::connect(cluster, front, &places.user).await?;
    let digest = application.decrypt_and_compare(&places.sealed, &places.restored, file).await?;
    story.holds(format!("SHA-256 {digest}, as before"));
    Ok(())
}

async fn return_of_the_killed(
    story: &mut Story,
    cluster: &Cluster,
    tenant: &Tenant,
    history: &History,
) -> anyhow::Result<()> {
    story.step("The killed node comes back: sealed, until its own three shares come");
    let dead = cluster.nodes().iter().find(|node| !node.is_running()).context("none is dead")?;
    dead.start().await?;
    // It learns from the others again how far its log is committed.
    dead.wait_seal("sealed").await?;
    let user = dead.caller().with_token(&tenant.user);
    let refused = user.data_key(&tenant.key_id, &[]).await;
    let refused = refused.err().context("a sealed node gave a data key")?;
    story.holds(format!("it answers: {}", refused.message()));
    cluster.caught_up().await?;
    cluster.unseal(dead).await?;
    history.all_decrypts(&user).await?;
    let (index, _) = cluster.equal_hashes().await?;
    story.holds("unsealed, it caught up and decrypts what the others handed out");
    story.holds(format!("all nodes have the same state hash at index {index}"));
    Ok(())
}

async fn audit(
    story: &mut Story,
    cluster: &Cluster,
    places: &Places,
    tenant: &Tenant,
    history: &History,
) -> anyhow::Result<()> {
    story.step("The auditor reads who did what");
    let auditor = Program::new(cluster, Who::Client, Some(&places.auditor))?;
    auditor.show(story, &["audit", "list", "--limit", "8"])?;
    auditor.show(story, &["cluster", "members"])?;
    let caller = cluster.node(1).caller().with_token(&tenant.auditor);
    let events = evidence::all_events(&caller).await?;
    history.audited_once(&events)?;
    story.holds(format!(
        "{} records; each released result has exactly one, no refused call has one",
        events.len()
    ));
    let root = evidence::audit_root(&events)?;
    cluster.caught_up().await?;
    for node in cluster.nodes() {
        let audit = node.status().await?.audit;
        let same = audit.size != events.len() as u64 || audit.root == root;
        ensure!(same, "node {} has another audit root", node.id);
    }
    story.holds(format!("their Merkle root is {}… on every node", &root[..16]));
    Ok(())
}

async fn metrics(story: &mut Story, cluster: &Cluster, front: &Front) -> anyhow::Result<()> {
    story.step("Metrics, as Prometheus sees them");
    for node in cluster.nodes() {
        let metrics = node.metrics().await?;
        let series = metrics.text.lines().filter(|line| !line.starts_with('#')).count();
        ensure!(series > 0, "node {} shows no metrics", node.id);
        let address = node.monitor_address()?;
        story.holds(format!("node {}: {series} series at http://{address}/metrics", node.id));
    }
    let (code, _) = front.fetch("/metrics").await?;
    ensure!(code == 200, "the front shows no metrics: {code}");
    story.holds(format!("the front: http://{}/metrics", front.monitor_address()));
    let leader = cluster.leader().await?.metrics().await?;
    let ours = leader
        .text
        .lines()
        .filter(|line| line.starts_with("strongroom_") && !line.contains("_bucket"));
    ours.take(12).for_each(|line| story.note(line));
    Ok(())
}

/// Says how to go on by hand.
pub(crate) fn invite(story: &mut Story, cluster: &Cluster, front: &Front) -> anyhow::Result<()> {
    story.step("It stays up until Ctrl-C. Try it in another shell:");
    let places = Places::of(cluster);
    for line in Program::new(cluster, Who::Client, Some(&places.administrator))?.environment() {
        story.note(line);
    }
    let program = server_binary()?;
    for line in ["status", "key list", "audit tail --follow", "cluster members"] {
        story.note(format!("{} {line}", program.display()));
    }
    story.note(format!("front: {}", front.address()));
    story.note(format!("shares: {}", places.shares.display()));
    for node in cluster.nodes() {
        let (id, pid) = (node.id, node.pid()?);
        story.note(format!("node {id}: process {pid}, http://{}/status", node.monitor_address()?));
    }
    Ok(())
}
