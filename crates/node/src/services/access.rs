//! Service `strongroom.v1.Access`: principals, roles, bearer tokens.

use std::sync::Arc;

use strongroom_audit::Operation;
use strongroom_base::{TokenId, limits};
use strongroom_model::{
    self as model, CreateToken, PrincipalReference, RevokeToken, RowTable, TokenView,
};
use strongroom_wire::v1::{self, access_server::Access};
use tonic::{Request, Response, Status};

use super::convert::{number, page, page_of_ids};
use crate::{
    attempt::{Effect, commit, look},
    caller::Caller,
    core::Core,
    errors,
};

/// Service `strongroom.v1.Access`.
#[derive(Clone)]
pub(crate) struct AccessService {
    core: Arc<Core>,
}

impl AccessService {
    /// Serves `core`.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

fn metadata(view: &TokenView) -> v1::TokenMetadata {
    v1::TokenMetadata {
        token_id: view.id.to_string(),
        principal_id: view.principal.to_string(),
        principal_name: view.principal_name.clone(),
        role: role_number(view.role),
        created_ms: view.created.0,
        expires_ms: view.expires.map_or(0, |expires| expires.0),
        valid: view.valid,
    }
}

fn role_number(role: model::Role) -> i32 {
    i32::try_from(role.number()).unwrap_or_default()
}

fn refused(refusal: model::Refusal) -> Status {
    errors::refused(&refusal)
}

fn token_id(field: &'static str, text: &str) -> Result<TokenId, Status> {
    text.parse().map_err(|_| errors::invalid_argument(field, "must be the UUID of a token"))
}

#[tonic::async_trait]
impl Access for AccessService {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let asked =
            CreateToken::new(&request.principal_name, number(request.role), request.ttl_seconds)
                .map_err(refused)?;
        let created = commit(&self.core, &caller, Effect::Create, |basis, by, entropy| {
            model::create_token(basis, by, &asked, entropy)
        })
        .await?;
        Ok(Response::new(v1::CreateTokenResponse {
            token: created.token.expose_text().expose().to_owned(),
            metadata: Some(metadata(&created.view)),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let limit = page(request.limit, limits::KEYS_PAGE_DEFAULT, limits::TOKENS_PAGE_MAX)?;
        let after = match request.marker.as_str() {
            "" => None,
            marker => Some(token_id("marker", marker)?),
        };
        let (tokens, more) = look(&self.core, &caller, Operation::ListTokens, None, |basis, by| {
            let table = RowTable::TokenIds;
            let after = after.as_ref().map(|id| id.as_bytes().as_slice());
            let mut ids = page_of_ids(&self.core, table, after, limit + 1)?;
            let more = ids.len() > limit;
            ids.truncate(limit);
            let mut tokens = Vec::with_capacity(ids.len());
            if let Err(refusal) = model::authorise(by, Operation::ListTokens) {
                return Ok(Err(refusal));
            }
            for id in ids.iter().filter_map(|id| TokenId::from_slice(id).ok()) {
                match model::view_token(basis, by, id)? {
                    Ok(Some(view)) => tokens.push(metadata(&view)),
                    Ok(None) => {}
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            Ok(Ok((tokens, more)))
        })
        .await?;
        let next_marker = match tokens.last() {
            Some(last) if more => last.token_id.clone(),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListTokensResponse { tokens, next_marker }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        use v1::revoke_token_request::Target;
        let caller = Caller::of(&request)?;
        let asked = match request.into_inner().target {
            Some(Target::TokenId(id)) => RevokeToken::One(token_id("token_id", &id)?),
            Some(Target::Role(role)) => {
                RevokeToken::Role(model::role_field(number(role)).map_err(refused)?)
            }
            None => return Err(errors::invalid_argument("target", "is required")),
        };
        commit(&self.core, &caller, Effect::Change, |basis, by, _| {
            model::revoke_token(basis, by, asked)
        })
        .await?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }

    async fn attach_role(
        &self,
        request: Request<v1::AttachRoleRequest>,
    ) -> Result<Response<v1::AttachRoleResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let principal =
            PrincipalReference::parse("principal", &request.principal).map_err(refused)?;
        let role = model::role_field(number(request.role)).map_err(refused)?;
        commit(&self.core, &caller, Effect::Change, |basis, by, _| {
            model::attach_role(basis, by, &principal, role)
        })
        .await?;
        Ok(Response::new(v1::AttachRoleResponse {}))
    }

    async fn detach_role(
        &self,
        request: Request<v1::DetachRoleRequest>,
    ) -> Result<Response<v1::DetachRoleResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let principal =
            PrincipalReference::parse("principal", &request.principal).map_err(refused)?;
        let role = model::role_field(number(request.role)).map_err(refused)?;
        commit(&self.core, &caller, Effect::Change, |basis, by, _| {
            model::detach_role(basis, by, &principal, role)
        })
        .await?;
        Ok(Response::new(v1::DetachRoleResponse {}))
    }

    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let caller = Caller::of(&request)?;
        let response = look(&self.core, &caller, Operation::WhoAmI, None, |_, by| {
            Ok(Ok(v1::WhoAmIResponse {
                principal_id: by.principal_id().to_string(),
                principal_name: by.principal.name.clone(),
                role: role_number(by.role),
                token_id: by.token.to_string(),
                expires_ms: by.expires.map_or(0, |expires| expires.0),
            }))
        })
        .await?;
        Ok(Response::new(response))
    }
}
