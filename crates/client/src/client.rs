//! Operations of the cluster, at whichever node answers.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    address::Address,
    attempt::{Credentials, stub},
    balance::{Attempt, Connection, Plan, Pool, Repeat},
    config::{Config, ConfigError},
    error::{Error, Origin},
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
    tail::{EventTail, From},
};

/// A client of one cluster. Cheap to clone; clones share connections, and what
/// is known of the nodes.
///
/// Connections are made on first use and made again when they break.
#[derive(Clone)]
pub struct Client {
    pool: Pool,
    credentials: Credentials,
    nodes: Arc<[Node]>,
    timeout: Duration,
    hedge_decrypt_after: Option<Duration>,
    fail_fast: bool,
}

impl Client {
    /// Checks the configuration; dials nothing yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let pool = Pool::new(config)?;
        let credentials = Credentials::new(config.token.as_ref());
        let node = |address: &Address| {
            let connection =
                Connection::new(address.clone(), pool.connector().clone().nodes_only());
            Node::new(connection, credentials.clone(), config.timeout)
        };
        let nodes = config.addresses.iter().map(node).collect();
        Ok(Self {
            nodes,
            pool,
            credentials,
            timeout: config.timeout,
            hedge_decrypt_after: config.hedge_decrypt_after,
            fail_fast: config.fail_fast,
        })
    }

    /// As [`Client::new`], and awaits the first node that answers, sealed or not.
    ///
    /// # Errors
    ///
    /// [`Error`] when the configuration can't be used or no node answers.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let client = Self::new(config)?;
        // Health is served by nodes and fronts alike; whatever is said of it, it is
        // an answer.
        let request = HealthCheckRequest { service: String::new() };
        let check = client.call(Repeat::Harmless, request, |connection, request| async move {
            HealthClient::new(connection).check(request).await
        });
        match check.await {
            Err(error) if error.origin() != Origin::Service => Err(error),
            Ok(_) | Err(_) => Ok(client),
        }
    }

    /// Every configured address, in the order of the configuration, for calls to
    /// one node. They have connections of their own.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes as calls are spread over them.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The same client with another deadline of calls. Shares everything else.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
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
        self.timeout
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn plan(&self, repeat: Repeat) -> Plan {
        Plan::new(repeat, self.timeout).with_fail_fast(self.fail_fast)
    }

    /// Makes the call at whichever node answers.
    async fn call<M, A, F>(
        &self,
        repeat: Repeat,
        message: M,
        rpc: impl Fn(Connection, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.drive(&self.plan(repeat), message, rpc).await
    }

    async fn drive<M, A, F>(
        &self,
        plan: &Plan,
        message: M,
        rpc: impl Fn(Connection, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let send = |attempt: Attempt| {
            let mut request = self.credentials.request(message.clone(), attempt.request_id);
            request.set_timeout(attempt.time);
            let answer = rpc(attempt.connection, request);
            async { answer.await.map(Response::into_inner) }
        };
        self.pool.call(plan, send).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.nodes).finish()
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
                    self.call(Repeat::$repeat, request, |connection, request| async move {
                        stub!($stub, connection).$name(request).await
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
        self.call(repeat, request, |connection, request| async move {
            stub!(KeysClient, connection).create_key(request).await
        })
        .await
    }

    /// Decrypts a ciphertext blob; hedged where the configuration says so.
    ///
    /// # Errors
    ///
    /// [`Error`]: refused, unreachable, or outcome unknown.
    pub async fn decrypt(&self, request: DecryptRequest) -> Result<DecryptResponse, Error> {
        let plan = self.plan(Repeat::Harmless).with_hedge(self.hedge_decrypt_after);
        self.drive(&plan, request, |connection, request| async move {
            stub!(CryptoClient, connection).decrypt(request).await
        })
        .await
    }
}
