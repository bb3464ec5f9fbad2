//! The listeners.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use strongroom_base::limits;
use strongroom_net::{AcceptorLimits, Incoming, Listener};
use strongroom_wire::{
    FILE_DESCRIPTOR_SET,
    peer::node_server::NodeServer,
    v1::{
        access_server::AccessServer, audit_server::AuditServer, cluster_server::ClusterServer,
        crypto_server::CryptoServer, keys_server::KeysServer, seal_server::SealServer,
    },
};
use tokio::net::TcpListener;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Server, server::Router},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::layer::util::{Identity, Stack};

use super::Running;
use crate::{
    config::Config,
    layers::CallLayer,
    monitor,
    peer_service::PeerService,
    services::{
        AccessService, AuditService, ClusterService, CryptoService, KeysService, SealService,
    },
};

/// A connection that says nothing for this long is asked for a sign of life.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(30);
/// A connection that gives none for this long is closed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a peer resets before they are accepted (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 64;
/// Bytes that a caller may send in one stream before they are read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same over all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Services whose health is told; the first is the node as a whole.
const HEALTH_SERVICES: [&str; 3] = ["", "strongroom.v1.Keys", "strongroom.v1.Crypto"];
/// Between two looks at whether the node serves.
const HEALTH_LOOK: Duration = Duration::from_millis(200);
/// Largest message of the services that take no data.
const SMALL_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Addresses that a node listens on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Endpoints {
    /// gRPC for callers.
    pub(crate) client: SocketAddr,
    /// gRPC between members.
    pub(crate) peer: SocketAddr,
    /// HTTP.
    pub(crate) monitor: SocketAddr,
    /// The process.
    pub(crate) pid: u32,
}

impl Endpoints {
    /// Writes `endpoints.json` into the data directory, whole or not at all.
    pub(super) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let mut file = data_dir.join("endpoints.json").into_os_string();
        let path = std::path::PathBuf::from(file.clone());
        file.push(".new");
        let new = std::path::PathBuf::from(file);
        let mut out = std::fs::File::create(&new)?;
        out.write_all(&serde_json::to_vec(self)?)?;
        out.sync_all()?;
        Ok(std::fs::rename(new, path)?)
    }
}

/// Listeners, bound and not serving yet.
pub(super) struct Listeners {
    client: TcpListener,
    peer: TcpListener,
    monitor: TcpListener,
}

/// Binds all listeners.
pub(super) async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let bind = async |name: &str, address: SocketAddr| {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("can't listen on {address} (listen.{name})"))
    };
    Ok(Listeners {
        client: bind("client", config.listen.client).await?,
        peer: bind("peer", config.listen.peer).await?,
        monitor: bind("monitor", config.listen.monitor).await?,
    })
}

impl Listeners {
    pub(super) fn endpoints(&self) -> std::io::Result<Endpoints> {
        Ok(Endpoints {
            client: self.client.local_addr()?,
            peer: self.peer.local_addr()?,
            monitor: self.monitor.local_addr()?,
            pid: std::process::id(),
        })
    }
}

/// Serves on all listeners until the node ends.
pub(super) fn serve(node: &Arc<Running>, listeners: Listeners) {
    let incoming = |tcp, listener, stats| {
        let certificates = Arc::clone(&node.core.certificates);
        Incoming::new(tcp, listener, certificates, AcceptorLimits::of(listener), stats)
    };
    let client = incoming(listeners.client, Listener::Client, Arc::clone(&node.client_stats));
    let peer = incoming(listeners.peer, Listener::Peer, Arc::clone(&node.peer_stats));

    let ended = node.serving.clone();
    let router = public(node);
    node.tasks.spawn(async move {
        let served = router.serve_with_incoming_shutdown(client, ended.cancelled_owned()).await;
        report("client", served);
    });
    let ended = node.peers_serving.clone();
    let router = between_peers(node);
    node.tasks.spawn(async move {
        let served = router.serve_with_incoming_shutdown(peer, ended.cancelled_owned()).await;
        report("peer", served);
    });
    let ended = node.peers_serving.clone();
    let router = monitor::router(Arc::clone(node));
    node.tasks.spawn(async move {
        let server = axum::serve(listeners.monitor, router);
        let served = server.with_graceful_shutdown(ended.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the monitor listener failed");
        }
    });
}

fn report(listener: &'static str, served: Result<(), tonic::transport::Error>) {
    if let Err(error) = served {
        tracing::error!(%error, listener, "a listener failed");
    }
}

type PublicRouter = Router<Stack<CallLayer, Identity>>;

/// The public services, with health and reflection, each behind the call layer.
fn public(node: &Arc<Running>) -> PublicRouter {
    let core = &node.core;
    let (health, health_service) = tonic_health::server::health_reporter();
    node.spawn(tell_health(Arc::downgrade(node), health));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by our own build");
    let small = SMALL_MESSAGE_BYTES_MAX;
    Server::builder()
        .layer(node.calls.clone())
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .max_concurrent_streams(limits::CLIENT_STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(
            CryptoServer::new(CryptoService::new(Arc::clone(core)))
                .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX),
        )
        .add_service(
            KeysServer::new(KeysService::new(Arc::clone(core))).max_decoding_message_size(small),
        )
        .add_service(
            AccessServer::new(AccessService::new(Arc::clone(core)))
                .max_decoding_message_size(small),
        )
        .add_service(
            SealServer::new(SealService::new(Arc::clone(core))).max_decoding_message_size(small),
        )
        .add_service(
            ClusterServer::new(ClusterService::new(Arc::clone(core)))
                .max_decoding_message_size(small),
        )
        .add_service(
            AuditServer::new(AuditService::new(Arc::clone(core))).max_decoding_message_size(small),
        )
}

/// Keeps gRPC health true.
async fn tell_health(node: Weak<Running>, health: HealthReporter) {
    let Some(mut phases) = node.upgrade().map(|node| node.core.lifecycle.watch()) else { return };
    let mut told = None;
    loop {
        phases.mark_unchanged();
        let Some(serves) = node.upgrade().map(|node| monitor::serves(&node)) else { return };
        if told.replace(serves) != Some(serves) {
            let state = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in HEALTH_SERVICES {
                health.set_service_status(service, state).await;
            }
        }
        // What ends it all at once is told at once, the rest is looked at.
        if let Ok(Err(_)) = tokio::time::timeout(HEALTH_LOOK, phases.changed()).await {
            return;
        }
    }
}

/// What members ask of one another.
fn between_peers(node: &Arc<Running>) -> Router {
    let core = &node.core;
    let service = NodeServer::new(PeerService::new(Arc::clone(core)))
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .tcp_nodelay(true)
        .add_service(core.raft.peer_service())
        .add_service(InterceptedService::new(service, core.raft.peer_guard()))
}
