//! Who talks to whom: metadata on every call between peers, checked on arrival.
//!
//! A certificate proves (cluster, node id). It doesn't tell one data directory
//! of a node from another, and that is what Raft's promises hang on: a node
//! that lost its directory has forgotten its votes. So each call says from
//! which directory it comes and which one it means, and a node refuses a call
//! that means another than its own, or comes from another than the membership
//! names.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use strongroom_base::{ClusterId, Incarnation, NodeId};
use strongroom_net::ConnectInfo;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::Interceptor,
};

const CLUSTER: &str = "strongroom-cluster";
const FROM_NODE: &str = "strongroom-from-node";
const FROM_INCARNATION: &str = "strongroom-from-incarnation";
const TO_INCARNATION: &str = "strongroom-to-incarnation";

/// Shortest time between two lines in the log on refused calls.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// This node, as it presents itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
}

/// Adds this node's identity, and that of the directory meant, to each call.
#[derive(Clone, Debug)]
pub struct PeerMetadata {
    cluster: MetadataValue<Ascii>,
    node: MetadataValue<Ascii>,
    incarnation: MetadataValue<Ascii>,
    to: Option<MetadataValue<Ascii>>,
}

impl PeerMetadata {
    pub(crate) fn new(local: &LocalIdentity, to: Option<Incarnation>) -> Self {
        let ascii = |text: String| text.parse().expect("UUIDs and numbers are ASCII");
        Self {
            cluster: ascii(local.cluster.to_string()),
            node: ascii(local.node.to_string()),
            incarnation: ascii(local.incarnation.to_string()),
            to: to.map(|to| ascii(to.to_string())),
        }
    }
}

impl Interceptor for PeerMetadata {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, self.cluster.clone());
        metadata.insert(FROM_NODE, self.node.clone());
        metadata.insert(FROM_INCARNATION, self.incarnation.clone());
        if let Some(to) = &self.to {
            metadata.insert(TO_INCARNATION, to.clone());
        }
        Ok(request)
    }
}

/// Where a checked call comes from; among the extensions of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerOrigin {
    /// The node, as its certificate proves.
    pub node: NodeId,
    /// Its data directory, as it says; the one that the membership names, where
    /// it names one.
    pub incarnation: Incarnation,
}

/// Why a call between peers is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerRefusal {
    /// No certificate of a node of this cluster.
    #[error("the caller's certificate belongs to no node of this cluster")]
    NoNode,
    /// A metadata entry is absent or malformed.
    #[error("metadata {name} is absent or malformed")]
    Metadata {
        /// Its name.
        name: &'static str,
    },
    /// A call from another cluster.
    #[error("the caller belongs to cluster {got}, this node to cluster {expected}")]
    OtherCluster {
        /// This node's.
        expected: ClusterId,
        /// The caller's.
        got: ClusterId,
    },
    /// The certificate is of another node than the one that the call names.
    #[error("the caller says it is node {said}, its certificate belongs to node {proven}")]
    OtherNode {
        /// As the call says.
        said: NodeId,
        /// As the certificate proves.
        proven: NodeId,
    },
    /// The call means a data directory that this node has no more.
    #[error(
        "the call is meant for data directory {meant} of node {node}, which has {here}: it lost \
         its directory; it must be removed, and come back under a new node id"
    )]
    NotThisDirectory {
        /// This node.
        node: NodeId,
        /// The directory meant.
        meant: Incarnation,
        /// The directory here.
        here: Incarnation,
    },
    /// No member of the formed cluster.
    #[error("node {node} is no member of this cluster")]
    NoMember {
        /// The caller.
        node: NodeId,
    },
    /// A member whose data directory the membership doesn't name yet.
    #[error(
        "node {node} was not there when the cluster was formed: it takes part in Raft once the \
         membership names its data directory"
    )]
    NotBound {
        /// The caller.
        node: NodeId,
    },
    /// The caller comes with another data directory than the membership names.
    #[error(
        "node {node} calls from data directory {got}, the membership names {expected}: it lost \
         its directory; it must be removed, and come back under a new node id"
    )]
    OtherDirectory {
        /// The caller.
        node: NodeId,
        /// The directory that the membership names.
        expected: Incarnation,
        /// The directory that it calls from.
        got: Incarnation,
    },
}

impl From<PeerRefusal> for Status {
    fn from(refusal: PeerRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            PeerRefusal::Metadata { .. } => Self::invalid_argument(text),
            PeerRefusal::NoNode
            | PeerRefusal::OtherCluster { .. }
            | PeerRefusal::NoMember { .. }
            | PeerRefusal::OtherNode { .. } => Self::permission_denied(text),
            PeerRefusal::NotThisDirectory { .. }
            | PeerRefusal::NotBound { .. }
            | PeerRefusal::OtherDirectory { .. } => Self::failed_precondition(text),
        }
    }
}

/// The members, and the data directories that the membership names; none of a
/// member that was never heard of.
#[derive(Clone, Default)]
pub(crate) struct KnownMembers(Arc<RwLock<BTreeMap<NodeId, Option<Incarnation>>>>);

impl KnownMembers {
    pub(crate) fn replace(&self, members: BTreeMap<NodeId, Option<Incarnation>>) {
        *self.0.write() = members;
    }

    pub(crate) fn incarnation(&self, node: NodeId) -> Option<Incarnation> {
        self.0.read().get(&node).copied().flatten()
    }

    fn includes(&self, node: NodeId) -> bool {
        self.0.read().contains_key(&node)
    }

    /// Whether there is a membership, and `node` is not in it.
    fn excludes(&self, node: NodeId) -> bool {
        let members = self.0.read();
        !members.is_empty() && !members.contains_key(&node)
    }
}

/// Checks each call that arrives from a peer. Put it before every service of
/// the peer listener.
#[derive(Clone)]
pub struct PeerGuard {
    local: LocalIdentity,
    members: KnownMembers,
    /// Raft's own calls always know whom they mean; others may come before the
    /// cluster is formed.
    target_required: bool,
    said: Arc<Mutex<Option<Instant>>>,
}

impl PeerGuard {
    pub(crate) fn new(local: LocalIdentity, members: KnownMembers) -> Self {
        Self { local, members, target_required: false, said: Arc::default() }
    }

    pub(crate) fn requiring_target(mut self) -> Self {
        self.target_required = true;
        self
    }

    /// Checks a call by what its connection proves and its metadata say.
    ///
    /// # Errors
    ///
    /// [`PeerRefusal`].
    pub(crate) fn check(
        &self,
        connection: Option<&ConnectInfo>,
        metadata: &MetadataMap,
    ) -> Result<PeerOrigin, PeerRefusal> {
        let identity = connection.and_then(|info| info.identity.as_deref());
        let identity = identity.ok_or(PeerRefusal::NoNode)?;
        let proven = identity.require_any_node().map_err(|_| PeerRefusal::NoNode)?;
        let expected = self.local.cluster;
        for got in [identity.cluster, entry(metadata, CLUSTER)?] {
            if got != expected {
                return Err(PeerRefusal::OtherCluster { expected, got });
            }
        }
        let said = entry(metadata, FROM_NODE)?;
        if said != proven {
            return Err(PeerRefusal::OtherNode { said, proven });
        }
        self.check_target(metadata)?;
        if self.members.excludes(proven) {
            return Err(PeerRefusal::NoMember { node: proven });
        }
        let got = entry(metadata, FROM_INCARNATION)?;
        match self.members.incarnation(proven) {
            Some(expected) if expected != got => {
                Err(PeerRefusal::OtherDirectory { node: proven, expected, got })
            }
            // It may say who it is; votes and entries count once it is bound.
            None if self.target_required && self.members.includes(proven) => {
                Err(PeerRefusal::NotBound { node: proven })
            }
            _ => Ok(PeerOrigin { node: proven, incarnation: got }),
        }
    }

    fn check_target(&self, metadata: &MetadataMap) -> Result<(), PeerRefusal> {
        if !self.target_required && !metadata.contains_key(TO_INCARNATION) {
            return Ok(());
        }
        let meant = entry(metadata, TO_INCARNATION)?;
        let LocalIdentity { node, incarnation: here, .. } = self.local;
        if meant == here {
            Ok(())
        } else {
            Err(PeerRefusal::NotThisDirectory { node, meant, here })
        }
    }

    /// Says what was refused, but not more often than a log can bear.
    fn say(&self, refusal: &PeerRefusal, connection: Option<&ConnectInfo>) {
        let mut said = self.said.lock();
        if said.is_some_and(|at| at.elapsed() < SAY_EVERY) {
            return;
        }
        *said = Some(Instant::now());
        let remote = connection.map(|info| info.remote.to_string()).unwrap_or_default();
        tracing::warn!(%refusal, remote, "refused a call from a peer");
    }
}

impl Interceptor for PeerGuard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let connection = request.extensions().get::<ConnectInfo>();
        match self.check(connection, request.metadata()) {
            Ok(origin) => {
                request.extensions_mut().insert(origin);
                Ok(request)
            }
            Err(refusal) => {
                self.say(&refusal, connection);
                Err(refusal.into())
            }
        }
    }
}

fn entry<T: std::str::FromStr>(
    metadata: &MetadataMap,
    name: &'static str,
) -> Result<T, PeerRefusal> {
    let mut values = metadata.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(PeerRefusal::Metadata { name });
    };
    let text = value.to_str().map_err(|_| PeerRefusal::Metadata { name })?;
    text.parse().map_err(|_| PeerRefusal::Metadata { name })
}

#[cfg(test)]
mod tests {
    use strongroom_net::{PeerIdentity, Role};

    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn identity(id: u64, incarnation: u8) -> LocalIdentity {
        LocalIdentity {
            cluster: ClusterId::from_bytes([1; 16]),
            node: node(id),
            incarnation: Incarnation::from_bytes([incarnation; 16]),
        }
    }

    fn connection(id: u64) -> ConnectInfo {
        let proven = PeerIdentity::node(identity(id, 0).cluster, node(id));
        ConnectInfo::new("127.0.0.1:9".parse().unwrap(), Some(Arc::new(proven)))
    }

    /// Node 1 with directory 11, which knows node 2 with directory 12, and node 4
    /// without one.
    fn guard() -> PeerGuard {
        let members = KnownMembers::default();
        let directory = Incarnation::from_bytes([12; 16]);
        members.replace(BTreeMap::from([(node(2), Some(directory)), (node(4), None)]));
        PeerGuard::new(identity(1, 11), members).requiring_target()
    }

    fn call(from: &LocalIdentity, to: Option<u8>) -> MetadataMap {
        let to = to.map(|byte| Incarnation::from_bytes([byte; 16]));
        let mut metadata = PeerMetadata::new(from, to);
        metadata.call(Request::new(())).unwrap().metadata().clone()
    }

    #[test]
    fn a_caller_without_a_nodes_certificate_is_refused() {
        let metadata = call(&identity(2, 12), Some(11));
        assert_eq!(guard().check(None, &metadata), Err(PeerRefusal::NoNode));
        let mut info = connection(2);
        info.identity = None;
        assert_eq!(guard().check(Some(&info), &metadata), Err(PeerRefusal::NoNode));
        let cluster = identity(2, 0).cluster;
        info.identity =
            Some(Arc::new(PeerIdentity { cluster, role: Role::Operator("alice".to_owned()) }));
        assert_eq!(guard().check(Some(&info), &metadata), Err(PeerRefusal::NoNode));
    }

    #[test]
    fn another_cluster_is_refused_whether_certificate_or_metadata_say_so() {
        let mut foreign = identity(2, 12);
        foreign.cluster = ClusterId::from_bytes([9; 16]);
        let refusal = guard().check(Some(&connection(2)), &call(&foreign, Some(11)));
        assert!(matches!(refusal, Err(PeerRefusal::OtherCluster { .. })), "{refusal:?}");

        let mut info = connection(2);
        info.identity = Some(Arc::new(PeerIdentity::node(foreign.cluster, node(2))));
        let refusal = guard().check(Some(&info), &call(&identity(2, 12), Some(11)));
        assert!(matches!(refusal, Err(PeerRefusal::OtherCluster { .. })), "{refusal:?}");
    }

    #[test]
    fn a_node_that_claims_to_be_another_is_refused() {
        let refusal = guard().check(Some(&connection(3)), &call(&identity(2, 12), Some(11)));
        assert_eq!(refusal, Err(PeerRefusal::OtherNode { said: node(2), proven: node(3) }));
    }

    #[test]
    fn a_node_that_lost_its_directory_is_refused_and_refuses() {
        let refusal = guard().check(Some(&connection(2)), &call(&identity(2, 99), Some(11)));
        assert!(matches!(refusal, Err(PeerRefusal::OtherDirectory { .. })), "{refusal:?}");
        let refusal = guard().check(Some(&connection(2)), &call(&identity(2, 12), Some(10)));
        assert!(matches!(refusal, Err(PeerRefusal::NotThisDirectory { .. })), "{refusal:?}");
    }

    #[test]
    fn absent_repeated_and_malformed_metadata_are_refused_by_name() {
        let whole = call(&identity(2, 12), Some(11));
        for name in [CLUSTER, FROM_NODE, FROM_INCARNATION, TO_INCARNATION] {
            let refused = Err(PeerRefusal::Metadata { name });
            let mut metadata = whole.clone();
            metadata.remove(name);
            assert_eq!(guard().check(Some(&connection(2)), &metadata), refused);
            metadata.insert(name, "x".parse().unwrap());
            assert_eq!(guard().check(Some(&connection(2)), &metadata), refused);
            let mut metadata = whole.clone();
            metadata.append(name, whole.get(name).unwrap().clone());
            assert_eq!(guard().check(Some(&connection(2)), &metadata), refused);
        }
    }

    #[test]
    fn members_alone_are_let_in_and_any_node_before_there_is_a_membership() {
        let refusal = guard().check(Some(&connection(3)), &call(&identity(3, 13), Some(11)));
        assert_eq!(refusal, Err(PeerRefusal::NoMember { node: node(3) }));
        let origin = guard().check(Some(&connection(2)), &call(&identity(2, 12), Some(11)));
        assert_eq!(origin.unwrap().node, node(2));
        let refusal = guard().check(Some(&connection(4)), &call(&identity(4, 14), Some(11)));
        assert_eq!(refusal, Err(PeerRefusal::NotBound { node: node(4) }));
        let fresh = PeerGuard::new(identity(1, 11), KnownMembers::default());
        let origin = fresh.check(Some(&connection(3)), &call(&identity(3, 13), Some(11)));
        assert_eq!(origin.unwrap().incarnation, Incarnation::from_bytes([13; 16]));
        let mut open = guard();
        open.target_required = false;
        for (id, directory) in [(2, 12), (4, 14)] {
            open.check(Some(&connection(id)), &call(&identity(id, directory), None)).unwrap();
        }
    }
}
