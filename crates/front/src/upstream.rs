//! Pools of connections to nodes, under the front's own certificate.

use std::{io, num::NonZeroUsize, sync::Arc, time::Duration};

use http::Uri;
use strongroom_client::{Config as ClientConfig, ConnectError, Dialer, Windows, balance::Pool};
use strongroom_net::{self as net, CertStore, Connector, HandshakeError, PeerStream};
use tower::Service as _;

use crate::config::{Config, ConfigError};

/// Time for resolving, connecting and the handshake with a node together.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Between two probes of a node, whether requests come or not: a front says at all
/// times whether a node serves.
const PROBE_EVERY: Duration = Duration::from_millis(300);
/// Time that a probe has.
const PROBE_TIME: Duration = Duration::from_millis(500);
/// Between two look-ups of names.
const RESOLVE_EVERY: Duration = Duration::from_secs(15);

/// Connections to each node.
#[derive(Clone, Copy)]
pub(crate) struct Lanes {
    /// At most.
    pub(crate) connections: usize,
    /// What a node may send before it is read, where that is to be bounded.
    pub(crate) windows: Option<Windows>,
}

/// The nodes of `config`, each dialled with the certificate that is in use at that
/// moment; whoever answers must be a node of the cluster.
///
/// # Errors
///
/// [`ConfigError`] for addresses that are none.
pub(crate) fn pool(
    config: &Config,
    certificates: &Arc<CertStore>,
    lanes: Lanes,
) -> Result<Pool, ConfigError> {
    let refused = |error: strongroom_client::ConfigError| ConfigError::Invalid {
        key: "nodes",
        problem: error.to_string(),
    };
    let mut client = ClientConfig::new(&config.nodes, Vec::new()).map_err(refused)?;
    let certificates = Arc::clone(certificates);
    client.dialer = Some(Dialer::new(move |uri| dial(Arc::clone(&certificates), uri)));
    client.windows = lanes.windows;
    client.connections = NonZeroUsize::new(lanes.connections).unwrap_or(NonZeroUsize::MIN);
    client.connect_timeout = CONNECT_TIME;
    client.probe_interval = PROBE_EVERY;
    client.probe_idle_interval = PROBE_EVERY;
    client.probe_timeout = PROBE_TIME;
    client.resolve_interval = RESOLVE_EVERY;
    Pool::new(&client).map_err(refused)
}

async fn dial(certificates: Arc<CertStore>, uri: Uri) -> Result<PeerStream, ConnectError> {
    let address = uri.authority().map(ToString::to_string).unwrap_or_default();
    // TLS is the connector's affair, hence http.
    let plain = format!("http://{address}").parse::<Uri>();
    let plain = plain
        .map_err(|error| ConnectError::Dial { address: address.clone(), source: error.into() })?;
    Connector::to_any_node(certificates, CONNECT_TIME).call(plain).await.map_err(named)
}

/// The failure in the client's words. Who is there and is not trusted is told from
/// who is not there.
fn named(error: net::ConnectError) -> ConnectError {
    match error {
        net::ConnectError::Dial { address, source } => ConnectError::Dial { address, source },
        net::ConnectError::Timeout { address, timeout_ms } => {
            ConnectError::Timeout { address, timeout_ms: timeout_ms.into() }
        }
        net::ConnectError::Handshake { address, source, .. }
        | net::ConnectError::AnyNode { address, source } => match source {
            HandshakeError::Io(source) => ConnectError::Dial { address, source: source.into() },
            HandshakeError::NoHttp2 => ConnectError::NoHttp2 { address },
            source => ConnectError::Untrusted { address, source: io::Error::other(source) },
        },
        error => ConnectError::Dial { address: String::new(), source: error.into() },
    }
}
