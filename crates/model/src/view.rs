//! Reading the audit log: a leaf and its body as one event.

use strongroom_audit::{
    Commitments, Fact, FactName, Kind, Leaf, LeafError, LeafOutcome, Operation,
};
use strongroom_base::{AttemptId, KeyId, KeyVersion, NodeId, PrincipalId, RequestId, UnixMillis};
use strongroom_crypto::{Context, commit};
use strongroom_format::{self as format, store};

use crate::role::Role;

/// An event as its readers see it. No `Debug`: it holds what the body holds.
#[derive(Clone)]
pub struct EventView {
    /// What kind of event it is.
    pub kind: Kind,
    /// What was attempted.
    pub operation: Operation,
    /// How it ended, and why.
    pub outcome: LeafOutcome,
    /// The attempt.
    pub attempt: AttemptId,
    /// Who attempted it.
    pub principal: Option<PrincipalId>,
    /// The key.
    pub key: Option<KeyId>,
    /// Version of its material.
    pub key_version: Option<KeyVersion>,
    /// Recording node.
    pub node: NodeId,
    /// Its clock.
    pub node_time: UnixMillis,
    /// Items of a batch call; 0: no batch call.
    pub item_count: u32,
    /// Public facts: name and value.
    pub detail: Vec<(&'static str, String)>,
    /// The private part; `None`: there is none, it was pruned, can't be opened,
    /// or is not the one that the leaf commits to.
    pub private: Option<PrivateView>,
    /// Whether all that was ever recorded is here. A leaf without commitments
    /// never had a body.
    pub complete: bool,
}

/// The private part of an event.
#[derive(Clone)]
pub struct PrivateView {
    /// The request; its attempts share it.
    pub request: RequestId,
    /// The principal's name at the time.
    pub principal_name: String,
    /// Caller's address.
    pub source_address: String,
    /// Name in the caller's certificate.
    pub certificate_name: String,
    /// Encryption context, sorted by key.
    pub context: Vec<(String, String)>,
    /// Items of a batch call.
    pub items: Vec<ItemView>,
}

/// One item of a batch call.
#[derive(Clone)]
pub struct ItemView {
    /// The key that it named.
    pub key: Option<KeyId>,
    /// Version of its material; 0: none was used.
    pub key_version: u32,
    /// Reason of its refusal; empty on success.
    pub reason: String,
    /// Its encryption context, where it was kept.
    pub context: Vec<(String, String)>,
}

impl EventView {
    /// Reads a leaf, and its body's plaintext where it could be opened.
    ///
    /// # Errors
    ///
    /// [`LeafError`] where this program can't read the leaf.
    pub fn new(leaf: &[u8], body: Option<&[u8]>) -> Result<Self, LeafError> {
        let leaf = Leaf::decode(leaf)?;
        let private = match (&leaf.commitments, body) {
            (Some(commitments), Some(body)) => PrivateView::read(body, commitments),
            _ => None,
        };
        Ok(Self {
            kind: leaf.kind,
            operation: leaf.operation,
            outcome: leaf.outcome,
            attempt: leaf.attempt,
            principal: leaf.principal,
            key: leaf.key,
            key_version: leaf.key_version,
            node: leaf.node,
            node_time: leaf.node_time,
            item_count: leaf.item_count,
            detail: leaf.detail.facts().iter().map(shown).collect(),
            complete: leaf.commitments.is_none() || private.is_some(),
            private,
        })
    }
}

/// A fact as readers see it.
fn shown(fact: &Fact) -> (&'static str, String) {
    let text = match fact {
        Fact::Number(FactName::Role, number) => u32::try_from(*number)
            .ok()
            .and_then(Role::from_number)
            .map_or_else(|| number.to_string(), |role| role.name().to_owned()),
        fact => fact.to_string(),
    };
    (fact.name().name(), text)
}

impl PrivateView {
    /// Reads a body and checks it against what its leaf commits to.
    fn read(body: &[u8], commitments: &Commitments) -> Option<Self> {
        let body: store::AuditBody = format::decode("AuditBody", body).ok()?;
        let salt: [u8; 16] = body.salt.as_slice().try_into().ok()?;
        let context = Context::new(body.context.into_iter().map(pair)).ok()?;
        let told = Commitments {
            context: commit(&salt, &context.canonical_bytes()),
            source_address: commit(&salt, body.source_address.as_bytes()),
            principal_name: commit(&salt, body.principal_name.as_bytes()),
            request_id: commit(&salt, &body.request_id),
        };
        let view = Self {
            request: RequestId::from_slice(&body.request_id).ok()?,
            principal_name: body.principal_name,
            source_address: body.source_address,
            certificate_name: body.certificate_name,
            context: context.pairs().to_vec(),
            items: body.items.into_iter().map(ItemView::new).collect(),
        };
        (told == *commitments).then_some(view)
    }
}

impl ItemView {
    fn new(item: store::AuditItem) -> Self {
        Self {
            key: KeyId::from_slice(&item.key_id).ok(),
            key_version: item.key_version,
            reason: item.reason,
            context: item.context.into_iter().map(pair).collect(),
        }
    }
}

fn pair(pair: store::ContextPair) -> (String, String) {
    (pair.key, pair.value)
}
