//! JSON forms of messages: fields named as in the protocol, enums as their
//! names are written, bytes in base64, times in Unix milliseconds.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Serialize, Serializer};
use strongroom_client::proto;
use zeroize::Zeroizing;

use crate::names;

/// Bytes as base64; the text is wiped.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64.encode(self.0)))
    }
}

#[derive(Serialize)]
pub(crate) struct KeyMetadata<'a> {
    key_id: &'a str,
    arn: &'a str,
    account_id: &'a str,
    created_ms: u64,
    key_state: &'static str,
    key_spec: &'static str,
    key_usage: &'static str,
    description: &'a str,
    origin: &'a str,
    current_version: u32,
    current_key_material_id: &'a str,
    enabled: bool,
}

impl<'a> From<&'a proto::KeyMetadata> for KeyMetadata<'a> {
    fn from(key: &'a proto::KeyMetadata) -> Self {
        Self {
            key_id: &key.key_id,
            arn: &key.arn,
            account_id: &key.account_id,
            created_ms: key.created_ms,
            key_state: names::key_state(key.key_state),
            key_spec: names::key_spec(key.key_spec),
            key_usage: names::key_usage(key.key_usage),
            description: &key.description,
            origin: &key.origin,
            current_version: key.current_version,
            current_key_material_id: &key.current_key_material_id,
            enabled: key.enabled,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct TokenMetadata<'a> {
    token_id: &'a str,
    principal_id: &'a str,
    principal_name: &'a str,
    role: &'static str,
    created_ms: u64,
    expires_ms: u64,
    valid: bool,
}

impl<'a> From<&'a proto::TokenMetadata> for TokenMetadata<'a> {
    fn from(token: &'a proto::TokenMetadata) -> Self {
        Self {
            token_id: &token.token_id,
            principal_id: &token.principal_id,
            principal_name: &token.principal_name,
            role: names::role(token.role),
            created_ms: token.created_ms,
            expires_ms: token.expires_ms,
            valid: token.valid,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct SealStatus<'a> {
    state: &'static str,
    shares: u32,
    threshold: u32,
    progress: u32,
    seal_epoch: u64,
    cluster_id: &'a str,
    node_id: u64,
    node_name: &'a str,
    version: &'a str,
}

impl<'a> From<&'a proto::SealStatusResponse> for SealStatus<'a> {
    fn from(status: &'a proto::SealStatusResponse) -> Self {
        Self {
            state: names::node_state(status.state),
            shares: status.shares,
            threshold: status.threshold,
            progress: status.progress,
            seal_epoch: status.seal_epoch,
            cluster_id: &status.cluster_id,
            node_id: status.node_id,
            node_name: &status.node_name,
            version: &status.version,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct NodeStatus<'a> {
    seal: Option<SealStatus<'a>>,
    role: &'a str,
    term: u64,
    leader_id: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    state_hash: &'a str,
    state_hash_index: u64,
    audit_size: u64,
    audit_root: &'a str,
    cluster_time_ms: u64,
    disk_free_bytes: u64,
    uptime_seconds: u64,
}

impl<'a> From<&'a proto::NodeStatusResponse> for NodeStatus<'a> {
    fn from(status: &'a proto::NodeStatusResponse) -> Self {
        Self {
            seal: status.seal.as_ref().map(SealStatus::from),
            role: &status.role,
            term: status.term,
            leader_id: status.leader_id,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            state_hash: &status.state_hash,
            state_hash_index: status.state_hash_index,
            audit_size: status.audit_size,
            audit_root: &status.audit_root,
            cluster_time_ms: status.cluster_time_ms,
            disk_free_bytes: status.disk_free_bytes,
            uptime_seconds: status.uptime_seconds,
        }
    }
}

/// Why one node of several didn't do what was asked.
#[derive(Serialize)]
pub(crate) struct CallError<'a> {
    reason: &'a str,
    message: &'a str,
}

impl<'a> From<&'a strongroom_client::Error> for CallError<'a> {
    fn from(error: &'a strongroom_client::Error) -> Self {
        Self { reason: error.reason(), message: error.message() }
    }
}

#[derive(Serialize)]
pub(crate) struct Member<'a> {
    node_id: u64,
    name: &'a str,
    peer_address: &'a str,
    voter: bool,
    leader: bool,
    state: &'static str,
    applied_index: u64,
    heard_ms_ago: u64,
    clock_offset_ms: i64,
}

impl<'a> From<&'a proto::Member> for Member<'a> {
    fn from(member: &'a proto::Member) -> Self {
        Self {
            node_id: member.node_id,
            name: &member.name,
            peer_address: &member.peer_address,
            voter: member.voter,
            leader: member.leader,
            state: names::node_state(member.state),
            applied_index: member.applied_index,
            heard_ms_ago: member.heard_ms_ago,
            clock_offset_ms: member.clock_offset_ms,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Event<'a> {
    sequence: u64,
    committed_ms: u64,
    node_ms: u64,
    kind: &'a str,
    operation: &'a str,
    outcome: &'a str,
    reason: &'a str,
    attempt_id: &'a str,
    request_id: &'a str,
    principal_id: &'a str,
    principal_name: &'a str,
    key_id: &'a str,
    key_version: u32,
    encryption_context: &'a BTreeMap<String, String>,
    source_address: &'a str,
    node_id: u64,
    item_count: u32,
    items: Vec<EventItem<'a>>,
    detail: &'a BTreeMap<String, String>,
    leaf_hash: &'a str,
    complete: bool,
}

#[derive(Serialize)]
struct EventItem<'a> {
    key_id: &'a str,
    key_version: u32,
    reason: &'a str,
}

impl<'a> From<&'a proto::Event> for Event<'a> {
    fn from(event: &'a proto::Event) -> Self {
        let items = event.items.iter().map(|item| EventItem {
            key_id: &item.key_id,
            key_version: item.key_version,
            reason: &item.reason,
        });
        Self {
            sequence: event.sequence,
            committed_ms: event.committed_ms,
            node_ms: event.node_ms,
            kind: &event.kind,
            operation: &event.operation,
            outcome: &event.outcome,
            reason: &event.reason,
            attempt_id: &event.attempt_id,
            request_id: &event.request_id,
            principal_id: &event.principal_id,
            principal_name: &event.principal_name,
            key_id: &event.key_id,
            key_version: event.key_version,
            encryption_context: &event.encryption_context,
            source_address: &event.source_address,
            node_id: event.node_id,
            item_count: event.item_count,
            items: items.collect(),
            detail: &event.detail,
            leaf_hash: &event.leaf_hash,
            complete: event.complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_and_enums_are_names() {
        let key = proto::KeyMetadata { key_state: 1, key_spec: 99, ..Default::default() };
        let value = serde_json::to_value(KeyMetadata::from(&key)).unwrap();
        assert_eq!(value["key_state"], "Enabled");
        assert_eq!(value["key_spec"], "UNKNOWN");
        assert_eq!(serde_json::to_value(Base64(&[255])).unwrap(), "/w==");
    }

    #[test]
    fn an_event_shows_all_its_fields() {
        let event = proto::Event { items: vec![proto::EventItem::default()], ..Default::default() };
        let value = serde_json::to_value(Event::from(&event)).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 21);
        assert_eq!(value["items"][0]["key_version"], 0);
    }
}
