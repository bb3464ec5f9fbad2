//! What passes without a MAC.
//!
//! | batch | allowed |
//! |---|---|
//! | ceremony records | transactions without writes, whose records are leaves of kind ceremony without a body |
//! | formation (`init`) | one transaction that writes cluster, seal configuration and keyring, guards the absence of the unseal mark, and where the cluster was formed before comes under the same init token |
//!
//! The first unseal's mark is not here: whoever sets it is unsealed, and proves
//! it by a MAC to the first unsealed leader there is.

use prost::Message;
use strongroom_audit::{Kind, Leaf};
use strongroom_format::store::{self, PlainName, guard::Expect, write::Target};
use strongroom_state::{TablesError, TablesReader};

/// Why a batch without a MAC is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("it can't be decoded")]
    Malformed,
    #[error("a record is not of a ceremony, or has a body")]
    Record,
    #[error("it writes, and is no formation")]
    Writes,
    #[error("it forms the cluster without guarding the absence of the unseal mark")]
    NoMarkGuard,
    #[error("the cluster was unsealed before")]
    Unsealed,
    #[error("the cluster was formed under another init token")]
    OtherInitToken,
    #[error(transparent)]
    Tables(#[from] TablesError),
}

/// A batch that may be proposed without a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Records of ceremony steps.
    Records,
    /// The forming of the cluster: with it begins another keyring.
    Formation,
}

/// Checks that `batch` may be proposed without a MAC on `state`.
pub(super) fn check(batch: &[u8], state: &impl TablesReader) -> Result<Form, Problem> {
    let batch = store::Batch::decode(batch).map_err(|_| Problem::Malformed)?;
    let mut form = Form::Records;
    for transaction in &batch.transactions {
        let records_only = transaction.writes.is_empty();
        for record in &transaction.records {
            let leaf = Leaf::decode(&record.leaf).map_err(|_| Problem::Record)?;
            if leaf.kind != Kind::Ceremony || !record.body.is_empty() {
                return Err(Problem::Record);
            }
        }
        if !records_only {
            check_formation(&batch, transaction, state)?;
            form = Form::Formation;
        }
    }
    Ok(form)
}

fn check_formation(
    batch: &store::Batch,
    transaction: &store::Transaction,
    state: &impl TablesReader,
) -> Result<(), Problem> {
    if batch.transactions.len() != 1 {
        return Err(Problem::Writes);
    }
    let plain: Vec<&store::PlainWrite> = transaction
        .writes
        .iter()
        .filter_map(|write| match &write.target {
            Some(Target::Plain(plain)) => Some(plain),
            _ => None,
        })
        .collect();
    let mut names: Vec<PlainName> = plain.iter().map(|write| write.name()).collect();
    names.sort_unstable();
    if names != [PlainName::Cluster, PlainName::SealConfig, PlainName::Keyring] {
        return Err(Problem::Writes);
    }
    let mark = i32::from(PlainName::UnsealMark);
    let guarded = transaction.reads.iter().any(|place| {
        let guard = usize::try_from(*place).ok().and_then(|place| batch.guards.get(place));
        matches!(
            guard.and_then(|guard| guard.expect.as_ref()),
            Some(Expect::Plain(plain)) if plain.name == mark && plain.revision == 0
        )
    });
    if !guarded {
        return Err(Problem::NoMarkGuard);
    }
    if strongroom_state::plain(state, PlainName::UnsealMark)?.is_some() {
        return Err(Problem::Unsealed);
    }
    if let Some(present) = strongroom_state::plain(state, PlainName::SealConfig)? {
        let digest = |bytes: &[u8]| {
            store::SealConfigRecord::decode(bytes).ok().map(|config| config.init_token_digest)
        };
        let written = plain.iter().find(|write| write.name() == PlainName::SealConfig);
        let same = digest(&present.value).is_some()
            && written.and_then(|write| digest(&write.value)) == digest(&present.value);
        if !same {
            return Err(Problem::OtherInitToken);
        }
    }
    Ok(())
}
