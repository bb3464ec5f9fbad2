//! One node, addressed by itself: seal, shares, status.

use std::{fmt, time::Duration};

use crate::{
    address::Address,
    attempt::{Call, Target, stub},
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
    target: Target,
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
                    let call = Call::begin(self.timeout);
                    self.target
                        .attempt(&call, self.timeout, request, |channel, request| async move {
                            stub!($stub, channel).$name(request).await
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
    pub(crate) fn new(target: Target, timeout: Duration) -> Self {
        Self { target, timeout }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.target.address
    }

    /// The same node with another timeout of calls.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { target: self.target.clone(), timeout }
    }

    /// Gives one share to this node; returns its progress.
    ///
    /// The share is copied into the message; the caller wipes its own copy.
    ///
    /// # Errors
    ///
    /// [`Error`]: a share refused by name, with progress kept.
    pub async fn submit_share(&self, share: &str) -> Result<SealStatusResponse, Error> {
        let call = Call::begin(self.timeout);
        let message = SubmitShareRequest { share: share.to_owned() };
        let answer = self.target.attempt(&call, self.timeout, message, |channel, request| async {
            stub!(SealClient, channel).submit_share(request).await
        });
        Ok(answer.await?.status.unwrap_or_default())
    }

    /// Forgets the shares that this node holds; returns its state.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn reset_unseal(&self) -> Result<SealStatusResponse, Error> {
        let call = Call::begin(self.timeout);
        let message = ResetUnsealRequest {};
        let answer = self.target.attempt(&call, self.timeout, message, |channel, request| async {
            stub!(SealClient, channel).reset_unseal(request).await
        });
        Ok(answer.await?.status.unwrap_or_default())
    }

    /// Seals this node: on return it holds no secret any more.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn seal(&self) -> Result<(), Error> {
        let call = Call::begin(self.timeout);
        let message = SealNodeRequest {};
        let answer = self.target.attempt(&call, self.timeout, message, |channel, request| async {
            stub!(SealClient, channel).seal_node(request).await
        });
        answer.await.map(|_| ())
    }

    /// State of this node's seal; needs no login.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn seal_status(&self) -> Result<SealStatusResponse, Error> {
        let call = Call::begin(self.timeout);
        let message = SealStatusRequest {};
        let answer = self.target.attempt(&call, self.timeout, message, |channel, request| async {
            stub!(SealClient, channel).seal_status(request).await
        });
        answer.await
    }

    /// State of this node; needs no login.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn status(&self) -> Result<NodeStatusResponse, Error> {
        let call = Call::begin(self.timeout);
        let message = NodeStatusRequest {};
        let answer = self.target.attempt(&call, self.timeout, message, |channel, request| async {
            stub!(ClusterClient, channel).node_status(request).await
        });
        answer.await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.target.address.to_string()).finish()
    }
}
