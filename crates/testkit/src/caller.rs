//! Calls to one node, each as one attempt: nothing here retries.

mod calls;
mod failure;

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::Uri;
use parking_lot::Mutex;
use strongroom_net::{ConnectError, Connector, PeerStream};
use strongroom_wire::v1::{
    access_client::AccessClient, audit_client::AuditClient, cluster_client::ClusterClient,
    crypto_client::CryptoClient, keys_client::KeysClient, seal_client::SealClient,
};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tower::Service;

pub use failure::{Explain, Failure, StatusExt};

/// Deadline of a call that sets none.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest message: pages of a thousand events.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where a node listens; follows it over restarts.
pub(crate) type Address = Arc<Mutex<Option<SocketAddr>>>;

/// Dials wherever the node listens by then.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: Address,
    pub(crate) connector: Connector,
}

impl Service<Uri> for Dialer {
    type Response = PeerStream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<PeerStream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let address = *self.address.lock();
        let Some(address) = address else {
            let source = "the node is down".into();
            let failed = ConnectError::Dial { address: uri.to_string(), source };
            return Box::pin(async { Err(failed) });
        };
        let uri = format!("http://{address}").parse().expect("an address makes a URI");
        self.connector.call(uri)
    }
}

pub(crate) fn channel(dialer: Dialer) -> Channel {
    // The host is never used: the dialer knows where to go.
    Endpoint::from_static("http://node.invalid").connect_with_connector_lazy(dialer)
}

/// Calls one node with one certificate and, or, one token.
#[derive(Clone)]
pub struct Caller {
    channel: Channel,
    headers: Headers,
    /// The node that is called.
    pub node: u64,
}

/// What goes into the metadata of each call.
#[derive(Clone)]
pub struct Headers {
    token: Option<MetadataValue<tonic::metadata::Ascii>>,
    deadline: Duration,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if request.metadata().get("grpc-timeout").is_none() {
            request.set_timeout(self.deadline);
        }
        Ok(request)
    }
}

type Channelled = InterceptedService<Channel, Headers>;

impl Caller {
    pub(crate) fn new(channel: Channel, node: u64) -> Self {
        Self { channel, headers: Headers { token: None, deadline: DEADLINE }, node }
    }

    /// The same with a bearer token.
    ///
    /// # Panics
    ///
    /// When the token holds what no header can carry.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        let mut value: MetadataValue<_> =
            format!("Bearer {token}").parse().expect("tokens are ASCII");
        value.set_sensitive(true);
        self.headers.token = Some(value);
        self
    }

    /// The same with another deadline of each call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.headers.deadline = deadline;
        self
    }

    /// The connection itself.
    #[must_use]
    pub fn channel(&self) -> Channelled {
        InterceptedService::new(self.channel.clone(), self.headers.clone())
    }

    /// Service `Keys`.
    #[must_use]
    pub fn keys(&self) -> KeysClient<Channelled> {
        KeysClient::new(self.channel())
    }

    /// Service `Crypto`.
    #[must_use]
    pub fn crypto(&self) -> CryptoClient<Channelled> {
        CryptoClient::new(self.channel()).max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Service `Access`.
    #[must_use]
    pub fn access(&self) -> AccessClient<Channelled> {
        AccessClient::new(self.channel())
    }

    /// Service `Audit`.
    #[must_use]
    pub fn audit(&self) -> AuditClient<Channelled> {
        AuditClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Service `Cluster`.
    #[must_use]
    pub fn cluster(&self) -> ClusterClient<Channelled> {
        ClusterClient::new(self.channel())
    }

    /// Service `Seal`.
    #[must_use]
    pub fn seal(&self) -> SealClient<Channelled> {
        SealClient::new(self.channel())
    }
}

/// A request with an id of the caller's choice.
#[must_use]
pub fn request_with_id<T>(id: uuid::Uuid, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = id.to_string().parse().expect("a UUID is ASCII");
    request.metadata_mut().insert("x-request-id", id);
    request
}
