//! Who a certificate names: the URI subject alternative names of this product.
//!
//! | URI | names |
//! |---|---|
//! | `strongroom://cluster/<cluster id>/node/<node id>` | a member |
//! | `strongroom://cluster/<cluster id>/client/<name>` | an application |
//! | `strongroom://cluster/<cluster id>/operator/<name>` | an operator |
//! | `strongroom://cluster/<cluster id>/front/<name>` | a front between callers and nodes |
//!
//! A URI has one spelling: ids as they are displayed, names of 1 to 64 of the
//! characters of AWS IAM's user names (`A-Z a-z 0-9 + = , . @ _ -`), nothing
//! percent-encoded. A certificate carries exactly one such URI. Does no I/O.

use std::{fmt, str::FromStr};

use rustls_pki_types::CertificateDer;
use strongroom_base::{ClusterId, NodeId, limits::PRINCIPAL_NAME_BYTES_MAX};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Scheme of every identity URI, with its colon.
const SCHEME: &str = "strongroom:";
/// What precedes the cluster id.
const PREFIX: &str = "strongroom://cluster/";

/// What the holder of a certificate is to its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A member of the cluster.
    Node(NodeId),
    /// An application, by name.
    Client(String),
    /// An operator, by name: may form the cluster.
    Operator(String),
    /// A front, by name: serves callers, and speaks to nodes on their behalf.
    Front(String),
}

impl Role {
    /// Whether the holder serves callers and so needs a server's certificate.
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self, Self::Node(_) | Self::Front(_))
    }
}

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The cluster that the holder belongs to.
    pub cluster: ClusterId,
    /// What the holder is there.
    pub role: Role,
}

/// Why a certificate, or a URI, names no one who is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate isn't X.509 in DER (RFC 5280, section 4.1).
    #[error("the certificate can't be parsed")]
    Unparsable,
    /// An alternative name, or the extension that holds them, is malformed.
    #[error("the certificate's subject alternative names are malformed")]
    MalformedNames,
    /// No URI of scheme `strongroom`.
    #[error("the certificate carries no strongroom:// identity")]
    Missing,
    /// More than one URI of scheme `strongroom`.
    #[error("the certificate carries more than one strongroom:// identity")]
    Several,
    /// A URI of scheme `strongroom` in none of the four forms.
    #[error("the strongroom:// identity is malformed")]
    Malformed,
    /// A certificate of another cluster.
    #[error("the certificate belongs to cluster {got}, not to {expected}")]
    OtherCluster {
        /// The cluster of this node.
        expected: ClusterId,
        /// The cluster in the certificate.
        got: ClusterId,
    },
    /// A certificate of somebody else where only nodes are let in.
    #[error("the certificate belongs to no node of the cluster")]
    NotNode,
    /// The certificate of another node than the one that was dialled.
    #[error("the certificate belongs to node {got}, not to node {expected}")]
    OtherNode {
        /// The node that was dialled.
        expected: NodeId,
        /// The node in the certificate.
        got: NodeId,
    },
}

impl PeerIdentity {
    /// The identity of node `node` of `cluster`.
    #[must_use]
    pub fn node(cluster: ClusterId, node: NodeId) -> Self {
        Self { cluster, role: Role::Node(node) }
    }

    /// Reads the one identity of a certificate.
    ///
    /// Trusts nothing: whether the certificate is genuine is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] for anything but exactly one well-formed identity.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unparsable)?;
        if !rest.is_empty() {
            return Err(IdentityError::Unparsable);
        }
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| IdentityError::MalformedNames)?
            .ok_or(IdentityError::Missing)?;
        let mut found = None;
        for name in &names.value.general_names {
            match name {
                GeneralName::Invalid(..) => return Err(IdentityError::MalformedNames),
                GeneralName::URI(uri) if claims_identity(uri) => {
                    let identity = uri.parse()?;
                    if found.replace(identity).is_some() {
                        return Err(IdentityError::Several);
                    }
                }
                _ => {}
            }
        }
        found.ok_or(IdentityError::Missing)
    }

    /// Requires a holder that belongs to `cluster`.
    ///
    /// # Errors
    ///
    /// [`IdentityError::OtherCluster`].
    pub fn require_cluster(&self, cluster: ClusterId) -> Result<(), IdentityError> {
        if self.cluster == cluster {
            Ok(())
        } else {
            Err(IdentityError::OtherCluster { expected: cluster, got: self.cluster })
        }
    }

    /// Requires a node; gives its id.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotNode`].
    pub fn require_any_node(&self) -> Result<NodeId, IdentityError> {
        match self.role {
            Role::Node(node) => Ok(node),
            Role::Client(_) | Role::Operator(_) | Role::Front(_) => Err(IdentityError::NotNode),
        }
    }

    /// Requires exactly node `expected`.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotNode`] and [`IdentityError::OtherNode`].
    pub fn require_node(&self, expected: NodeId) -> Result<(), IdentityError> {
        let got = self.require_any_node()?;
        if got == expected { Ok(()) } else { Err(IdentityError::OtherNode { expected, got }) }
    }
}

/// Schemes compare without regard to case (RFC 3986, section 3.1), so that an
/// odd spelling is refused as malformed, not passed over.
fn claims_identity(uri: &str) -> bool {
    uri.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

fn is_name(text: &str) -> bool {
    (1..=PRINCIPAL_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
}

impl fmt::Display for PeerIdentity {
    /// The identity's URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/", self.cluster)?;
        match &self.role {
            Role::Node(node) => write!(f, "node/{node}"),
            Role::Client(name) => write!(f, "client/{name}"),
            Role::Operator(name) => write!(f, "operator/{name}"),
            Role::Front(name) => write!(f, "front/{name}"),
        }
    }
}

impl FromStr for PeerIdentity {
    type Err = IdentityError;

    /// Reads a URI in its one spelling.
    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let path = uri.strip_prefix(PREFIX).ok_or(IdentityError::Malformed)?;
        let mut parts = path.split('/');
        let (Some(cluster), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Malformed);
        };
        let cluster = cluster.parse().map_err(|_| IdentityError::Malformed)?;
        let role = match kind {
            "node" => Role::Node(name.parse().map_err(|_| IdentityError::Malformed)?),
            "client" if is_name(name) => Role::Client(name.to_owned()),
            "operator" if is_name(name) => Role::Operator(name.to_owned()),
            "front" if is_name(name) => Role::Front(name.to_owned()),
            _ => return Err(IdentityError::Malformed),
        };
        let identity = Self { cluster, role };
        // Ids have other spellings (upper case, leading zeros): one is enough.
        if identity.to_string() == uri { Ok(identity) } else { Err(IdentityError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLUSTER: &str = "6f1d3c0a-7b5e-4f3a-9c2d-1a2b3c4d5e6f";

    #[test]
    fn any_other_spelling_is_refused() {
        let long = "n".repeat(PRINCIPAL_NAME_BYTES_MAX + 1);
        for path in [
            String::new(),
            CLUSTER.to_owned(),
            format!("{CLUSTER}/node"),
            format!("{CLUSTER}/node/"),
            format!("{CLUSTER}/node/0"),
            format!("{CLUSTER}/node/01"),
            format!("{CLUSTER}/node/+1"),
            format!("{CLUSTER}/node/4294967296"),
            format!("{CLUSTER}/node/1/"),
            format!("{CLUSTER}/node/1?a"),
            format!("{CLUSTER}/Node/1"),
            format!("{CLUSTER}/peer/1"),
            format!("{CLUSTER}/client/"),
            format!("{CLUSTER}/client/a b"),
            format!("{CLUSTER}/client/a%20b"),
            format!("{CLUSTER}/client/a\0b"),
            format!("{CLUSTER}/operator/é"),
            format!("{CLUSTER}/front/"),
            format!("{CLUSTER}/operator/{long}"),
            format!("{}/node/1", CLUSTER.to_uppercase()),
            format!("{}/node/1", CLUSTER.replace('-', "")),
        ] {
            let uri = format!("{PREFIX}{path}");
            assert_eq!(uri.parse::<PeerIdentity>(), Err(IdentityError::Malformed), "{uri}");
        }
        for uri in ["", "https://cluster/", "STRONGROOM://cluster/", "strongroom:/cluster/"] {
            assert_eq!(uri.parse::<PeerIdentity>(), Err(IdentityError::Malformed), "{uri}");
        }
    }

    #[test]
    fn each_role_is_read_back_from_its_uri() {
        let cluster = CLUSTER.parse().unwrap();
        for (text, role) in [
            ("node/7", Role::Node(NodeId::new(7).unwrap())),
            ("client/billing.prod@eu", Role::Client("billing.prod@eu".to_owned())),
            ("operator/alice", Role::Operator("alice".to_owned())),
            ("front/edge-1", Role::Front("edge-1".to_owned())),
        ] {
            let uri = format!("{PREFIX}{CLUSTER}/{text}");
            let identity = PeerIdentity { cluster, role };
            assert_eq!(uri.parse(), Ok(identity.clone()));
            assert_eq!(identity.to_string(), uri);
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bytes in [&b""[..], b"\x30\x00", b"not a certificate"] {
            let certificate = CertificateDer::from(bytes);
            assert_eq!(
                PeerIdentity::from_certificate(&certificate),
                Err(IdentityError::Unparsable)
            );
        }
    }

    /// The part of an identity's URI behind the cluster.
    fn holder() -> impl Strategy<Value = String> {
        prop_oneof![
            (1..=u64::from(u32::MAX)).prop_map(|node| format!("node/{node}")),
            "client/[A-Za-z0-9+=,.@_-]{1,64}",
            "operator/[A-Za-z0-9+=,.@_-]{1,64}",
            "front/[A-Za-z0-9+=,.@_-]{1,64}",
        ]
    }

    proptest! {
        #[test]
        fn reading_is_total_and_has_one_spelling(
            holder in holder(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,2}"), 0..3),
        ) {
            let mut uri = format!("{PREFIX}{CLUSTER}/{holder}");
            prop_assert!(uri.parse::<PeerIdentity>().is_ok());
            // Each puts none, one or two characters in the place of one.
            for (at, with) in edits {
                let at = at.index(uri.len());
                uri.replace_range(at..=at, &with);
            }
            if let Ok(identity) = uri.parse::<PeerIdentity>() {
                prop_assert_eq!(identity.to_string(), uri);
            }
        }
    }
}
