//! Operations of the cluster, at whichever node answers.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::random;
use tonic::{Request, Response, Status, transport::Channel};
use tracing::debug;

use crate::{
    attempt::{Call, Target, stub},
    config::{Config, ConfigError},
    error::{Error, FailedAddress},
    node::Node,
    proto::{
        AttachRoleRequest, AttachRoleResponse, CreateKeyRequest, CreateKeyResponse,
        CreateTokenRequest, CreateTokenResponse, DecryptBatchRequest, DecryptBatchResponse,
        DecryptRequest, DecryptResponse, DescribeKeyRequest, DescribeKeyResponse,
        DetachRoleRequest, DetachRoleResponse, DisableKeyRequest, DisableKeyResponse,
        DropEpochRequest, DropEpochResponse, EnableKeyRequest, EnableKeyResponse, EncryptRequest,
        EncryptResponse, EventFilter, GenerateDataKeyRequest, GenerateDataKeyResponse,
        GenerateDataKeyWithoutPlaintextRequest, GenerateDataKeyWithoutPlaintextResponse,
        GenerateDataKeysRequest, GenerateDataKeysResponse, GenerateRandomRequest,
        GenerateRandomResponse, ListEpochsRequest, ListEpochsResponse, ListEventsRequest,
        ListEventsResponse, ListKeysRequest, ListKeysResponse, ListMembersRequest,
        ListMembersResponse, ListTokensRequest, ListTokensResponse, ReEncryptRequest,
        ReEncryptResponse, RevokeTokenRequest, RevokeTokenResponse, RotateBarrierRequest,
        RotateBarrierResponse, WhoAmIRequest, WhoAmIResponse, access_client::AccessClient,
        audit_client::AuditClient, cluster_client::ClusterClient, crypto_client::CryptoClient,
        keys_client::KeysClient,
    },
    retry::{self, Next, Repeat},
    tail::{EventTail, From},
    tls,
};

/// Rounds over all addresses that one call makes at most.
const ROUNDS_MAX: u32 = 64;

/// A client of one cluster. Cheap to clone; clones share connections.
///
/// Connections are made on first use and made again when they break.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    nodes: Vec<Node>,
    /// Index of the node that answered last: where the next call begins.
    preferred: AtomicUsize,
    timeout: Duration,
}

impl Client {
    /// Checks the configuration; dials nothing yet.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        if config.addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let connector = tls::Connector::new(config)?;
        let nodes = config
            .addresses
            .iter()
            .map(|address| {
                let channel = tls::channel(address, connector.clone());
                let target = Target::new(address.clone(), channel, config.token.as_ref());
                Node::new(target, config.timeout)
            })
            .collect();
        let preferred = AtomicUsize::new(0);
        Ok(Self(Arc::new(Inner { nodes, preferred, timeout: config.timeout })))
    }

    /// As [`Client::new`], and awaits the first node that answers, sealed or not.
    ///
    /// # Errors
    ///
    /// [`Error`] when the configuration can't be used or no node answers.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let client = Self::new(config)?;
        let answer =
            client.call(Repeat::Harmless, crate::proto::SealStatusRequest {}, |c, r| async move {
                stub!(crate::proto::seal_client::SealClient, c).seal_status(r).await
            });
        answer.await?;
        Ok(client)
    }

    /// Every configured node, in the order of the configuration.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// Follows the audit log from sequence number `from_sequence` on.
    #[must_use]
    pub fn tail_events(&self, filter: EventFilter, from_sequence: u64) -> EventTail {
        EventTail::new(self.clone(), filter, From::Sequence(from_sequence))
    }

    /// Follows the audit log beginning with the next event.
    #[must_use]
    pub fn tail_new_events(&self, filter: EventFilter) -> EventTail {
        EventTail::new(self.clone(), filter, From::End)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// The nodes in the order in which to try them, with their indexes.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (usize, &Node)> {
        let nodes = &self.0.nodes;
        let first = self.0.preferred.load(Ordering::Relaxed);
        (0..nodes.len()).map(move |step| {
            let index = (first + step) % nodes.len();
            (index, &nodes[index])
        })
    }

    pub(crate) fn prefer(&self, index: usize) {
        self.0.preferred.store(index, Ordering::Relaxed);
    }

    /// Makes the call at one node after the other until one answers for good.
    async fn call<M, A, F>(
        &self,
        repeat: Repeat,
        message: M,
        rpc: impl Fn(Channel, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let call = Call::begin(self.0.timeout);
        let mut failures = Failures::default();
        for round in 1..=ROUNDS_MAX {
            let mut wait: Option<Duration> = None;
            let mut to_try = self.0.nodes.len();
            for (index, node) in self.in_order() {
                let left = call.left();
                if left.is_zero() {
                    return Err(failures.into_error(&call));
                }
                let time = retry::attempt_time(left, to_try, repeat);
                to_try -= 1;
                let attempt = node.target().attempt(&call, time, message.clone(), &rpc);
                let error = match attempt.await {
                    Ok(answer) => {
                        self.prefer(index);
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                debug!(address = %node.address(), reason = error.reason(), "attempt failed");
                let next = retry::next(&error, repeat);
                failures.push(error);
                match next {
                    Next::Stop => return Err(failures.into_last(&call)),
                    Next::Elsewhere => {}
                    Next::ElsewhereOrLater(least) => {
                        let longest = wait.unwrap_or_default();
                        wait = Some(retry::backoff(round, random()).max(least).max(longest));
                    }
                    Next::After(delay) => {
                        wait = Some(delay);
                        break;
                    }
                }
            }
            match wait {
                Some(wait) if wait < call.left() => tokio::time::sleep(wait).await,
                _ => return Err(failures.into_error(&call)),
            }
        }
        Err(failures.into_error(&call))
    }
}

/// Failed attempts of one call; keeps the newest of each address.
#[derive(Default)]
struct Failures(Vec<Error>);

impl Failures {
    fn push(&mut self, error: Error) {
        self.0.retain(|other| other.address() != error.address());
        self.0.push(error);
    }

    /// The newest failure, the others beside it.
    fn into_last(mut self, call: &Call) -> Error {
        match self.0.pop() {
            Some(last) => last.with_others(self.others()),
            None => Error::deadline(call.timeout()),
        }
    }

    /// The failure that says most, the others beside it. An outcome unknown is
    /// never hidden behind another answer.
    fn into_error(mut self, call: &Call) -> Error {
        let most = (0..self.0.len()).max_by_key(|&index| {
            let error = &self.0[index];
            (!error.is_surely_not_executed(), error.origin())
        });
        match most {
            Some(index) => self.0.remove(index).with_others(self.others()),
            None => Error::deadline(call.timeout()),
        }
    }

    fn others(&self) -> Vec<FailedAddress> {
        self.0.iter().filter_map(Error::to_failed_address).collect()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.nodes).finish()
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $repeat:ident $stub:ident.$name:ident($request:ident) -> $answer:ident;)+) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// [`Error`]: refused, unreachable, or outcome unknown.
                pub async fn $name(&self, request: $request) -> Result<$answer, Error> {
                    self.call(Repeat::$repeat, request, |channel, request| async move {
                        stub!($stub, channel).$name(request).await
                    })
                    .await
                }
            )+
        }
    };
}

calls! {
    /// Describes a key.
    Harmless KeysClient.describe_key(DescribeKeyRequest) -> DescribeKeyResponse;
    /// Lists keys, a page at a time.
    Harmless KeysClient.list_keys(ListKeysRequest) -> ListKeysResponse;
    /// Enables a key.
    Harmless KeysClient.enable_key(EnableKeyRequest) -> EnableKeyResponse;
    /// Disables a key: once this returns, no use invoked later succeeds.
    Harmless KeysClient.disable_key(DisableKeyRequest) -> DisableKeyResponse;

    /// Makes a data key, plaintext and wrapped.
    Harmless CryptoClient.generate_data_key(GenerateDataKeyRequest) -> GenerateDataKeyResponse;
    /// Makes a data key, wrapped only.
    Harmless CryptoClient.generate_data_key_without_plaintext(
        GenerateDataKeyWithoutPlaintextRequest) -> GenerateDataKeyWithoutPlaintextResponse;
    /// Makes several data keys with one audit record.
    Harmless CryptoClient.generate_data_keys(GenerateDataKeysRequest) -> GenerateDataKeysResponse;
    /// Encrypts up to 4,096 bytes.
    Harmless CryptoClient.encrypt(EncryptRequest) -> EncryptResponse;
    /// Decrypts a ciphertext blob.
    Harmless CryptoClient.decrypt(DecryptRequest) -> DecryptResponse;
    /// Decrypts several blobs with one audit record.
    Harmless CryptoClient.decrypt_batch(DecryptBatchRequest) -> DecryptBatchResponse;
    /// Decrypts and encrypts again inside the cluster.
    Harmless CryptoClient.re_encrypt(ReEncryptRequest) -> ReEncryptResponse;
    /// Random bytes.
    Harmless CryptoClient.generate_random(GenerateRandomRequest) -> GenerateRandomResponse;

    /// Lists audit events, a page at a time.
    Harmless AuditClient.list_events(ListEventsRequest) -> ListEventsResponse;

    /// Makes a token. Not repeated: a token whose answer was lost stays valid
    /// until it is revoked.
    Never AccessClient.create_token(CreateTokenRequest) -> CreateTokenResponse;
    /// Lists tokens, a page at a time.
    Harmless AccessClient.list_tokens(ListTokensRequest) -> ListTokensResponse;
    /// Revokes tokens.
    Harmless AccessClient.revoke_token(RevokeTokenRequest) -> RevokeTokenResponse;
    /// Gives a principal a role.
    Harmless AccessClient.attach_role(AttachRoleRequest) -> AttachRoleResponse;
    /// Takes a role from a principal.
    Harmless AccessClient.detach_role(DetachRoleRequest) -> DetachRoleResponse;
    /// Says who the caller is.
    Harmless AccessClient.who_am_i(WhoAmIRequest) -> WhoAmIResponse;

    /// Lists the members of the cluster.
    Harmless ClusterClient.list_members(ListMembersRequest) -> ListMembersResponse;
    /// Makes a new barrier and audit epoch. Not repeated: each makes one.
    Never ClusterClient.rotate_barrier(RotateBarrierRequest) -> RotateBarrierResponse;
    /// Drops an epoch under which nothing is left.
    Never ClusterClient.drop_epoch(DropEpochRequest) -> DropEpochResponse;
    /// Lists epochs and what is counted under each.
    Harmless ClusterClient.list_epochs(ListEpochsRequest) -> ListEpochsResponse;
}

impl Client {
    /// Creates a key. Repeated after an unknown outcome only under a
    /// `client_token`, which makes the repeat return the first call's key.
    ///
    /// # Errors
    ///
    /// [`Error`]: refused, unreachable, or outcome unknown.
    pub async fn create_key(&self, request: CreateKeyRequest) -> Result<CreateKeyResponse, Error> {
        let repeat = if request.client_token.is_empty() { Repeat::Never } else { Repeat::Harmless };
        self.call(repeat, request, |channel, request| async move {
            stub!(KeysClient, channel).create_key(request).await
        })
        .await
    }
}
