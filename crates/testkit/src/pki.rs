//! The certificates of a test cluster.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use strongroom_base::{ClusterId, NodeId};
use strongroom_net::{CertStore, DevelopmentCa, IssuedFiles, Names, TlsPaths, Validity};

/// Who calls, as far as certificates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// An application.
    Client,
    /// An operator: may form the cluster.
    Operator,
    /// A member: the peer listener lets it in.
    Node(u64),
    /// A front, by number.
    Front(u64),
}

/// A development CA of one cluster, and what it issued.
pub struct Pki {
    ca: DevelopmentCa,
    folder: PathBuf,
    stores: Mutex<BTreeMap<Who, Arc<CertStore>>>,
}

impl Pki {
    /// Makes a CA with certificates for `members`, an application and an
    /// operator in `folder`.
    ///
    /// # Errors
    ///
    /// When a file can't be written.
    pub fn create(folder: &Path, cluster: ClusterId, members: &[u64]) -> anyhow::Result<Self> {
        let ca = DevelopmentCa::create(folder, cluster, days(Validity::CA_DAYS))?;
        let names = here();
        for member in members {
            ca.issue_node(folder, NodeId::new(*member)?, &names, days(Validity::LEAF_DAYS))?;
        }
        ca.issue_client(folder, "tests", days(Validity::LEAF_DAYS))?;
        ca.issue_operator(folder, "tests", days(Validity::LEAF_DAYS))?;
        Ok(Self { ca, folder: folder.to_owned(), stores: Mutex::default() })
    }

    /// Issues the certificate of a front.
    ///
    /// # Errors
    ///
    /// When a file can't be written.
    pub fn issue_front(&self, front: u64) -> anyhow::Result<IssuedFiles> {
        let name = front.to_string();
        let valid = days(Validity::LEAF_DAYS);
        Ok(self.ca.issue_front(&self.folder, &name, &here(), valid)?)
    }

    /// The cluster in every certificate.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.ca.cluster()
    }

    /// The CA's certificate file.
    #[must_use]
    pub fn ca_path(&self) -> &Path {
        self.ca.cert_path()
    }

    /// Certificate and key of `who`.
    #[must_use]
    pub fn files(&self, who: Who) -> IssuedFiles {
        let stem = match who {
            Who::Client => "client-tests".to_owned(),
            Who::Operator => "operator-tests".to_owned(),
            Who::Node(node) => format!("node-{node}"),
            Who::Front(front) => format!("front-{front}"),
        };
        IssuedFiles {
            cert: self.folder.join(format!("{stem}.pem")),
            key: self.folder.join(format!("{stem}-key.pem")),
        }
    }

    /// What `who` dials with.
    pub(crate) fn store(&self, who: Who) -> anyhow::Result<Arc<CertStore>> {
        let mut stores = self.stores.lock();
        if let Some(store) = stores.get(&who) {
            return Ok(Arc::clone(store));
        }
        let IssuedFiles { cert, key } = self.files(who);
        let store = CertStore::load(TlsPaths { cert, key, ca: self.ca_path().to_owned() })
            .with_context(|| format!("the certificate of {who:?}"))?;
        stores.insert(who, Arc::clone(&store));
        Ok(store)
    }
}

/// Names of this machine.
fn here() -> Names {
    Names { dns: vec!["localhost".to_owned()], ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] }
}

fn days(days: u32) -> Validity {
    Validity::days(SystemTime::now(), days)
}
