//! `init`: the forming of a cluster.
//!
//! May be repeated under the same init token until the first unseal, each time
//! with a new root key, new shares and a higher seal epoch: a reply that was
//! lost loses nothing. Whoever loses a race against another `init` gets a
//! refusal, and never sees shares.

use std::time::Instant;

use bytes::Bytes;
use strongroom_barrier::{self as barrier, InitRequest};
use strongroom_base::HistoryId;
use strongroom_crypto::{Nonces, ShareScheme};
use strongroom_format::store::PlainName;
use strongroom_model::{
    self as model, Cluster, Formation, InitTokenDigest, Leftover, PrincipalName, Region, RowId,
    RowTable, SealConfig, Version,
};
use strongroom_state::Verdict;
use strongroom_wire::v1;
use tonic::Status;
use zeroize::Zeroize;

use crate::{
    caller::Caller,
    clock,
    core::Core,
    entropy::{OsEntropy, random_id},
    errors, form,
    ledger::{self, Attempt, Resolution},
    record::{self, KeyringSealer},
    unseal,
};

/// Name of the first administrator where none is given.
const ADMINISTRATOR: &str = "root";
/// Rows of one table that an earlier, never unsealed `init` can have left.
const LEFTOVERS_MAX: usize = 64;

fn refused(refusal: model::Refusal) -> Status {
    errors::refused(&refusal)
}

/// Forms the cluster.
///
/// # Errors
///
/// A refusal, or why the cluster can't be formed now.
pub(crate) async fn init(
    core: &Core,
    caller: &Caller,
    mut request: v1::InitRequest,
) -> Result<v1::InitResponse, Status> {
    let token = InitTokenDigest::of(&request.init_token).map_err(refused)?;
    request.init_token.zeroize();
    let name = match request.administrator_name.as_str() {
        "" => ADMINISTRATOR,
        name => name,
    };
    let administrator = PrincipalName::new("administrator_name", name).map_err(refused)?;
    let scheme = ShareScheme::new(request.shares, request.threshold)
        .map_err(|error| errors::invalid_argument("threshold", &error.to_string()))?;
    let deadline = caller.deadline().0;
    form::form(core, request.allow_absent, deadline).await?;
    core.reads.wait(deadline).await.map_err(|_| errors::no_quorum())?;

    let (encoded, response) = make(core, caller, token, &administrator, scheme)?;
    propose(core, encoded, deadline).await?;
    tracing::info!(
        seal_epoch = response.seal_epoch,
        shares = scheme.shares(),
        threshold = scheme.threshold(),
        "the cluster is formed; every node is sealed"
    );
    Ok(response)
}

/// Makes root key, keyring, shares and the transaction that forms the cluster.
fn make(
    core: &Core,
    caller: &Caller,
    token: InitTokenDigest,
    administrator: &PrincipalName,
    scheme: ShareScheme,
) -> Result<(model::Encoded, v1::InitResponse), Status> {
    let applied = core.raft.applied();
    let Present { revisions, seal, leftovers } =
        core.state.read(|reader| present(reader)).map_err(|error| errors::internal(&error))?;
    let seal_epoch = model::admit_init(seal.as_ref(), &revisions, token).map_err(refused)?;

    let cluster = Cluster {
        id: core.config.cluster.id,
        history: HistoryId::from_random(random_id()),
        account: core.config.cluster.account.clone(),
        region: Region::new(core.config.cluster.region.clone())
            .map_err(|error| errors::internal(&error))?,
        version: Cluster::VERSION_KNOWN,
    };
    let (shares, threshold) = (scheme.shares(), scheme.threshold());
    let asked = InitRequest {
        cluster: cluster.id,
        seal_epoch,
        shares: shares.into(),
        threshold: threshold.into(),
    };
    let made = barrier::initialise(asked, &mut OsEntropy)
        .map_err(|error| errors::invalid_argument("threshold", &error.to_string()))?;
    let config = SealConfig {
        seal_epoch,
        shares,
        threshold,
        share_digests: made.config.share_digests().to_vec(),
        init_token: token,
    };
    let index = record::KeyringIndex(&made.keyring);
    let formation = Formation {
        applied,
        revisions,
        leftovers: &leftovers,
        cluster: &cluster,
        config: &config,
        index: &index,
        administrator,
        node_time: clock::wall_now(),
    };
    let wrap = |revision| made.wrap_keyring(revision, Nonces::draw(&mut OsEntropy));
    let (decision, secret) = model::form(&formation, wrap, &mut OsEntropy);
    let circumstances = record::circumstances(core, Some(caller));
    let mut sealer = KeyringSealer::new(&made.keyring, cluster.history);
    let encoded = model::encode_leaf_only(&decision, &circumstances, Some(&mut sealer))
        .map_err(|error| errors::internal(&error))?;
    let response = v1::InitResponse {
        shares: made.shares.iter().map(|share| share.expose_text().expose().to_owned()).collect(),
        administrator_token: secret.expose_text().expose().to_owned(),
        cluster_id: cluster.id.to_string(),
        seal_epoch: seal_epoch.0,
    };
    Ok((encoded, response))
}

/// What an earlier `init` left.
struct Present {
    revisions: model::PlainRevisions,
    seal: Option<SealConfig>,
    leftovers: Vec<Leftover>,
}

fn present(reader: &impl strongroom_state::TablesReader) -> Result<Present, unseal::RecordsError> {
    let seal = strongroom_state::plain(reader, PlainName::SealConfig)?;
    Ok(Present {
        revisions: unseal::revisions(reader)?,
        seal: seal.map(|record| SealConfig::decode(&record.value)).transpose()?,
        leftovers: leftovers(reader)?,
    })
}

/// Rows of an earlier `init` under the same token: sealed under a keyring that
/// nobody can open any more.
fn leftovers(
    reader: &impl strongroom_state::TablesReader,
) -> Result<Vec<Leftover>, strongroom_state::TablesError> {
    let mut left = Vec::new();
    for table in RowTable::ALL {
        for (id, row) in strongroom_state::rows_page(reader, table.number(), None, LEFTOVERS_MAX)? {
            let (Ok(id), Ok(tag)) =
                (RowId::from_slice(&id), strongroom_crypto::row_tag(&row.value))
            else {
                continue;
            };
            left.push(Leftover { table, id, version: Version { revision: row.revision, tag } });
        }
    }
    Ok(left)
}

async fn propose(core: &Core, encoded: model::Encoded, deadline: Instant) -> Result<(), Status> {
    let model::Encoded { transaction, guards } = encoded;
    let mut attempt = [Attempt { transaction, guards, deadline }];
    let sequence = core.sequences.next();
    let batch = ledger::encode_batch(core.node, core.boot, sequence, attempt.iter_mut());
    let wanted = || Instant::now() < deadline;
    match core.proposer.propose(sequence, Bytes::from(batch), None, wanted, |_| {}).await {
        Resolution::Applied(outcome) => match outcome.verdicts.first() {
            Some(Verdict::Admitted) => Ok(()),
            _ => Err(errors::already_exists(
                "ALREADY_INITIALISED",
                "another init was faster: nothing of this one holds, and no shares were shown",
            )),
        },
        Resolution::Refused => Err(errors::no_quorum()),
        Resolution::Abandoned => Err(errors::outcome_unknown()),
    }
}
