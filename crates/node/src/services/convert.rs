//! Small conversions that several services share.

use std::{collections::BTreeMap, sync::Arc};

use strongroom_crypto::Context;
use strongroom_model::{self as model, KeyReference, KeyView, ReadError, RowTable};
use strongroom_wire::v1;
use tonic::Status;

use crate::{core::Core, errors};

/// A key named in a required field.
pub(super) fn key(field: &'static str, text: &str) -> Result<KeyReference, Status> {
    KeyReference::parse(field, text).map_err(|refusal| errors::refused(&refusal))
}

/// A key named in an optional field.
pub(super) fn optional_key(
    field: &'static str,
    text: &str,
) -> Result<Option<KeyReference>, Status> {
    KeyReference::parse_optional(field, text).map_err(|refusal| errors::refused(&refusal))
}

/// An encryption context.
pub(super) fn context(
    field: &'static str,
    pairs: BTreeMap<String, String>,
) -> Result<Arc<Context>, Status> {
    model::context_field(field, pairs).map_err(|refusal| errors::refused(&refusal))
}

/// The number of an enumeration's value; what is negative is no value.
pub(super) fn number(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Bound on a page: `asked`, or the default where it is 0.
pub(super) fn page(asked: u32, default: usize, max: usize) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(asked) if asked <= max => Ok(asked),
        _ => Err(errors::invalid_argument("limit", &format!("must be from 1 to {max}"))),
    }
}

/// A key, as callers see it.
pub(super) fn key_metadata(view: &KeyView) -> v1::KeyMetadata {
    v1::KeyMetadata {
        key_id: view.id.to_string(),
        arn: view.arn.clone(),
        account_id: view.account.to_string(),
        created_ms: view.created.0,
        key_state: i32::try_from(view.state.number()).unwrap_or_default(),
        key_spec: v1::KeySpec::SymmetricDefault.into(),
        key_usage: v1::KeyUsage::EncryptDecrypt.into(),
        description: view.description.clone(),
        origin: view.origin.name().to_owned(),
        current_version: view.current_version.0,
        current_key_material_id: view.current_material.to_string(),
        enabled: view.state == model::KeyState::Enabled,
    }
}

/// Ids of the rows of `table` after `after`, ascending: no row is opened.
pub(super) fn page_of_ids(
    core: &Core,
    table: RowTable,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Vec<u8>>, ReadError> {
    let rows = strongroom_state::rows_page(&core.state.latest(), table.number(), after, limit);
    let rows = rows.map_err(|error| ReadError { table, source: Box::new(error) })?;
    Ok(rows.into_iter().map(|(id, _)| id).collect())
}
