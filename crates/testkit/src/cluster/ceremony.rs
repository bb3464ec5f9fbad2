//! `init`, unsealing, and what tests work with: tokens and a key.

use std::sync::Arc;

use futures::future::try_join_all;
use strongroom_wire::v1::{InitRequest, InitResponse, Role};

use super::Cluster;
use crate::{
    caller::{Caller, Explain as _},
    node::Node,
    pki::Who,
};

/// What `init` gave.
#[derive(Clone)]
pub struct Ceremony {
    /// Text forms of all shares.
    pub shares: Vec<String>,
    /// How many of them unseal.
    pub threshold: usize,
    /// Bearer token of the first administrator.
    pub administrator_token: String,
    /// Token under which `init` may be repeated.
    pub init_token: Vec<u8>,
    /// Counts root keys.
    pub seal_epoch: u64,
}

impl Ceremony {
    /// As many shares as unseal a node.
    #[must_use]
    pub fn enough(&self) -> &[String] {
        &self.shares[..self.threshold]
    }
}

/// Tokens and a key for tests to work with.
#[derive(Clone)]
pub struct Tenant {
    /// Token of the first administrator.
    pub administrator: String,
    /// Token of a user.
    pub user: String,
    /// Token of an auditor.
    pub auditor: String,
    /// A key.
    pub key_id: String,
}

impl Cluster {
    /// Calls `Init` on `node` as an operator, with a token of the caller's
    /// choice; changes nothing here.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn call_init(
        &self,
        node: &Node,
        init_token: &[u8],
    ) -> Result<InitResponse, tonic::Status> {
        self.send_init(node, init_token, false).await
    }

    async fn send_init(
        &self,
        node: &Node,
        init_token: &[u8],
        allow_absent: bool,
    ) -> Result<InitResponse, tonic::Status> {
        let operator = node
            .caller_as(Who::Operator)
            .map_err(|error| tonic::Status::internal(format!("{error:#}")))?;
        let request = InitRequest {
            shares: self.shares.0,
            threshold: self.shares.1,
            init_token: init_token.to_vec(),
            administrator_name: String::new(),
            allow_absent,
        };
        operator.seal().init(request).await.map(tonic::Response::into_inner)
    }

    /// Initialises on node 1 and remembers shares and token. Every node is
    /// sealed after it.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn init(&self) -> anyhow::Result<Ceremony> {
        let init_token = rand::random::<[u8; 32]>().to_vec();
        let response = self.call_init(self.node(1), &init_token).await;
        let response = response.explain("Init on node 1")?;
        Ok(self.adopt(init_token, response))
    }

    /// As [`Cluster::init`], on a node of the caller's choice, where a minority of
    /// the members was never started.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn init_without_absent(&self, node: &Node) -> anyhow::Result<Ceremony> {
        let init_token = rand::random::<[u8; 32]>().to_vec();
        let response = self.send_init(node, &init_token, true).await;
        let response = response.explain("Init with absent members")?;
        Ok(self.adopt(init_token, response))
    }

    /// Remembers what an `Init` gave.
    pub fn adopt(&self, init_token: Vec<u8>, response: InitResponse) -> Ceremony {
        let ceremony = Ceremony {
            shares: response.shares,
            threshold: usize::try_from(self.shares.1).expect("at most 255"),
            administrator_token: response.administrator_token,
            init_token,
            seal_epoch: response.seal_epoch,
        };
        self.remember(ceremony.clone());
        ceremony
    }

    /// Remembers what an `init` gave that was called otherwise.
    pub fn remember(&self, ceremony: Ceremony) {
        *self.ceremony.lock() = Some(ceremony);
    }

    /// What `init` gave.
    ///
    /// # Panics
    ///
    /// Before [`Cluster::init`].
    #[must_use]
    pub fn ceremony(&self) -> Ceremony {
        self.ceremony.lock().clone().expect("the cluster was initialised by the test")
    }

    /// Unseals every node that runs, at once.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub async fn unseal_all(&self) -> anyhow::Result<()> {
        self.unseal_all_but(&[]).await
    }

    /// Unseals every node that runs but these.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub async fn unseal_all_but(&self, ids: &[u64]) -> anyhow::Result<()> {
        let ceremony = self.ceremony();
        let mut rest = self.running();
        rest.retain(|node| !ids.contains(&node.id));
        try_join_all(rest.iter().map(|node| node.unseal(ceremony.enough()))).await?;
        Ok(())
    }

    /// Unseals one node with as many shares as are needed.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub async fn unseal(&self, node: &Node) -> anyhow::Result<()> {
        node.unseal(self.ceremony().enough()).await
    }

    /// Kills a node if it runs, starts it, unseals it.
    ///
    /// # Errors
    ///
    /// The first step that fails.
    pub async fn revive(&self, node: &Arc<Node>) -> anyhow::Result<()> {
        node.restart().await?;
        self.unseal(node).await
    }

    /// Tokens and a key; made by the first call.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn tenant(&self) -> anyhow::Result<Tenant> {
        if let Some(tenant) = self.tenant.lock().clone() {
            return Ok(tenant);
        }
        let administrator = self.ceremony().administrator_token;
        let caller = self.administrator(self.node(1));
        let tenant = Tenant {
            user: caller.create_token("application", Role::User).await.explain("a token")?.token,
            auditor: caller.create_token("auditor", Role::Auditor).await.explain("a token")?.token,
            key_id: caller.create_key("the tests' key").await.explain("a key")?,
            administrator,
        };
        *self.tenant.lock() = Some(tenant.clone());
        Ok(tenant)
    }

    /// Calls `node` as the first administrator.
    #[must_use]
    pub fn administrator(&self, node: &Node) -> Caller {
        node.caller().with_token(&self.ceremony().administrator_token)
    }
}
