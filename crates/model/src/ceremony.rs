//! The seal's part of the replicated state: what `init` makes, the mark of the
//! first unseal, and the records of each step.
//!
//! A sealed node can seal nothing, so these records are leaves without bodies.

use sha2::{Digest, Sha256};
use strongroom_audit::{Fact, Operation, Reason};
use strongroom_base::{LogIndex, PrincipalId, Revision, SealEpoch, TokenId, UnixMillis};
use strongroom_crypto::{Entropy, TokenSecret};
use strongroom_format::{
    self as format,
    store::{self, PlainName},
};

use crate::{
    cluster::{Cluster, RecordError},
    decision::{Basis, Decision, NameIndex, Writing},
    errors::{Problem, Refusal},
    events::EventDraft,
    facts,
    fresh::fresh_id,
    principals::{PrincipalName, name_row, put_principal},
    read::{Opened, ReadError, ReadSet, Rows, Version},
    role::Role,
    rows::{RoleState, RoleTokens, Token},
    tables::{RowId, RowTable},
    tokens::put_token,
};

/// What unsealing needs apart from the shares (plain record `SEAL_CONFIG`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealConfig {
    /// Counts root keys: 1 after the first `init`.
    pub seal_epoch: SealEpoch,
    /// Shares made.
    pub shares: u8,
    /// Shares that unseal.
    pub threshold: u8,
    /// SHA-256 of each share, by index.
    pub share_digests: Vec<[u8; 32]>,
    /// Digest of the init token under which `init` may be repeated.
    pub init_token: InitTokenDigest,
}

/// SHA-256 of an init token, under a label of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitTokenDigest([u8; 32]);

impl InitTokenDigest {
    /// Of a token of 16 to 128 bytes, as the caller of `init` chose it.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`].
    pub fn of(token: &[u8]) -> Result<Self, Refusal> {
        const FIELD: &str = "init_token";
        match token.len() {
            0 => Err(Refusal::invalid(FIELD, Problem::Missing)),
            16..=128 => {
                let hash = Sha256::new().chain_update(b"strongroom init token\0");
                Ok(Self(hash.chain_update(token).finalize().into()))
            }
            _ => Err(Refusal::invalid(FIELD, Problem::Malformed("16 to 128 bytes long"))),
        }
    }
}

impl SealConfig {
    /// The bytes of the plain record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        format::encode(&store::SealConfigRecord {
            seal_epoch: self.seal_epoch.0,
            shares: self.shares.into(),
            threshold: self.threshold.into(),
            share_digests: self.share_digests.iter().map(|digest| digest.to_vec()).collect(),
            init_token_digest: self.init_token.0.to_vec(),
        })
    }

    /// Reads the plain record.
    ///
    /// # Errors
    ///
    /// [`RecordError`] where shares, threshold and digests don't fit together.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const RECORD: &str = "SealConfigRecord";
        let record: store::SealConfigRecord = format::decode(RECORD, bytes)?;
        let field = |field| RecordError::Field { record: RECORD, field };
        let shares = u8::try_from(record.shares).map_err(|_| field("shares"))?;
        let threshold = u8::try_from(record.threshold).map_err(|_| field("threshold"))?;
        if shares == 0 || threshold == 0 || threshold > shares {
            return Err(field("threshold"));
        }
        let digests = record.share_digests.into_iter().map(<[u8; 32]>::try_from);
        let share_digests: Vec<_> =
            digests.collect::<Result<_, _>>().map_err(|_| field("share_digests"))?;
        if share_digests.len() != usize::from(shares) {
            return Err(field("share_digests"));
        }
        if record.seal_epoch == 0 {
            return Err(field("seal_epoch"));
        }
        let token = record.init_token_digest.try_into().map_err(|_| field("init_token_digest"))?;
        let seal_epoch = SealEpoch(record.seal_epoch);
        let init_token = InitTokenDigest(token);
        Ok(Self { seal_epoch, shares, threshold, share_digests, init_token })
    }
}

/// The mark that the first completed unseal leaves (plain record `UNSEAL_MARK`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsealMark {
    /// Seal epoch that was unsealed.
    pub seal_epoch: SealEpoch,
}

impl UnsealMark {
    /// The bytes of the plain record.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        format::encode(&store::UnsealMarkRecord { seal_epoch: self.seal_epoch.0 })
    }

    /// Reads the plain record.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: store::UnsealMarkRecord = format::decode("UnsealMarkRecord", bytes)?;
        Ok(Self { seal_epoch: SealEpoch(record.seal_epoch) })
    }
}

/// Revisions of the plain records that a decision about the seal rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlainRevisions {
    /// Of the cluster's identity.
    pub cluster: Revision,
    /// Of the seal configuration.
    pub seal_config: Revision,
    /// Of the wrapped keyring.
    pub keyring: Revision,
    /// Of the unseal mark; absent until the first unseal.
    pub unseal_mark: Revision,
}

impl PlainRevisions {
    fn expect_all(&self) -> ReadSet {
        let mut reads = ReadSet::default();
        reads.expect_plain(PlainName::Cluster, self.cluster);
        reads.expect_plain(PlainName::SealConfig, self.seal_config);
        reads.expect_plain(PlainName::Keyring, self.keyring);
        reads.expect_plain(PlainName::UnsealMark, self.unseal_mark);
        reads
    }
}

/// Whether `init` may go on, and the seal epoch of the keys that it makes.
///
/// # Errors
///
/// [`Refusal::AlreadyInitialised`] once the cluster was unsealed, and
/// [`Refusal::InitTokenMismatch`] where it was initialised under another token.
pub fn admit_init(
    config: Option<&SealConfig>,
    revisions: &PlainRevisions,
    token: InitTokenDigest,
) -> Result<SealEpoch, Refusal> {
    if revisions.unseal_mark != Revision::ABSENT {
        return Err(Refusal::AlreadyInitialised);
    }
    match config {
        None => Ok(SealEpoch(1)),
        Some(config) if config.init_token == token => Ok(config.seal_epoch.next()),
        Some(_) => Err(Refusal::InitTokenMismatch),
    }
}

/// A row of an earlier `init`: sealed under keys that nobody has.
#[derive(Clone, Copy, Debug)]
pub struct Leftover {
    /// Its table.
    pub table: RowTable,
    /// Its id.
    pub id: RowId,
    /// Its version.
    pub version: Version,
}

/// What `init` commits.
pub struct Formation<'a> {
    /// Applied index, taken before the plain records were read.
    pub applied: LogIndex,
    /// The plain records that are there.
    pub revisions: PlainRevisions,
    /// Every row that is there.
    pub leftovers: &'a [Leftover],
    /// The cluster; its history id is new.
    pub cluster: &'a Cluster,
    /// The new seal configuration.
    pub config: &'a SealConfig,
    /// Row ids under the new index key.
    pub index: &'a dyn NameIndex,
    /// Name of the first administrator.
    pub administrator: &'a PrincipalName,
    /// The node's clock.
    pub node_time: UnixMillis,
}

/// Makes the cluster's first rows: the administrator, a token that never
/// expires, the roles. Guarded by the absence of the unseal mark and by every
/// record and row of an earlier `init`, all of which it replaces or deletes.
///
/// `wrap` gives the wrapped keyring for the revision that its record gets.
pub fn form(
    formation: &Formation<'_>,
    wrap: impl FnOnce(Revision) -> Vec<u8>,
    mut entropy: &mut dyn Entropy,
) -> (Decision, TokenSecret) {
    let basis = formation.basis();
    let secret = TokenSecret::generate(&mut entropy);
    let token_row = basis.index.token(&secret);
    let token = TokenId::from_random(fresh_id(entropy));
    let principal = PrincipalId::from_random(fresh_id(entropy));

    let mut reads = formation.revisions.expect_all();
    for left in formation.leftovers {
        reads.expect_sealed(left.table, left.id, left.version);
    }
    reads.expect_absent(RowTable::PrincipalNames, name_row(&basis, formation.administrator));
    reads.expect_absent(RowTable::Principals, RowId::principal(principal));
    reads.expect_absent(RowTable::PrincipalRoles, RowId::principal(principal));
    reads.expect_absent(RowTable::Tokens, token_row);
    reads.expect_absent(RowTable::TokenIds, RowId::token_id(token));
    for role in Role::ALL {
        reads.expect_absent(RowTable::Roles, RowId::role(role));
        reads.expect_absent(RowTable::RoleTokens, RowId::role(role));
    }

    let mut writing = Writing::new(reads, formation.applied, None);
    let issued = writing.revision();
    for role in Role::ALL {
        let state = RoleState { role, tokens_revoked_through: Revision::ABSENT };
        writing.put(RowId::role(role), state);
        writing.put(RowId::role(role), RoleTokens::default().touched());
    }
    let role = Role::Administrator;
    put_principal(&mut writing, &basis, principal, formation.administrator, role);
    let created = formation.node_time;
    let row =
        Token { id: token, principal, role, created, expires: None, created_by: None, issued };
    put_token(&mut writing, token_row, row);
    for left in formation.leftovers {
        if !writing.writes_row(left.table, &left.id) {
            writing.delete(left.table, left.id);
        }
    }
    writing.put_plain(PlainName::Cluster, formation.cluster.encode());
    writing.put_plain(PlainName::SealConfig, formation.config.encode());
    writing.put_plain(PlainName::Keyring, wrap(issued));
    (writing.finish(formation.event(principal, token)), secret)
}

impl<'a> Formation<'a> {
    fn basis(&self) -> Basis<'a> {
        Basis {
            rows: &NoRows,
            index: self.index,
            cluster: self.cluster,
            keyring: self.revisions.keyring,
            applied: self.applied,
            cluster_time: UnixMillis::default(),
            node_time: self.node_time,
        }
    }

    fn event(&self, principal: PrincipalId, token: TokenId) -> EventDraft {
        EventDraft::ceremony(Operation::Init)
            .fact(facts::seal_epoch(self.config.seal_epoch))
            .fact(facts::shares(self.config.shares))
            .fact(facts::threshold(self.config.threshold))
            .fact(facts::principal(principal))
            .fact(facts::token(token))
    }
}

/// The rows of a cluster that has none that can be opened.
struct NoRows;

impl Rows for NoRows {
    fn read(&self, _: RowTable, _: &RowId) -> Result<Option<std::sync::Arc<Opened>>, ReadError> {
        Ok(None)
    }
}

/// A node's unseal is complete: leaves the mark where there is none. Guarded by
/// the keyring and the seal configuration that were unsealed, so that a
/// repeated `init` and the first unseal never both succeed.
#[must_use]
pub fn complete_unseal(
    applied: LogIndex,
    revisions: &PlainRevisions,
    config: &SealConfig,
) -> Decision {
    let mut writing = Writing::new(revisions.expect_all(), applied, None);
    if revisions.unseal_mark == Revision::ABSENT {
        let mark = UnsealMark { seal_epoch: config.seal_epoch };
        writing.put_plain(PlainName::UnsealMark, mark.encode());
    }
    let event = EventDraft::ceremony(Operation::Unseal)
        .fact(facts::seal_epoch(config.seal_epoch))
        .fact(facts::threshold(config.threshold));
    writing.finish(event)
}

/// Records a step of the ceremony that changes nothing in the replicated
/// state: a share given or refused, progress forgotten, a node sealed by an
/// operator. Relies on nothing.
#[must_use]
pub fn record_step(
    applied: LogIndex,
    operation: Operation,
    refused: Option<Reason>,
    facts: &[Fact],
) -> Decision {
    let event = facts.iter().fold(EventDraft::ceremony(operation), |event, fact| event.fact(*fact));
    let event = match refused {
        Some(reason) => event.refused_for(reason),
        None => event,
    };
    Writing::new(ReadSet::default(), applied, None).finish(event)
}
