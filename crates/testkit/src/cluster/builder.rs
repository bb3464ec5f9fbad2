//! Configuration files, certificates, ports: everything before `init`.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, LazyLock, atomic::AtomicBool},
};

use futures::future::try_join_all;
use parking_lot::Mutex;
use strongroom_base::ClusterId;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use toml::{Table, Value};

use crate::{
    binary::server_binary,
    node::{Node, Places},
    pki::{Pki, Who},
    proxy::Mesh,
};

use super::Cluster;

/// One cluster at a time.
static TURN: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));

/// Waits until no [`Cluster`] lives in this process, and lets none be made while
/// what it gives lives: for nodes that are started by other means.
///
/// # Panics
///
/// Never: the semaphore is never closed.
pub async fn turn() -> OwnedSemaphorePermit {
    Arc::clone(&TURN).acquire_owned().await.expect("the semaphore is never closed")
}

/// A key of the servers' configuration.
#[derive(Clone, Debug)]
struct Setting {
    /// None: every node.
    node: Option<u64>,
    section: &'static str,
    key: &'static str,
    value: Value,
}

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    nodes: u64,
    shares: (u32, u32),
    data_dirs: BTreeMap<u64, PathBuf>,
    proxied: bool,
    fixed_ports: bool,
    settings: Vec<Setting>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            nodes: 3,
            shares: (5, 3),
            data_dirs: BTreeMap::new(),
            proxied: true,
            fixed_ports: false,
            settings: Vec::new(),
        }
    }

    /// Members of the cluster.
    #[must_use]
    pub fn nodes(mut self, nodes: u64) -> Self {
        self.nodes = nodes;
        self
    }

    /// Shares made by `init`, and how many of them unseal.
    #[must_use]
    pub fn shares(mut self, shares: u32, threshold: u32) -> Self {
        self.shares = (shares, threshold);
        self
    }

    /// Entries between snapshots, and entries kept behind one.
    #[must_use]
    pub fn snapshot_every(self, entries: u32, keep: u32) -> Self {
        self.set("raft", "snapshot_every", entries).set("raft", "keep_after_snapshot", keep)
    }

    /// Members dial one another without a proxy between: links can't be cut, and
    /// the cluster does not need this process.
    #[must_use]
    pub fn direct_links(mut self) -> Self {
        self.proxied = false;
        self
    }

    /// Nodes listen for callers at addresses that stay through restarts, as fronts
    /// and long-lived clients need it.
    #[must_use]
    pub fn fixed_ports(mut self) -> Self {
        self.fixed_ports = true;
        self
    }

    /// Puts the data directory of `node` elsewhere: on a file system of its own.
    #[must_use]
    pub fn data_dir(mut self, node: u64, path: PathBuf) -> Self {
        self.data_dirs.insert(node, path);
        self
    }

    /// Sets any key of the servers' configuration.
    #[must_use]
    pub fn set(
        mut self,
        section: &'static str,
        key: &'static str,
        value: impl Into<Value>,
    ) -> Self {
        self.settings.push(Setting { node: None, section, key, value: value.into() });
        self
    }

    /// Sets any key of one server's configuration.
    #[must_use]
    pub fn set_on(
        mut self,
        node: u64,
        section: &'static str,
        key: &'static str,
        value: impl Into<Value>,
    ) -> Self {
        self.settings.push(Setting { node: Some(node), section, key, value: value.into() });
        self
    }

    /// Starts the processes: uninitialised nodes that answer.
    ///
    /// # Errors
    ///
    /// When one of them doesn't start.
    pub async fn start(self) -> anyhow::Result<Cluster> {
        let cluster = self.prepare().await?;
        try_join_all(cluster.nodes.iter().map(|node| node.start())).await?;
        Ok(cluster)
    }

    /// Starts, initialises and unseals; makes a key and tokens to work with.
    ///
    /// # Errors
    ///
    /// The first step that fails.
    pub async fn serving(self) -> anyhow::Result<Cluster> {
        let cluster = self.start().await?;
        cluster.init().await?;
        cluster.unseal_all().await?;
        cluster.leader().await?;
        cluster.tenant().await?;
        Ok(cluster)
    }

    /// Everything but the processes.
    ///
    /// # Errors
    ///
    /// When the program is not built, or files can't be written.
    pub async fn prepare(mut self) -> anyhow::Result<Cluster> {
        let program = server_binary()?;
        let turn = turn().await;
        let keep = TempDir::with_prefix(format!("strongroom-{}-", self.name))?;
        let folder = keep.path().to_owned();
        let members: Vec<u64> = (1..=self.nodes).collect();
        let cluster = ClusterId::from_random(rand::random());
        let pki = Arc::new(Pki::create(&folder.join("pki"), cluster, &members)?);
        let mesh = Arc::new(Mesh::between(&members).await?);
        let direct = if self.proxied { BTreeMap::new() } else { reserve(&members)? };
        if self.fixed_ports {
            for (node, address) in reserve(&members)? {
                self = self.set_on(node, "listen", "client", address.to_string());
            }
        }
        let addresses = Addresses { mesh: &mesh, direct: &direct };
        let nodes = members
            .iter()
            .map(|id| {
                let places = self.places(*id, &program, &folder)?;
                let config = self.config(*id, &places, &pki, &addresses);
                fs::write(&places.config, toml::to_string(&config)?)?;
                Ok(Arc::new(Node::new(*id, places, Arc::clone(&pki), Arc::clone(&mesh))))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Cluster {
            name: self.name,
            folder,
            keep: Mutex::new(Some(keep)),
            nodes,
            pki,
            mesh,
            shares: self.shares,
            ceremony: Mutex::default(),
            tenant: Mutex::default(),
            finished: AtomicBool::new(false),
            _turn: turn,
        })
    }

    fn places(
        &self,
        id: u64,
        program: &std::path::Path,
        folder: &std::path::Path,
    ) -> anyhow::Result<Places> {
        let own = folder.join(format!("node-{id}"));
        fs::create_dir(&own)?;
        let data = self.data_dirs.get(&id).cloned().unwrap_or_else(|| own.join("data"));
        Ok(Places {
            program: program.to_owned(),
            config: own.join("server.toml"),
            log: own.join("server.log"),
            folder: own,
            data,
        })
    }

    /// Configuration of node `id`.
    fn config(&self, id: u64, places: &Places, pki: &Pki, addresses: &Addresses<'_>) -> Table {
        let text = |path: &std::path::Path| Value::from(path.display().to_string());
        let files = pki.files(Who::Node(id));
        let members = (1..=self.nodes).map(|member| {
            Value::from(Table::from_iter([
                ("id".to_owned(), integer(member)),
                ("name".to_owned(), Value::from(format!("node-{member}"))),
                ("address".to_owned(), addresses.dialled(id, member).to_string().into()),
            ]))
        });
        let anywhere = || Value::from("127.0.0.1:0");
        let own = self.settings.iter().filter(|setting| setting.node.is_none_or(|node| node == id));
        let own = own.map(|setting| (setting.section, setting.key, setting.value.clone()));
        let mut config = Table::new();
        config.insert("data_dir".to_owned(), text(&places.data));
        for (section, key, value) in [
            ("node", "id", integer(id)),
            ("node", "name", format!("node-{id}").into()),
            ("cluster", "id", pki.cluster().to_string().into()),
            ("cluster", "members", members.collect::<Vec<_>>().into()),
            ("listen", "client", anywhere()),
            ("listen", "peer", addresses.listen(id).to_string().into()),
            ("listen", "monitor", anywhere()),
            ("tls", "certificate", text(&files.cert)),
            ("tls", "key", text(&files.key)),
            ("tls", "ca", text(pki.ca_path())),
            // Several nodes share the cores of one machine.
            ("limits", "worker_threads", integer(2)),
            ("log", "format", "human".into()),
        ]
        .into_iter()
        .chain(own)
        {
            let section = config.entry(section).or_insert_with(|| Table::new().into());
            let section = section.as_table_mut().expect("sections are tables");
            section.insert(key.to_owned(), value);
        }
        config
    }
}

/// Where members find one another.
struct Addresses<'a> {
    mesh: &'a Mesh,
    /// Addresses of members that are dialled directly.
    direct: &'a BTreeMap<u64, SocketAddr>,
}

impl Addresses<'_> {
    /// Address at which `from` dials `to`: a proxy of this pair alone, or `to`
    /// itself.
    fn dialled(&self, from: u64, to: u64) -> SocketAddr {
        let direct = self.direct.get(&to).copied();
        direct.unwrap_or_else(|| self.mesh.link(from, to).address())
    }

    /// Where `member` listens: behind proxies, on a port by the system.
    fn listen(&self, member: u64) -> SocketAddr {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.direct.get(&member).copied().unwrap_or(anywhere)
    }
}

/// Ports that were free a moment ago, a different one for each member.
fn reserve(members: &[u64]) -> std::io::Result<BTreeMap<u64, SocketAddr>> {
    let listeners = members
        .iter()
        .map(|member| Ok((*member, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)))
        .collect::<std::io::Result<Vec<_>>>()?;
    listeners.iter().map(|(member, listener)| Ok((*member, listener.local_addr()?))).collect()
}

fn integer(value: u64) -> Value {
    Value::from(i64::try_from(value).expect("small numbers only"))
}
