//! What a call says of its caller, before anything is believed.
//!
//! Between caller and node there may be a front. It says from which address the
//! call came to it, and whose client certificate it saw; that is taken from a
//! connection with a front's certificate only. A front vouches for no operator:
//! what needs one is called on the node itself.

use std::{net::IpAddr, sync::Arc};

use strongroom_base::ClusterId;
use strongroom_crypto::TokenSecret;
use strongroom_net::{ConnectInfo, PeerIdentity, Role};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use crate::{
    errors,
    layers::{CallInfo, Deadline},
};

/// Scheme of the `authorization` metadata entry (RFC 6750).
const BEARER: &str = "Bearer ";

/// Metadata entry in which a front names the caller's address.
const FORWARDED_FOR: &str = "strongroom-forwarded-for";
/// Metadata entry in which a front names the identity (URI) in the caller's
/// certificate.
const FORWARDED_IDENTITY: &str = "strongroom-forwarded-identity";

/// A call's own words about itself.
pub(crate) struct Caller {
    /// Request id and deadline.
    pub(crate) info: CallInfo,
    /// The bearer token, where there is one of the right form.
    pub(crate) token: Option<Arc<TokenSecret>>,
    /// Address of the other end of the connection, or of the connection to the
    /// front.
    pub(crate) source_address: Option<IpAddr>,
    /// Who its certificate says it is, where it has one of our CA.
    pub(crate) identity: Option<Arc<PeerIdentity>>,
}

impl Caller {
    /// Reads metadata and connection of a request.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` for an `authorization` entry that is no bearer token;
    /// `PERMISSION_DENIED` for forwarded words from anyone but a front.
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
        let source_address = connection.map(|connection| connection.remote.ip());
        let identity = connection.and_then(|connection| connection.identity.clone());
        let (source_address, identity) = match identity.as_deref() {
            Some(PeerIdentity { role: Role::Front(_), cluster }) => {
                forwarded(request.metadata(), source_address, *cluster)?
            }
            _ => {
                refuse_forwarded(request.metadata())?;
                (source_address, identity)
            }
        };
        Ok(Self { info, token, source_address, identity })
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
            Some(Role::Front(name)) => format!("front/{name}"),
            Some(Role::Node(node)) => format!("node/{node}"),
            None => String::new(),
        }
    }
}

/// What a front says of its caller. A call of its own carries neither entry.
fn forwarded(
    metadata: &MetadataMap,
    front: Option<IpAddr>,
    cluster: ClusterId,
) -> Result<(Option<IpAddr>, Option<Arc<PeerIdentity>>), Status> {
    let address = match metadata.get(FORWARDED_FOR) {
        None => front,
        Some(value) => Some(
            text(value)
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| errors::invalid_argument(FORWARDED_FOR, "must be an IP address"))?,
        ),
    };
    let identity = match metadata.get(FORWARDED_IDENTITY) {
        None => None,
        Some(value) => {
            let identity: Option<PeerIdentity> = text(value).and_then(|text| text.parse().ok());
            let client = identity.filter(|identity| {
                identity.cluster == cluster && matches!(identity.role, Role::Client(_))
            });
            let refused = || {
                errors::invalid_argument(FORWARDED_IDENTITY, "must name a client of the cluster")
            };
            Some(Arc::new(client.ok_or_else(refused)?))
        }
    };
    Ok((address, identity))
}

fn refuse_forwarded(metadata: &MetadataMap) -> Result<(), Status> {
    if metadata.contains_key(FORWARDED_FOR) || metadata.contains_key(FORWARDED_IDENTITY) {
        return Err(errors::denied("only a front may say on whose behalf it calls"));
    }
    Ok(())
}

fn text(value: &MetadataValue<Ascii>) -> Option<&str> {
    value.to_str().ok()
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use strongroom_base::RequestId;

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([1; 16]);

    fn call(role: Option<Role>, entries: &[(&'static str, &str)]) -> Result<Caller, Status> {
        let mut request = Request::new(());
        let info = CallInfo {
            request_id: RequestId::from_random([2; 16]),
            deadline: Deadline(Instant::now()),
        };
        request.extensions_mut().insert(info);
        let identity = role.map(|role| Arc::new(PeerIdentity { cluster: CLUSTER, role }));
        let connection = ConnectInfo::new("192.0.2.1:9".parse().unwrap(), identity);
        request.extensions_mut().insert(connection);
        for (name, value) in entries {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        Caller::of(&request)
    }

    fn uri(role: Role) -> String {
        PeerIdentity { cluster: CLUSTER, role }.to_string()
    }

    #[test]
    fn forwarded_words_from_anyone_but_a_front_are_refused() {
        let client = uri(Role::Client("app".to_owned()));
        let roles = [
            None,
            Some(Role::Client("edge".to_owned())),
            Some(Role::Operator("edge".to_owned())),
            Some(Role::Node(strongroom_base::NodeId::new(1).unwrap())),
        ];
        for role in roles {
            for entry in [(FORWARDED_FOR, "198.51.100.7"), (FORWARDED_IDENTITY, client.as_str())] {
                let refused = call(role.clone(), &[entry]).map(drop).unwrap_err();
                assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{role:?}");
            }
        }
    }

    #[test]
    fn a_front_speaks_for_clients_of_its_cluster_and_for_nobody_else() {
        let front = Some(Role::Front("edge".to_owned()));
        let client = uri(Role::Client("app".to_owned()));
        let entries = [(FORWARDED_FOR, "198.51.100.7"), (FORWARDED_IDENTITY, client.as_str())];
        let caller = call(front.clone(), &entries).unwrap();
        assert_eq!(caller.source_address, "198.51.100.7".parse().ok());
        assert_eq!(caller.certificate_name(), "app");

        let foreign = PeerIdentity {
            cluster: ClusterId::from_bytes([9; 16]),
            role: Role::Client("app".to_owned()),
        };
        for other in [
            uri(Role::Operator("alice".to_owned())),
            uri(Role::Front("edge".to_owned())),
            uri(Role::Node(strongroom_base::NodeId::new(1).unwrap())),
            foreign.to_string(),
            "app".to_owned(),
        ] {
            let refused = call(front.clone(), &[(FORWARDED_IDENTITY, &other)]).map(drop);
            assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument, "{other}");
        }
        let refused = call(front.clone(), &[(FORWARDED_FOR, "here")]).map(drop).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);

        // Its own calls, and those of callers without a certificate, are no client's.
        let own = call(front, &[]).unwrap();
        assert_eq!(own.source_address, "192.0.2.1".parse().ok());
        assert!(own.identity.is_none() && own.operator().is_none());
    }
}
