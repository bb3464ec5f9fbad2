//! Events: from what was decided to the leaf and the body of its audit record,
//! and back for those who read the audit log.
//!
//! What is private (names, addresses, encryption contexts, request ids) goes
//! into the body, which is sealed and may be pruned; the leaf carries a salted
//! commitment to each.

use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};
use strongroom_audit::{
    Commitments, Detail, FURTHER_KEYS_MAX, Fact, Kind, Leaf, LeafOutcome, Operation, Reason,
};
use strongroom_base::{AttemptId, KeyId, KeyVersion, NodeId, RequestId, UnixMillis, limits};
use strongroom_crypto::{Context, SEALED_OVERHEAD_BYTES, commit};
use strongroom_format::store;

use crate::{access::Authenticated, errors::Refusal, read::Found, rows::Principal};

/// One attempt, as far as the node knows it before anything is decided.
#[derive(Clone)]
pub struct Circumstances {
    /// This attempt.
    pub attempt: AttemptId,
    /// The request; its attempts share it.
    pub request: RequestId,
    /// Caller's address as text; empty for the cluster's own acts.
    pub source_address: String,
    /// Name in the caller's certificate; empty: it presented none.
    pub certificate_name: String,
    /// Recording node.
    pub node: NodeId,
    /// Starts of that node so far.
    pub boot_count: u64,
    /// The recording node's clock.
    pub node_time: UnixMillis,
}

/// What a decision says of itself for the record.
#[derive(Clone)]
pub struct EventDraft {
    kind: Kind,
    operation: Operation,
    outcome: LeafOutcome,
    principal: Option<Found<Principal>>,
    key: Option<KeyId>,
    version: Option<KeyVersion>,
    context: Option<Arc<Context>>,
    item_count: u32,
    items: Vec<ItemDraft>,
    facts: Vec<Fact>,
}

/// One item of a batch call, or one side of a `ReEncrypt`.
#[derive(Clone)]
pub struct ItemDraft {
    /// The key that the item names.
    pub key: Option<KeyId>,
    /// Version of its material, where it was used.
    pub version: Option<KeyVersion>,
    /// Why the item was refused.
    pub reason: Option<Reason>,
    /// Its encryption context.
    pub context: Arc<Context>,
}

impl ItemDraft {
    /// An item that nothing is known of but its request.
    pub(crate) fn of(key: Option<KeyId>, context: &Arc<Context>) -> Self {
        Self { key, version: None, reason: None, context: Arc::clone(context) }
    }
}

impl EventDraft {
    /// Something that a caller did, so far a success.
    pub(crate) fn by(caller: &Authenticated, operation: Operation) -> Self {
        Self {
            principal: Some(caller.principal.clone()),
            ..Self::new(kind_of(operation), operation)
        }
    }

    /// Something that the cluster did of itself.
    pub(crate) fn by_itself(operation: Operation) -> Self {
        Self::new(kind_of(operation), operation)
    }

    /// A step of the seal's ceremony.
    pub(crate) fn ceremony(operation: Operation) -> Self {
        Self::new(Kind::Ceremony, operation)
    }

    fn new(kind: Kind, operation: Operation) -> Self {
        Self {
            kind,
            operation,
            outcome: LeafOutcome::Success,
            principal: None,
            key: None,
            version: None,
            context: None,
            item_count: 0,
            items: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// About this key. A key id of zeros, which only a forged blob names, is
    /// none.
    pub(crate) fn key(self, key: Option<KeyId>) -> Self {
        Self { key: key.filter(|key| key.as_bytes() != &[0; 16]), ..self }
    }

    /// With this version of its material.
    pub(crate) fn version(self, version: KeyVersion) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Under this encryption context.
    pub(crate) fn context(self, context: &Arc<Context>) -> Self {
        Self { context: Some(Arc::clone(context)), ..self }
    }

    /// A batch call of so many items.
    pub(crate) fn count(self, item_count: u32) -> Self {
        Self { item_count, ..self }
    }

    /// The items, in their order.
    pub(crate) fn items(self, items: Vec<ItemDraft>) -> Self {
        Self { items, ..self }
    }

    /// With a public fact; a fact of the same name is replaced.
    pub(crate) fn fact(mut self, fact: Fact) -> Self {
        self.facts.retain(|known| known.name() != fact.name());
        self.facts.push(fact);
        self
    }

    /// Refused; for want of rights it is a denial.
    pub(crate) fn refused(self, refusal: &Refusal) -> Self {
        let denied = matches!(refusal, Refusal::AccessDenied { .. });
        let kind = if denied { Kind::Denial } else { self.kind };
        Self { kind, ..self.refused_for(refusal.reason()) }
    }

    /// Refused for this reason.
    pub(crate) fn refused_for(self, reason: Reason) -> Self {
        Self { outcome: LeafOutcome::Refused(reason), ..self }
    }

    /// What kind of event it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was attempted.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// How it was decided.
    #[must_use]
    pub fn outcome(&self) -> LeafOutcome {
        self.outcome
    }

    /// The keys of the items beside `key`, ascending, each once.
    fn further_keys(&self) -> Vec<KeyId> {
        let keys = self.items.iter().filter_map(|item| item.key);
        let mut keys: Vec<_> =
            keys.filter(|key| Some(*key) != self.key && key.as_bytes() != &[0; 16]).collect();
        keys.sort_unstable();
        keys.dedup();
        assert!(keys.len() <= FURTHER_KEYS_MAX, "requests bound their distinct keys");
        keys
    }
}

/// The kind of event that an operation makes.
fn kind_of(operation: Operation) -> Kind {
    use Operation as Op;
    match operation {
        Op::GenerateDataKey
        | Op::GenerateDataKeyWithoutPlaintext
        | Op::GenerateDataKeys
        | Op::Encrypt
        | Op::Decrypt
        | Op::DecryptBatch
        | Op::ReEncrypt
        | Op::GenerateRandom => Kind::Use,
        Op::Init | Op::SubmitShare | Op::Unseal | Op::Seal | Op::ResetUnseal => Kind::Ceremony,
        _ => Kind::Administration,
    }
}

/// An audit record before its body is sealed.
pub(crate) struct Record {
    /// Canonical bytes of the leaf.
    pub(crate) leaf: Vec<u8>,
    /// The body.
    pub(crate) body: store::AuditBody,
}

/// Digest of a leaf's canonical bytes: binds the sealed body to the leaf.
#[must_use]
pub fn leaf_digest(leaf: &[u8]) -> [u8; 32] {
    Sha256::digest(leaf).into()
}

/// Makes the record with its body.
pub(crate) fn record(draft: &EventDraft, at: &Circumstances, salt: [u8; 16]) -> Record {
    let name = draft.principal.as_ref().map_or("", |principal| principal.name.as_str());
    let mut body = store::AuditBody {
        salt: salt.to_vec(),
        principal_name: name.to_owned(),
        source_address: at.source_address.clone(),
        context: draft.context.as_deref().map(pairs).unwrap_or_default(),
        request_id: at.request.as_bytes().to_vec(),
        items: draft.items.iter().map(|item| item_of(item, &salt)).collect(),
        reason: draft.outcome.reason().map(|reason| reason.text().to_owned()).unwrap_or_default(),
        certificate_name: at.certificate_name.clone(),
    };
    if body.encoded_len() + SEALED_OVERHEAD_BYTES > limits::BODY_BYTES_MAX {
        // Many items with large contexts: the commitments of each stay.
        body.items.iter_mut().for_each(|item| item.context.clear());
    }
    let canonical = match draft.context.as_deref() {
        Some(context) => context.canonical_bytes(),
        None => Context::default().canonical_bytes(),
    };
    let commitments = Commitments {
        context: commit(&salt, &canonical),
        source_address: commit(&salt, at.source_address.as_bytes()),
        principal_name: commit(&salt, name.as_bytes()),
        request_id: commit(&salt, at.request.as_bytes()),
    };
    Record { leaf: leaf(draft, at, Some(commitments)), body }
}

/// Makes the canonical bytes of a record that has no body.
pub(crate) fn leaf_only(draft: &EventDraft, at: &Circumstances) -> Vec<u8> {
    leaf(draft, at, None)
}

fn leaf(draft: &EventDraft, at: &Circumstances, commitments: Option<Commitments>) -> Vec<u8> {
    let leaf = Leaf {
        kind: draft.kind,
        operation: draft.operation,
        outcome: draft.outcome,
        attempt: at.attempt,
        principal: draft.principal.as_ref().map(|principal| principal.id),
        key: draft.key,
        key_version: draft.version,
        node: at.node,
        boot_count: at.boot_count,
        node_time: at.node_time.min(UnixMillis::MAX),
        item_count: draft.item_count,
        further_keys: draft.further_keys(),
        commitments,
        detail: Detail::new(draft.facts.clone())
            .expect("each fact once, made with its kind of value, all names together fit"),
    };
    leaf.encode().expect("no id of zeros, keys ascending and bounded, the time clamped")
}

fn pairs(context: &Context) -> Vec<store::ContextPair> {
    let pairs = context.pairs().iter();
    pairs
        .map(|(key, value)| store::ContextPair { key: key.clone(), value: value.clone() })
        .collect()
}

fn item_of(item: &ItemDraft, salt: &[u8; 16]) -> store::AuditItem {
    store::AuditItem {
        key_id: item.key.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
        key_version: item.version.map_or(0, |version| version.0),
        reason: item.reason.map(|reason| reason.text().to_owned()).unwrap_or_default(),
        context: pairs(&item.context),
        context_commitment: commit(salt, &item.context.canonical_bytes()).to_vec(),
    }
}
