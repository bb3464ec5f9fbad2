//! Connections to nodes or to the echo: the same TLS, the same metadata.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use strongroom_base::NodeId;
use strongroom_net::{CertStore, Connector, TlsPaths};
use strongroom_testkit::{Pki, Who};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// Dialling, the handshake included.
const DIAL: Duration = Duration::from_secs(5);
/// Deadline of each call.
const DEADLINE: Duration = Duration::from_secs(10);

/// A channel that puts token and deadline into each call.
pub type Lane = InterceptedService<Channel, Headers>;

/// Metadata of each call.
#[derive(Clone)]
pub struct Headers(MetadataValue<Ascii>);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        request.set_timeout(DEADLINE);
        Ok(request)
    }
}

/// Several connections to each of several servers.
pub struct Lanes(Vec<Lane>);

/// A server: the node that its certificate names, and where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Node id in its certificate.
    pub node: u64,
    /// Where it takes calls.
    pub address: SocketAddr,
}

impl Lanes {
    /// `connections` to each of `servers` with the application's certificate and
    /// `token`; neighbours in the order of the lanes go to different servers.
    ///
    /// # Errors
    ///
    /// When a certificate can't be read or nobody answers.
    pub async fn connect(
        servers: &[Server],
        connections: usize,
        pki: &Pki,
        token: &str,
    ) -> anyhow::Result<Self> {
        let mut bearer: MetadataValue<_> = format!("Bearer {token}").parse()?;
        bearer.set_sensitive(true);
        let store = store(pki, Who::Client)?;
        let mut lanes = Vec::with_capacity(servers.len() * connections);
        for _ in 0..connections {
            for server in servers {
                let node = NodeId::new(server.node)?;
                let endpoint = Endpoint::from_shared(format!("http://{}", server.address))?;
                let connector = Connector::new(Arc::clone(&store), node, DIAL);
                let channel = endpoint.connect_with_connector(connector).await?;
                lanes.push(InterceptedService::new(channel, Headers(bearer.clone())));
            }
        }
        Ok(Self(lanes))
    }

    /// The lane of caller `position`: callers are spread evenly.
    ///
    /// # Panics
    ///
    /// When there is no lane.
    #[must_use]
    pub fn lane(&self, position: usize) -> Lane {
        self.0[position % self.0.len()].clone()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Certificate, key and CA of `who`.
///
/// # Errors
///
/// When there are none.
pub fn store(pki: &Pki, who: Who) -> anyhow::Result<Arc<CertStore>> {
    let files = pki.files(who);
    load_store(&files.cert, &files.key, pki.ca_path())
}

/// Certificate, key and CA from files.
///
/// # Errors
///
/// When they can't be used.
pub fn load_store(cert: &Path, key: &Path, ca: &Path) -> anyhow::Result<Arc<CertStore>> {
    Ok(CertStore::load(TlsPaths { cert: cert.into(), key: key.into(), ca: ca.into() })?)
}
