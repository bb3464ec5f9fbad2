//! Service `strongroom.v1.Seal`: init, shares, unseal, seal.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use strongroom_audit::{Operation, Reason};
use strongroom_barrier::{self as barrier, Share, ShareRefusal, Step};
use strongroom_model::{self as model, facts};
use strongroom_wire::v1::{self, seal_server::Seal};
use tonic::{Request, Response, Status};
use zeroize::Zeroize;

use crate::{
    attempt::{Effect, commit},
    caller::Caller,
    core::Core,
    errors, init,
    lifecycle::{Phase, Secrets},
    metrics::Bound,
    unseal,
};

/// Between two looks at a state that is being rebuilt.
const CATCH_UP_LOOK: Duration = Duration::from_millis(50);

/// Service `strongroom.v1.Seal`.
#[derive(Clone)]
pub(crate) struct SealService {
    core: Arc<Core>,
}

impl SealService {
    /// Serves `core`.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// An operator's certificate, or an administrator's token that is recorded
    /// as used for `operation`.
    async fn require_operator(&self, caller: &Caller, operation: Operation) -> Result<(), Status> {
        if caller.operator().is_some() {
            return Ok(());
        }
        if caller.token.is_none() {
            return Err(errors::denied(
                "needs an operator's certificate of the cluster's CA, or an administrator's token",
            ));
        }
        commit(&self.core, caller, Effect::Change, |basis, by, _| {
            Ok(model::record_act(basis, by, operation, &[]))
        })
        .await
    }

    async fn refuse_share(&self, refusal: &ShareRefusal) -> Status {
        let reason = reason_of(refusal);
        self.core.metrics.share_refused(reason);
        tracing::warn!(reason = reason.text(), "a share was refused");
        self.core.ceremony.record(&self.core, Operation::SubmitShare, Some(reason), &[]).await;
        errors::share_refused(reason.text(), refusal.to_string())
    }

    /// Each share is one that was handed out, and yet the keyring stays closed:
    /// the record is at fault, or newer than this program. The shares stay but
    /// for the last one, which may be given again once that is mended.
    async fn unseal_failed(
        &self,
        config: &barrier::SealConfig,
        shares: Vec<Share>,
        last: &str,
        error: &barrier::UnsealError,
    ) -> Status {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, cause, "the threshold of shares is here and does not unseal");
        self.core.metrics.share_refused(Reason::UnsealFailed);
        if let Ok(last) = Share::parse(last) {
            self.core.lifecycle.put_back(config, shares, last.index());
        }
        let failed = Some(Reason::UnsealFailed);
        self.core.ceremony.record(&self.core, Operation::SubmitShare, failed, &[]).await;
        errors::precondition(
            Reason::UnsealFailed.text(),
            format!(
                "the shares are right, but {error} on this node ({cause}): its keyring record is \
                 damaged or newer than this program. Look at its log; use the program that the \
                 other nodes run, or replace the node. The other shares are kept: give this one \
                 again then"
            ),
        )
    }

    /// The plain records, as soon as this node's state has them: after a start
    /// it may still be rebuilt from the log.
    async fn records(&self, caller: &Caller) -> Result<unseal::Records, Status> {
        loop {
            match unseal::records(&self.core.state) {
                Ok(records) => return Ok(records),
                Err(unseal::RecordsError::NotFormed) if Instant::now() < caller.deadline().0 => {
                    tokio::time::sleep(CATCH_UP_LOOK).await;
                }
                Err(unseal::RecordsError::NotFormed) => {
                    return Err(errors::unavailable(
                        "CATCHING_UP",
                        "this node is still rebuilding its state: it needs a quorum of members",
                    ));
                }
                Err(error) => return Err(errors::internal(&error)),
            }
        }
    }

    async fn take_share(&self, share: &str, records: unseal::Records) -> Result<(), Status> {
        let core = &self.core;
        let internal = |error: unseal::RecordsError| errors::internal(&error);
        let config = unseal::barrier_config(&records).map_err(internal)?;
        let step = match core.lifecycle.submit(&config, share) {
            Ok(step) => step,
            Err(refusal) => return Err(self.refuse_share(&refusal).await),
        };
        let threshold = config.scheme().threshold();
        let given = match &step {
            Step::NeedShares { missing } => threshold - missing,
            Step::Combine(_) => threshold,
        };
        let step_facts = [
            facts::progress(given),
            facts::threshold(threshold),
            facts::seal_epoch(config.seal_epoch()),
        ];
        core.ceremony.record(core, Operation::SubmitShare, None, &step_facts).await;
        tracing::info!(given, threshold, "a share was taken");
        let Step::Combine(shares) = step else { return Ok(()) };
        let (revision, record) = (records.revisions.keyring, &records.keyring);
        let unsealed = match barrier::unseal(&shares, &config, revision, record) {
            Ok(unsealed) => unsealed,
            Err(error) => return Err(self.unseal_failed(&config, shares, share, &error).await),
        };
        let cluster = records.cluster;
        core.lifecycle.unsealed(|generation| Secrets { unsealed, cluster, generation });
        // A keyring that was applied since the records were read.
        if let Err(error) = unseal::reopen(&core.lifecycle, &core.state) {
            core.lifecycle.seal();
            return Err(internal(error));
        }
        Ok(())
    }
}

fn reason_of(refusal: &ShareRefusal) -> Reason {
    match refusal {
        ShareRefusal::Mistyped => Reason::ShareMistyped,
        ShareRefusal::NotAShare | ShareRefusal::Inconsistent => Reason::ShareMalformed,
        ShareRefusal::UnsupportedFormat { .. } => Reason::ShareUnsupportedFormat,
        ShareRefusal::ForeignCluster(_) => Reason::ShareForeignCluster,
        ShareRefusal::OldEpoch { .. } => Reason::ShareOldEpoch,
        ShareRefusal::Repeated { .. } => Reason::ShareRepeated,
        _ => Reason::ShareUnknown,
    }
}

/// The state of this node's seal.
#[must_use]
pub(crate) fn seal_status(core: &Core) -> v1::SealStatusResponse {
    let phase = core.lifecycle.phase();
    let records = unseal::records(&core.state).ok();
    let seal = records.as_ref().map(|records| &records.seal);
    v1::SealStatusResponse {
        state: match phase {
            Phase::Uninitialised => v1::NodeState::Uninitialised,
            Phase::Sealed => v1::NodeState::Sealed,
            Phase::Verifying => v1::NodeState::Verifying,
            Phase::Unsealed => v1::NodeState::Unsealed,
        }
        .into(),
        shares: seal.map_or(0, |seal| seal.shares.into()),
        threshold: seal.map_or(0, |seal| seal.threshold.into()),
        progress: core.lifecycle.shares_given().into(),
        seal_epoch: seal.map_or(0, |seal| seal.seal_epoch.0),
        cluster_id: records.map(|records| records.cluster.id.to_string()).unwrap_or_default(),
        node_id: core.node.value(),
        node_name: core.config.node_name(),
        version: crate::VERSION.to_owned(),
    }
}

#[tonic::async_trait]
impl Seal for SealService {
    async fn init(
        &self,
        request: Request<v1::InitRequest>,
    ) -> Result<Response<v1::InitResponse>, Status> {
        let caller = Caller::of(&request)?;
        if caller.operator().is_none() {
            return Err(errors::denied("init needs an operator's certificate of the cluster's CA"));
        }
        init::init(&self.core, &caller, request.into_inner()).await.map(Response::new)
    }

    async fn submit_share(
        &self,
        request: Request<v1::SubmitShareRequest>,
    ) -> Result<Response<v1::SubmitShareResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut text = request.into_inner().share;
        if !self.core.share_entries.take(caller.source_address, Instant::now()) {
            text.zeroize();
            self.core.metrics.hit(Bound::ShareEntries);
            return Err(errors::share_rate());
        }
        let taken = match self.core.lifecycle.phase() {
            Phase::Uninitialised => Err(errors::precondition(
                "UNINITIALISED",
                "the cluster is not formed: run init on one node first",
            )),
            // Whoever gives one share too many is told where the node stands,
            // and whoever gives what is no share is told that.
            Phase::Verifying | Phase::Unsealed => match Share::parse(&text) {
                Ok(_) => Ok(()),
                Err(error) => Err(self.refuse_share(&error.into()).await),
            },
            Phase::Sealed => match self.records(&caller).await {
                Ok(records) => self.take_share(&text, records).await,
                Err(status) => Err(status),
            },
        };
        text.zeroize();
        taken?;
        let status = Some(seal_status(&self.core));
        Ok(Response::new(v1::SubmitShareResponse { status }))
    }

    async fn reset_unseal(
        &self,
        request: Request<v1::ResetUnsealRequest>,
    ) -> Result<Response<v1::ResetUnsealResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.require_operator(&caller, Operation::ResetUnseal).await?;
        self.core.lifecycle.forget_shares();
        self.core.ceremony.record(&self.core, Operation::ResetUnseal, None, &[]).await;
        let status = Some(seal_status(&self.core));
        Ok(Response::new(v1::ResetUnsealResponse { status }))
    }

    async fn seal_node(
        &self,
        request: Request<v1::SealNodeRequest>,
    ) -> Result<Response<v1::SealNodeResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.require_operator(&caller, Operation::Seal).await?;
        drop(caller);
        let sealed = unseal::seal(&self.core).await;
        if sealed.had_secrets {
            if sealed.wiped {
                tracing::warn!("sealed: every secret is wiped from this node's memory");
            }
            self.core.ceremony.record(&self.core, Operation::Seal, None, &[]).await;
        }
        if !sealed.wiped {
            return Err(errors::precondition(
                "STILL_BORROWED",
                "this node is sealed and answers nothing any more, but a call still holds secrets; \
                 they are wiped when it ends: look at the node's log, and end its process if you \
                 suspect it",
            ));
        }
        Ok(Response::new(v1::SealNodeResponse {}))
    }

    async fn seal_status(
        &self,
        _: Request<v1::SealStatusRequest>,
    ) -> Result<Response<v1::SealStatusResponse>, Status> {
        Ok(Response::new(seal_status(&self.core)))
    }
}
