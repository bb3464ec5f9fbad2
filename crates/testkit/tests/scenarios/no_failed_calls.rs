//! Callers with default settings see no failure while nodes come and go one by
//! one: with the client library alone, and through fronts. Each of
//! `STRONGROOM_ROUNDS` rounds befalls whoever leads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use strongroom_client::{
    Client, Config, Token,
    proto::{DataKeySpec, DecryptRequest, GenerateDataKeyRequest},
};
use strongroom_testkit::{Cluster, Front, Node, Tenant, rounds::rounds, wait};

const CALLERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);
/// A paused node is paused for so long: longer than an election takes.
const PAUSE: Duration = Duration::from_secs(3);

/// What the callers saw.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
    worst: Mutex<Duration>,
}

/// Callers at work until they are told to stop.
struct Callers {
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Callers {
    /// Each has a client of its own, with `addresses` and else the defaults.
    fn start(cluster: &Cluster, tenant: &Tenant, addresses: &[String]) -> Self {
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let ca = std::fs::read(cluster.pki().ca_path()).unwrap();
        let tasks = (0..CALLERS).map(|_| {
            let config = Config::new(addresses, ca.clone()).unwrap();
            let config = config.with_token(Token::new(&tenant.user).unwrap());
            let client = Client::new(&config).unwrap();
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            let key_id = tenant.key_id.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let called = Instant::now();
                    if let Err(failure) = use_key(&client, &key_id).await {
                        seen.failures.lock().push(failure);
                    }
                    let mut worst = seen.worst.lock();
                    *worst = worst.max(called.elapsed());
                    seen.answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self { seen: Arc::clone(&seen), stop: Arc::clone(&stop), tasks: tasks.collect() }
    }

    /// Waits until there are `count` more answers.
    async fn progress(&self, count: u64) {
        let goal = self.seen.answered.load(Ordering::Relaxed) + count;
        wait::until("callers go on", PATIENCE, || async {
            let answered = self.seen.answered.load(Ordering::Relaxed);
            anyhow::ensure!(answered >= goal, "{answered} of {goal}");
            Ok(())
        })
        .await
        .unwrap();
    }

    async fn finish(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let failures = self.seen.failures.lock().clone();
        let answered = self.seen.answered.load(Ordering::Relaxed);
        println!("{what}: {answered} uses, worst latency {:?}", self.seen.worst.lock());
        assert!(failures.is_empty(), "{} of {answered} failed: {failures:#?}", failures.len());
    }
}

/// A data key, and the same again from its blob.
async fn use_key(client: &Client, key_id: &str) -> Result<(), String> {
    let request = GenerateDataKeyRequest {
        key_id: key_id.to_owned(),
        key_spec: DataKeySpec::Aes256.into(),
        ..GenerateDataKeyRequest::default()
    };
    let made = client.generate_data_key(request).await.map_err(|error| format!("{error:?}"))?;
    let request =
        DecryptRequest { ciphertext_blob: made.ciphertext_blob, ..DecryptRequest::default() };
    let opened = client.decrypt(request).await.map_err(|error| format!("{error:?}"))?;
    if opened.plaintext == made.plaintext { Ok(()) } else { Err("another data key".to_owned()) }
}

/// Everything that befalls a node.
async fn befall(cluster: &Cluster, callers: &Callers, node: &Arc<Node>) {
    node.kill().unwrap();
    callers.progress(100).await;
    cluster.revive(node).await.unwrap();
    callers.progress(50).await;

    node.pause().unwrap();
    tokio::time::sleep(PAUSE).await;
    callers.progress(50).await;
    node.resume().unwrap();
    cluster.caught_up().await.unwrap_or_default();
    callers.progress(50).await;

    node.seal().await.unwrap();
    callers.progress(100).await;
    cluster.unseal(node).await.unwrap();
    callers.progress(50).await;

    node.stop(PATIENCE).await.unwrap();
    callers.progress(50).await;
    cluster.revive(node).await.unwrap();
    callers.progress(50).await;
}

fn addresses(nodes: &[Arc<Node>]) -> Vec<String> {
    nodes.iter().map(|node| node.client_address().unwrap().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_sees_no_failure_while_nodes_are_killed_paused_sealed_and_restarted() {
    let builder = Cluster::builder("client-faults").fixed_ports();
    let cluster = builder.serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let callers = Callers::start(&cluster, &tenant, &addresses(cluster.nodes()));
    callers.progress(200).await;
    for _ in 0..rounds(1) {
        let leader = cluster.leader().await.unwrap();
        befall(&cluster, &callers, &leader).await;
    }
    callers.finish("client alone").await;
    cluster.caught_up().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn through_fronts_nobody_sees_a_failure_while_nodes_and_fronts_come_and_go() {
    let builder = Cluster::builder("front-faults").fixed_ports();
    let cluster = builder.serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let fronts =
        [Front::start(&cluster, 1).await.unwrap(), Front::start(&cluster, 2).await.unwrap()];
    let through: Vec<String> = fronts.iter().map(|front| front.address().to_string()).collect();
    let callers = Callers::start(&cluster, &tenant, &through);
    callers.progress(200).await;
    for _ in 0..rounds(1) {
        let leader = cluster.leader().await.unwrap();
        befall(&cluster, &callers, &leader).await;
        for front in &fronts {
            front.stop(PATIENCE).await.unwrap();
            callers.progress(50).await;
            front.restart().await.unwrap();
            front.kill().unwrap();
            callers.progress(50).await;
            front.restart().await.unwrap();
            callers.progress(50).await;
        }
    }
    callers.finish("through two fronts").await;
    cluster.caught_up().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}
