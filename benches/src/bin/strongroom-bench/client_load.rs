//! Callers who use the client library, as an application does, while nodes come
//! and go.
//!
//! What they see is what the library's own attempts at all addresses leave of a
//! failure. The front will take its place before them; until it exists this is
//! the path on which silence and failed calls are measured ([`PATH`]).

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use strongroom_benches::echo;
use strongroom_client::{Client, ClientIdentity, Config, Error, Token};
use strongroom_testkit::{Cluster, Tenant, Who, wait};
use tokio::{sync::watch, task::JoinSet};

/// Which way calls went, for the reader of a figure.
pub(crate) const PATH: &str =
    "through the Rust client at the addresses of all nodes; there is no front yet";

/// Clients, each with a connection to every node.
const CLIENTS: usize = 6;
/// Pause after a failed call.
const BACKOFF: Duration = Duration::from_millis(5);

/// Callers at work.
pub(crate) struct ClientLoad {
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    callers: JoinSet<()>,
}

/// What became of calls.
struct Seen {
    succeeded: u64,
    failed: BTreeMap<String, u64>,
    last: Instant,
    longest: Duration,
}

impl ClientLoad {
    /// Starts `callers` users of the tenant's key, spread over clients that
    /// begin at different nodes. The nodes must keep their addresses.
    pub(crate) fn start(
        cluster: &Cluster,
        tenant: &Tenant,
        callers: usize,
    ) -> anyhow::Result<Self> {
        let clients = (0..CLIENTS)
            .map(|first| client(cluster, &tenant.user, first))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let seen = Arc::new(Mutex::new(Seen {
            succeeded: 0,
            failed: BTreeMap::new(),
            last: Instant::now(),
            longest: Duration::ZERO,
        }));
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for position in 0..callers {
            let client = clients[position % clients.len()].clone();
            let key_id = tenant.key_id.clone();
            tasks.spawn(calls(client, key_id, Arc::clone(&seen), stop.subscribe()));
        }
        Ok(Self { seen, stop, callers: tasks })
    }

    /// Waits for `more` results.
    pub(crate) async fn progress(&self, more: u64, limit: Duration) -> anyhow::Result<()> {
        let goal = lock(&self.seen).succeeded + more;
        wait::until(&format!("{more} more results"), limit, || async {
            let seen = lock(&self.seen);
            anyhow::ensure!(seen.succeeded >= goal, "failed so far: {:?}", seen.failed);
            Ok(())
        })
        .await
    }

    /// Forgets the silences so far. One that lasts goes on from the last result.
    pub(crate) fn listen(&self) {
        lock(&self.seen).longest = Duration::ZERO;
    }

    /// The longest time without a result that ended since [`ClientLoad::listen`].
    pub(crate) fn longest_silence(&self) -> Duration {
        lock(&self.seen).longest
    }

    /// Calls that failed for good so far.
    pub(crate) fn failed(&self) -> u64 {
        lock(&self.seen).failed.values().sum()
    }

    /// Ends the callers, each after its call. Gives how many calls succeeded,
    /// and the failed ones by reason.
    pub(crate) async fn stop(mut self) -> anyhow::Result<(u64, BTreeMap<String, u64>)> {
        self.stop.send_replace(true);
        while let Some(caller) = self.callers.join_next().await {
            caller.context("a caller panicked")?;
        }
        let mut seen = lock(&self.seen);
        Ok((seen.succeeded, std::mem::take(&mut seen.failed)))
    }
}

/// A client that tries the nodes in turn, from the one at `first` on.
fn client(cluster: &Cluster, token: &str, first: usize) -> anyhow::Result<Client> {
    let mut addresses = cluster
        .nodes()
        .iter()
        .map(|node| Ok(node.client_address()?.to_string()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let count = addresses.len();
    addresses.rotate_left(first % count);
    let files = cluster.pki().files(Who::Client);
    let identity = ClientIdentity {
        certificate_pem: fs::read(&files.cert)?,
        key_pem: fs::read(&files.key)?.into(),
    };
    let config = Config::new(addresses, fs::read(cluster.pki().ca_path())?)?
        .with_identity(identity)
        .with_token(Token::new(token)?);
    Ok(Client::new(&config)?)
}

async fn calls(
    client: Client,
    key_id: String,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        let result = client.generate_data_key(echo::request(&key_id)).await;
        let failed = result.is_err();
        lock(&seen).note(result.map(drop));
        if failed {
            tokio::time::sleep(BACKOFF).await;
        }
    }
}

impl Seen {
    fn note(&mut self, result: Result<(), Error>) {
        match result {
            Ok(()) => {
                let now = Instant::now();
                self.longest = self.longest.max(now.duration_since(self.last));
                self.last = now;
                self.succeeded += 1;
            }
            Err(error) => *self.failed.entry(error.reason().to_owned()).or_default() += 1,
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("nobody panics under this lock")
}
