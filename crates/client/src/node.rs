//! One node, addressed by itself: seal, shares, status.

use std::{fmt, future::Future, time::Duration};

use tonic::{Request, Response, Status};

use crate::{
    address::Address,
    attempt::{Credentials, send_once, stub},
    balance::Connection,
    error::Error,
    proto::{
        InitRequest, InitResponse, NodeStatusRequest, NodeStatusResponse, ResetUnsealRequest,
        SealNodeRequest, SealStatusRequest, SealStatusResponse, SubmitShareRequest,
        TakeSnapshotRequest, TakeSnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
        cluster_client::ClusterClient, seal_client::SealClient,
    },
};

/// One node. Its calls go there and nowhere else, once. Clones share the
/// connection.
#[derive(Clone)]
pub struct Node {
    connection: Connection,
    credentials: Credentials,
    timeout: Duration,
}

macro_rules! node_calls {
    ($($(#[$doc:meta])* $stub:ident.$name:ident($request:ident) -> $answer:ident;)+) => {
        impl Node {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// [`Error`]: refused, unreachable, or outcome unknown.
                pub async fn $name(&self, request: $request) -> Result<$answer, Error> {
                    self.send(request, |connection, request| async move {
                        stub!($stub, connection).$name(request).await
                    })
                    .await
                }
            )+
        }
    };
}

node_calls! {
    /// Forms the cluster and makes its root key; needs an operator certificate.
    SealClient.init(InitRequest) -> InitResponse;
    /// Hands Raft leadership to another voter.
    ClusterClient.transfer_leader(TransferLeaderRequest) -> TransferLeaderResponse;
    /// Takes a snapshot on this node.
    ClusterClient.take_snapshot(TakeSnapshotRequest) -> TakeSnapshotResponse;
}

impl Node {
    pub(crate) fn new(connection: Connection, credentials: Credentials, timeout: Duration) -> Self {
        Self { connection, credentials, timeout }
    }

    async fn send<M, A, F>(
        &self,
        message: M,
        rpc: impl FnOnce(Connection, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        send_once(&self.connection, &self.credentials, self.timeout, message, rpc).await
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.connection.address()
    }

    /// The same node with another timeout of calls.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// Gives one share to this node; returns its progress.
    ///
    /// The share is copied into the message; the caller wipes its own copy.
    ///
    /// # Errors
    ///
    /// [`Error`]: a share refused by name, with progress kept.
    pub async fn submit_share(&self, share: &str) -> Result<SealStatusResponse, Error> {
        let message = SubmitShareRequest { share: share.to_owned() };
        let answer = self.send(message, |connection, request| async {
            stub!(SealClient, connection).submit_share(request).await
        });
        Ok(answer.await?.status.unwrap_or_default())
    }

    /// Forgets the shares that this node holds; returns its state.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn reset_unseal(&self) -> Result<SealStatusResponse, Error> {
        let message = ResetUnsealRequest {};
        let answer = self.send(message, |connection, request| async {
            stub!(SealClient, connection).reset_unseal(request).await
        });
        Ok(answer.await?.status.unwrap_or_default())
    }

    /// Seals this node: on return it holds no secret any more.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn seal(&self) -> Result<(), Error> {
        let message = SealNodeRequest {};
        let answer = self.send(message, |connection, request| async {
            stub!(SealClient, connection).seal_node(request).await
        });
        answer.await.map(|_| ())
    }

    /// State of this node's seal; needs no login.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn seal_status(&self) -> Result<SealStatusResponse, Error> {
        let message = SealStatusRequest {};
        let answer = self.send(message, |connection, request| async {
            stub!(SealClient, connection).seal_status(request).await
        });
        answer.await
    }

    /// State of this node; needs no login.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn status(&self) -> Result<NodeStatusResponse, Error> {
        let message = NodeStatusRequest {};
        let answer = self.send(message, |connection, request| async {
            stub!(ClusterClient, connection).node_status(request).await
        });
        answer.await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.address().to_string()).finish()
    }
}
