//! A cluster without nodes: the replicated state in an ordered map, the keys
//! under which rows are sealed, and a caller's way through them.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use prost::Message;
use strongroom_audit::Operation;
use strongroom_base::{
    AttemptId, AuditSequence, BarrierEpoch, ClusterId, HistoryId, KeyId, LogIndex, NodeId,
    RequestId, Revision, SealEpoch, UnixMillis,
};
use strongroom_crypto::{
    AuditKey, BarrierKey, Context, Entropy, IndexKey, Nonces, RowAddress, TokenSecret, open_body,
    open_row, row_tag, seal_body, seal_row,
};
use strongroom_format::store::{self, PlainName};
use strongroom_model::{
    Authenticated, Basis, Circumstances, Cluster, CreateKey, CreateToken, Decided, Decision,
    EventView, Formation, InitTokenDigest, KeyReference, Leftover, NameIndex, Opened,
    PlainRevisions, PrincipalName, ReadError, Refusal, Region, Rejection, Role, RowId, RowTable,
    Rows, SealConfig, Sealer, TypedRow, Version, authenticate, complete_unseal, create_key,
    create_token, encode_leaf_only, encode_transaction, form, leaf_digest,
};
use strongroom_state::{
    MapTables, Order, Outcome, Verdict, apply, audit_size, body, cluster_time, leaf, leaves_by_key,
    plain, row, rows_page,
};

/// Entropy that counts: every draw differs from all others.
#[derive(Clone, Default)]
pub(crate) struct Counter(Rc<RefCell<u64>>);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut count = self.0.borrow_mut();
            *count += 1;
            let mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (*count << 7);
            chunk.copy_from_slice(&mixed.to_be_bytes()[..chunk.len()]);
        }
    }
}

/// Keys of the barrier.
pub(crate) struct Keyring {
    barrier: BarrierKey,
    audit: AuditKey,
    index: IndexKey,
}

impl Keyring {
    fn generate(entropy: &mut Counter) -> Rc<Self> {
        Rc::new(Self {
            barrier: BarrierKey::generate(entropy),
            audit: AuditKey::generate(entropy),
            index: IndexKey::generate(entropy),
        })
    }
}

/// The applied state as one node has it, perhaps lagging: a clone stays as it
/// was.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) tables: MapTables,
    pub(crate) applied: LogIndex,
    pub(crate) cluster: Cluster,
    pub(crate) node_time: UnixMillis,
    pub(crate) keyring: Rc<Keyring>,
    pub(crate) entropy: Counter,
}

impl Rows for View {
    fn read(&self, table: RowTable, id: &RowId) -> Result<Option<Arc<Opened>>, ReadError> {
        let stored = row(&self.tables, table.number(), id.as_bytes()).unwrap();
        Ok(stored.map(|stored| {
            let address = RowAddress {
                history: self.cluster.history,
                table: table.number(),
                row_id: id.as_bytes(),
            };
            let plaintext =
                open_row(&self.keyring.barrier, &address, stored.revision, &stored.value);
            let plaintext = plaintext.expect("a row opens where it stands");
            Arc::new(Opened {
                revision: stored.revision,
                tag: row_tag(&stored.value).unwrap(),
                row: TypedRow::decode(table, plaintext.expose()).unwrap(),
            })
        }))
    }
}

impl View {
    pub(crate) fn basis(&self) -> Basis<'_> {
        Basis {
            rows: self,
            index: &self.keyring.index as &dyn NameIndex,
            cluster: &self.cluster,
            keyring: self.revision(PlainName::Keyring),
            applied: self.applied,
            cluster_time: cluster_time(&self.tables).unwrap(),
            node_time: self.node_time,
        }
    }

    pub(crate) fn revision(&self, name: PlainName) -> Revision {
        plain(&self.tables, name).unwrap().map_or(Revision::ABSENT, |stored| stored.revision)
    }

    pub(crate) fn plain_revisions(&self) -> PlainRevisions {
        PlainRevisions {
            cluster: self.revision(PlainName::Cluster),
            seal_config: self.revision(PlainName::SealConfig),
            keyring: self.revision(PlainName::Keyring),
            unseal_mark: self.revision(PlainName::UnsealMark),
        }
    }

    pub(crate) fn try_login(&self, token: &TokenSecret) -> Result<Authenticated, Rejection> {
        authenticate(&self.basis(), self.keyring.index.token(token)).unwrap()
    }

    pub(crate) fn login(&self, token: &TokenSecret) -> Authenticated {
        self.try_login(token).expect("the token is valid")
    }

    /// Every row that there is.
    pub(crate) fn all_rows(&self) -> Vec<Leftover> {
        let rows = RowTable::ALL.into_iter().flat_map(|table| {
            let page = rows_page(&self.tables, table.number(), None, 10_000).unwrap();
            page.into_iter().map(move |(id, stored)| Leftover {
                table,
                id: RowId::from_slice(&id).unwrap(),
                version: Version {
                    revision: stored.revision,
                    tag: row_tag(&stored.value).unwrap(),
                },
            })
        });
        rows.collect()
    }
}

impl Sealer for View {
    fn seal_row(
        &mut self,
        table: RowTable,
        id: &RowId,
        revision: Revision,
        plaintext: &[u8],
    ) -> Vec<u8> {
        let address = RowAddress {
            history: self.cluster.history,
            table: table.number(),
            row_id: id.as_bytes(),
        };
        let nonces = Nonces::draw(&mut self.entropy);
        seal_row(&self.keyring.barrier, BarrierEpoch(1), nonces, &address, revision, plaintext)
    }

    fn seal_body(&mut self, leaf_digest: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
        let nonces = Nonces::draw(&mut self.entropy);
        let history = self.cluster.history;
        seal_body(&self.keyring.audit, BarrierEpoch(1), nonces, history, leaf_digest, plaintext)
    }
}

/// The cluster.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: View,
    sequence: u64,
    pub(crate) stamp: u64,
}

/// Circumstances of every attempt in these tests.
pub(crate) fn circumstances() -> Circumstances {
    Circumstances {
        attempt: AttemptId::from_bytes([0xa1; 16]),
        request: RequestId::from_bytes([0xb2; 16]),
        source_address: "192.0.2.7:4711".into(),
        certificate_name: "billing".into(),
        node: NodeId::new(1).unwrap(),
        boot_count: 1,
        node_time: UnixMillis(1_000),
    }
}

pub(crate) fn init_token() -> InitTokenDigest {
    InitTokenDigest::of(&[7; 32]).unwrap()
}

pub(crate) fn seal_config(seal_epoch: u64) -> SealConfig {
    SealConfig {
        seal_epoch: SealEpoch(seal_epoch),
        shares: 2,
        threshold: 2,
        share_digests: vec![[1; 32], [2; 32]],
        init_token: init_token(),
    }
}

impl World {
    /// A cluster that nobody has initialised.
    pub(crate) fn empty() -> Self {
        let mut entropy = Counter::default();
        let now = View {
            tables: MapTables::new(),
            applied: LogIndex(1),
            cluster: Cluster {
                id: ClusterId::from_bytes([0xc1; 16]),
                history: HistoryId::from_bytes([0xd1; 16]),
                account: "000000000000".parse().unwrap(),
                region: Region::new("local").unwrap(),
                version: 1,
            },
            node_time: UnixMillis(1_000),
            keyring: Keyring::generate(&mut entropy),
            entropy,
        };
        Self { now, sequence: 0, stamp: 1_000 }
    }

    /// A cluster that is initialised and unsealed, and its first
    /// administrator's token.
    pub(crate) fn new() -> (Self, TokenSecret) {
        let mut world = Self::empty();
        let (verdict, token) = world.init(1);
        assert_eq!(verdict, Verdict::Admitted);
        let mark =
            complete_unseal(world.now.applied, &world.now.plain_revisions(), &seal_config(1));
        assert_eq!(world.propose_leaf_only(&mark), Verdict::Admitted);
        (world, token)
    }

    /// Decides on an `init` with new keys; the view that it gives takes effect
    /// once the decision is admitted.
    pub(crate) fn decide_init(&self, seal_epoch: u64) -> (View, Decision, TokenSecret) {
        let mut view = self.now.clone();
        view.keyring = Keyring::generate(&mut view.entropy);
        view.cluster.history = HistoryId::from_random(view.entropy.draw());
        let leftovers = self.now.all_rows();
        let administrator = PrincipalName::new("administrator_name", "root").unwrap();
        let config = seal_config(seal_epoch);
        let formation = Formation {
            applied: self.now.applied,
            revisions: self.now.plain_revisions(),
            leftovers: &leftovers,
            cluster: &view.cluster,
            config: &config,
            index: &view.keyring.index,
            administrator: &administrator,
            node_time: view.node_time,
        };
        let wrap = |revision: Revision| revision.0.to_be_bytes().to_vec();
        let (decision, token) = form(&formation, wrap, &mut view.entropy.clone());
        (view, decision, token)
    }

    pub(crate) fn init(&mut self, seal_epoch: u64) -> (Verdict, TokenSecret) {
        let (mut view, decision, token) = self.decide_init(seal_epoch);
        let encoded =
            encode_leaf_only(&decision, &circumstances(), Some(&mut view as &mut dyn Sealer));
        let verdict = self.propose_encoded(vec![encoded.unwrap()])[0];
        if verdict == Verdict::Admitted {
            self.now.keyring = view.keyring;
            self.now.cluster = view.cluster;
        }
        (verdict, token)
    }

    /// Applies decisions as one batch.
    pub(crate) fn propose_all(&mut self, decisions: &[&Decision]) -> Vec<Verdict> {
        let encoded = decisions.iter().map(|decision| {
            let salt = self.now.entropy.draw();
            encode_transaction(decision, &circumstances(), salt, &mut self.now).unwrap()
        });
        let encoded = encoded.collect();
        self.propose_encoded(encoded)
    }

    pub(crate) fn propose(&mut self, decision: &Decision) -> Verdict {
        self.propose_all(&[decision])[0]
    }

    pub(crate) fn propose_leaf_only(&mut self, decision: &Decision) -> Verdict {
        let encoded = encode_leaf_only(decision, &circumstances(), None).unwrap();
        self.propose_encoded(vec![encoded])[0]
    }

    /// As a node's ledger does: the union of the read sets once.
    pub(crate) fn propose_encoded(
        &mut self,
        encoded: Vec<strongroom_model::Encoded>,
    ) -> Vec<Verdict> {
        let mut guards: Vec<store::Guard> = Vec::new();
        let mut transactions = Vec::new();
        for attempt in encoded {
            let mut transaction = attempt.transaction;
            transaction.reads = attempt
                .guards
                .into_iter()
                .map(|guard| {
                    let known = guards.iter().position(|known| *known == guard);
                    let place = known.unwrap_or_else(|| {
                        guards.push(guard);
                        guards.len() - 1
                    });
                    u32::try_from(place).unwrap()
                })
                .collect();
            transaction.reads.sort_unstable();
            transactions.push(transaction);
        }
        self.sequence += 1;
        let batch = store::Batch {
            node_id: 1,
            boot_count: 1,
            boot_nonce: 1,
            sequence: self.sequence,
            guards,
            transactions,
        };
        self.stamp += 1;
        let command = store::Command {
            format: 1,
            stamp_ms: self.stamp,
            body: Some(store::command::Body::Batch(batch.encode_to_vec())),
            mac: vec![1; 32],
        };
        let index = LogIndex(self.now.applied.0 + 1);
        let applied = apply(&mut self.now.tables, index, &command.encode_to_vec()).unwrap();
        self.now.applied = index;
        match applied.outcome {
            Outcome::Batch(outcome) => outcome.verdicts,
            other => panic!("the batch was refused: {other:?}"),
        }
    }

    /// Proposes what must be admitted, and gives its result.
    pub(crate) fn commit<R>(
        &mut self,
        decided: Result<Decided<R>, ReadError>,
    ) -> Result<R, Refusal> {
        let decided = decided.unwrap();
        assert_eq!(self.propose(&decided.decision), Verdict::Admitted);
        decided.result
    }

    /// A token of a principal, new or not.
    pub(crate) fn token(
        &mut self,
        by: &TokenSecret,
        name: &str,
        role: Role,
        ttl: u64,
    ) -> TokenSecret {
        let request = CreateToken::new(name, role.number(), ttl).unwrap();
        let caller = self.now.login(by);
        let mut entropy = self.now.entropy.clone();
        let decided = create_token(&self.now.basis(), &caller, &request, &mut entropy);
        self.commit(decided).map(|created| created.token).unwrap_or_else(|refusal| {
            panic!("{refusal}");
        })
    }

    /// A new key.
    pub(crate) fn key(&mut self, by: &TokenSecret) -> KeyId {
        let request = CreateKey::new(String::new(), 0, 0, String::new()).unwrap();
        let caller = self.now.login(by);
        let mut entropy = self.now.entropy.clone();
        let decided = create_key(&self.now.basis(), &caller, &request, &mut entropy);
        self.commit(decided).map(|view| view.id).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// The newest event, with its body opened.
    pub(crate) fn newest_event(&self) -> EventView {
        let newest = AuditSequence(audit_size(&self.now.tables).unwrap() - 1);
        let stored = leaf(&self.now.tables, newest).unwrap().unwrap();
        let sealed = body(&self.now.tables, newest).unwrap();
        let opened = sealed.map(|sealed| {
            let digest = leaf_digest(&stored.leaf);
            let history = self.now.cluster.history;
            open_body(&self.now.keyring.audit, history, &digest, &sealed).unwrap()
        });
        EventView::new(&stored.leaf, opened.as_ref().map(|body| body.expose())).unwrap()
    }

    /// Sequence numbers of the events that a look-up by key finds.
    pub(crate) fn events_of(&self, key: KeyId) -> Vec<u64> {
        let all = AuditSequence(0)..AuditSequence(self.events());
        let found = leaves_by_key(&self.now.tables, &key, all, Order::Ascending, 10_000).unwrap();
        found.into_iter().map(|sequence| sequence.0).collect()
    }

    pub(crate) fn events(&self) -> u64 {
        audit_size(&self.now.tables).unwrap()
    }
}

pub(crate) fn key_ref(id: KeyId) -> KeyReference {
    KeyReference::Id(id)
}

pub(crate) fn context(pairs: &[(&str, &str)]) -> Arc<Context> {
    let owned = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Arc::new(Context::new(owned).unwrap())
}

/// Every operation that a role may be asked about.
pub(crate) fn operations() -> impl Iterator<Item = Operation> {
    Operation::ALL.iter().copied()
}
