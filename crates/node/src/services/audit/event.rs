//! An event, as readers of the audit log see it.

use strongroom_base::AuditSequence;
use strongroom_model::{EventView, leaf_digest};
use strongroom_state::{StoredLeaf, TablesError, TablesReader};
use strongroom_wire::v1;

use crate::{core::Core, status::hex};

/// Renders a leaf and, where it can be read, its body.
pub(super) fn render(
    core: &Core,
    reader: &impl TablesReader,
    sequence: AuditSequence,
    stored: &StoredLeaf,
) -> Result<v1::Event, TablesError> {
    let body = strongroom_state::body(reader, sequence)?;
    let opened = body.zip(core.lifecycle.secrets()).and_then(|(body, secrets)| {
        let digest = leaf_digest(&stored.leaf);
        secrets.keyring().open_body(secrets.cluster.history, &digest, &body).ok()
    });
    let mut event = v1::Event {
        sequence: sequence.0,
        committed_ms: stored.stamp.0,
        leaf_hash: hex(&stored.hash(sequence)),
        ..Default::default()
    };
    let Ok(view) = EventView::new(&stored.leaf, opened.as_ref().map(|body| body.expose())) else {
        return Ok(event);
    };
    event.node_ms = view.node_time.0;
    event.kind = view.kind.name().to_owned();
    event.operation = view.operation.name().to_owned();
    let reason = view.outcome.reason();
    event.outcome = if reason.is_some() { "refused" } else { "success" }.to_owned();
    event.reason = reason.map(|reason| reason.text().to_owned()).unwrap_or_default();
    event.attempt_id = view.attempt.to_string();
    event.principal_id = view.principal.map(|id| id.to_string()).unwrap_or_default();
    event.key_id = view.key.map(|id| id.to_string()).unwrap_or_default();
    event.key_version = view.key_version.map_or(0, |version| version.0);
    event.node_id = view.node.value();
    event.item_count = view.item_count;
    event.complete = view.complete;
    event.detail = view.detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(private) = view.private {
        event.request_id = private.request.to_string();
        event.principal_name = private.principal_name;
        event.source_address = private.source_address;
        event.encryption_context = private.context.into_iter().collect();
        let items = private.items.into_iter().map(|item| v1::EventItem {
            key_id: item.key.map(|id| id.to_string()).unwrap_or_default(),
            key_version: item.key_version,
            reason: item.reason,
        });
        event.items = items.collect();
    }
    Ok(event)
}
