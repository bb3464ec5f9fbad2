//! Service `strongroom.v1.Keys`: keys and their life.

use std::sync::Arc;

use strongroom_audit::Operation;
use strongroom_base::{KeyId, limits};
use strongroom_model::{self as model, CreateKey, RowTable};
use strongroom_wire::v1::{self, keys_server::Keys};
use tonic::{Request, Response, Status};

use super::convert::{key, key_metadata, number, page, page_of_ids};
use crate::{
    attempt::{Effect, commit, look},
    caller::Caller,
    core::Core,
    errors,
};

/// Service `strongroom.v1.Keys`.
#[derive(Clone)]
pub(crate) struct KeysService {
    core: Arc<Core>,
}

impl KeysService {
    /// Serves `core`.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl Keys for KeysService {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let asked = CreateKey::new(
            request.description,
            number(request.key_spec),
            number(request.key_usage),
            request.client_token,
        )
        .map_err(|refusal| errors::refused(&refusal))?;
        let view = commit(&self.core, &caller, Effect::Create, |basis, by, entropy| {
            model::create_key(basis, by, &asked, entropy)
        })
        .await?;
        Ok(Response::new(v1::CreateKeyResponse { key_metadata: Some(key_metadata(&view)) }))
    }

    async fn describe_key(
        &self,
        request: Request<v1::DescribeKeyRequest>,
    ) -> Result<Response<v1::DescribeKeyResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = key("key_id", &request.into_inner().key_id)?;
        let view = look(&self.core, &caller, Operation::DescribeKey, Some(&asked), |basis, by| {
            model::describe_key(basis, by, &asked)
        })
        .await?;
        Ok(Response::new(v1::DescribeKeyResponse { key_metadata: Some(key_metadata(&view)) }))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let limit = page(request.limit, limits::KEYS_PAGE_DEFAULT, limits::KEYS_PAGE_MAX)?;
        let after: Option<KeyId> = match request.marker.as_str() {
            "" => None,
            marker => Some(marker.parse().map_err(|_| {
                errors::invalid_argument("marker", "must be the next_marker of a page")
            })?),
        };
        let (keys, more) = look(&self.core, &caller, Operation::ListKeys, None, |basis, by| {
            if let Err(refusal) = model::authorise(by, Operation::ListKeys) {
                return Ok(Err(refusal));
            }
            // Ids are the row ids: a page opens no row.
            let after = after.as_ref().map(|id| id.as_bytes().as_slice());
            let table = RowTable::Keys;
            let mut ids = page_of_ids(&self.core, table, after, limit + 1)?;
            let more = ids.len() > limit;
            ids.truncate(limit);
            let entries = ids.iter().filter_map(|id| KeyId::from_slice(id).ok()).map(|id| {
                v1::KeyListEntry { key_id: id.to_string(), key_arn: basis.cluster.arn(id) }
            });
            Ok(Ok((entries.collect::<Vec<_>>(), more)))
        })
        .await?;
        let next_marker = match keys.last() {
            Some(last) if more => last.key_id.clone(),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListKeysResponse { truncated: more, keys, next_marker }))
    }

    async fn enable_key(
        &self,
        request: Request<v1::EnableKeyRequest>,
    ) -> Result<Response<v1::EnableKeyResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = key("key_id", &request.into_inner().key_id)?;
        commit(&self.core, &caller, Effect::Change, |basis, by, _| {
            model::enable_key(basis, by, &asked)
        })
        .await?;
        Ok(Response::new(v1::EnableKeyResponse {}))
    }

    async fn disable_key(
        &self,
        request: Request<v1::DisableKeyRequest>,
    ) -> Result<Response<v1::DisableKeyResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = key("key_id", &request.into_inner().key_id)?;
        commit(&self.core, &caller, Effect::Change, |basis, by, _| {
            model::disable_key(basis, by, &asked)
        })
        .await?;
        Ok(Response::new(v1::DisableKeyResponse {}))
    }
}
