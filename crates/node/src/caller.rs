//! What a call says of its caller, before anything is believed.

use std::{net::IpAddr, sync::Arc};

use strongroom_crypto::TokenSecret;
use strongroom_net::{ConnectInfo, PeerIdentity, Role};
use tonic::{Request, Status};

use crate::{
    errors,
    layers::{CallInfo, Deadline},
};

/// Scheme of the `authorization` metadata entry (RFC 6750).
const BEARER: &str = "Bearer ";

/// A call's own words about itself.
pub(crate) struct Caller {
    /// Request id and deadline.
    pub(crate) info: CallInfo,
    /// The bearer token, where there is one of the right form.
    pub(crate) token: Option<Arc<TokenSecret>>,
    /// Address of the other end of the connection.
    pub(crate) source_address: Option<IpAddr>,
    /// Who its certificate says it is, where it has one of our CA.
    pub(crate) identity: Option<Arc<PeerIdentity>>,
}

impl Caller {
    /// Reads metadata and connection of a request.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` for an `authorization` entry that is no bearer token.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let info = *request
            .extensions()
            .get::<CallInfo>()
            .ok_or_else(|| errors::fault("a call without the layer that every call passes"))?;
        let connection = request.extensions().get::<ConnectInfo>();
        let token = match request.metadata().get("authorization") {
            None => None,
            Some(value) => Some(Arc::new(parse_bearer(value.as_bytes())?)),
        };
        Ok(Self {
            info,
            token,
            source_address: connection.map(|connection| connection.remote.ip()),
            identity: connection.and_then(|connection| connection.identity.clone()),
        })
    }

    /// The deadline.
    #[must_use]
    pub(crate) fn deadline(&self) -> Deadline {
        self.info.deadline
    }

    /// The same caller, with another deadline: for one page of a stream.
    #[must_use]
    pub(crate) fn until(&self, deadline: std::time::Instant) -> Self {
        Self {
            info: CallInfo { deadline: Deadline(deadline), ..self.info },
            token: self.token.clone(),
            source_address: self.source_address,
            identity: self.identity.clone(),
        }
    }

    /// The name in an operator's certificate.
    #[must_use]
    pub(crate) fn operator(&self) -> Option<&str> {
        match &self.identity.as_deref()?.role {
            Role::Operator(name) => Some(name),
            _ => None,
        }
    }

    /// The name in the certificate, whatever kind it is.
    #[must_use]
    pub(crate) fn certificate_name(&self) -> String {
        match self.identity.as_deref().map(|identity| &identity.role) {
            Some(Role::Operator(name) | Role::Client(name)) => name.clone(),
            Some(Role::Node(node)) => format!("node/{node}"),
            None => String::new(),
        }
    }
}

fn parse_bearer(value: &[u8]) -> Result<TokenSecret, Status> {
    let refused = || errors::refused(&strongroom_model::Refusal::Unauthenticated);
    let text = value
        .get(..BEARER.len())
        .filter(|scheme| scheme.eq_ignore_ascii_case(BEARER.as_bytes()))
        .and_then(|_| std::str::from_utf8(&value[BEARER.len()..]).ok())
        .ok_or_else(refused)?;
    TokenSecret::parse(text.trim()).map_err(|_| refused())
}
