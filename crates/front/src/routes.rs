//! What goes through a front: methods of `strongroom.v1`, read from its own
//! description. Decides only.
//!
//! Calls that act on one node don't: a front picks another node for each. Shares
//! and root key never pass through a front, as nothing of [`Seal`](SEAL) does.

use std::{collections::HashMap, sync::LazyLock};

use http::Uri;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use strongroom_client::balance::Repeat;
use strongroom_wire::{FILE_DESCRIPTOR_SET, v1::CreateKeyRequest};

use crate::message;

/// Package of the services that are routed.
const PACKAGE: &str = "strongroom.v1";
/// The service whose calls act on one node, all of them.
const SEAL: &str = "Seal";
/// Others that act on one node.
const OF_ONE_NODE: &[(&str, &str)] =
    &[("Cluster", "NodeStatus"), ("Cluster", "TransferLeader"), ("Cluster", "TakeSnapshot")];
/// Methods that change something; where the answer to one is lost, its outcome is
/// not known. Uses of keys and reads release nothing that was not answered.
const CHANGES: &[&str] = &[
    "AttachRole",
    "CreateKey",
    "CreateToken",
    "DetachRole",
    "DisableKey",
    "DropEpoch",
    "EnableKey",
    "RevokeToken",
    "RotateBarrier",
];
const CREATE_KEY: &str = "CreateKey";

/// How a method answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// With one message.
    Once,
    /// With a stream of messages.
    Stream,
}

/// A method that is routed.
#[derive(Debug)]
pub(crate) struct Method {
    /// `/strongroom.v1.Service/Method`.
    pub(crate) uri: Uri,
    /// Its name, for logs and labels.
    pub(crate) name: String,
    /// How it answers.
    pub(crate) answers: Answers,
    /// Whether it changes something.
    pub(crate) changes: bool,
    repeat: Repeat,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// To a node.
    Node(&'static Method),
    /// To the front's own health service.
    Health,
    /// To the front's own reflection.
    Reflection,
    /// Nowhere: it acts on one node.
    OneNodeOnly,
    /// Nowhere: there is no such method.
    Unknown,
}

/// The routes of this version.
static ROUTES: LazyLock<HashMap<String, Option<Method>>> = LazyLock::new(routes);

impl Method {
    /// Whether the call may be sent again when it is unknown if it took effect.
    /// `message` is looked at where the path doesn't tell: a key that is created
    /// under a `client_token` is created once.
    pub(crate) fn repeat(&self, message: &[u8]) -> Repeat {
        if self.name != CREATE_KEY {
            return self.repeat;
        }
        match message::plain(message).map(CreateKeyRequest::decode) {
            Some(Ok(request)) if !request.client_token.is_empty() => Repeat::Harmless,
            _ => Repeat::Never,
        }
    }
}

impl Route {
    /// Where `path` leads.
    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with("/grpc.health.v1.Health/") {
            return Self::Health;
        }
        if path.starts_with("/grpc.reflection.v1.ServerReflection/") {
            return Self::Reflection;
        }
        match ROUTES.get(path) {
            Some(Some(method)) => Self::Node(method),
            Some(None) => Self::OneNodeOnly,
            None => Self::Unknown,
        }
    }

    /// Name of the method out of a fixed list: what a caller invents becomes no
    /// label and no line of a log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Node(method) => &method.name,
            Self::Health => "Health",
            Self::Reflection => "Reflection",
            Self::OneNodeOnly => "OneNodeOnly",
            Self::Unknown => "Unknown",
        }
    }
}

fn routes() -> HashMap<String, Option<Method>> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
        .expect("the descriptors were made by our own build");
    let ours = set.file.into_iter().filter(|file| file.package() == PACKAGE);
    let mut routes = HashMap::new();
    for service in ours.flat_map(|file| file.service) {
        for method in &service.method {
            // One message in: what else there may be some day needs thought.
            if method.client_streaming() {
                continue;
            }
            let path = format!("/{PACKAGE}.{}/{}", service.name(), method.name());
            let of_one_node =
                service.name() == SEAL || OF_ONE_NODE.contains(&(service.name(), method.name()));
            let routed = (!of_one_node).then(|| Method {
                repeat: Repeat::of_path(&path),
                uri: path.parse().expect("names of services and methods are made of letters"),
                name: method.name().to_owned(),
                answers: if method.server_streaming() { Answers::Stream } else { Answers::Once },
                changes: CHANGES.contains(&method.name()),
            });
            routes.insert(path, routed);
        }
    }
    routes
}

/// Names of the services that are routed, for health.
pub(crate) fn services() -> Vec<&'static str> {
    let mut names: Vec<&str> = ROUTES
        .iter()
        .filter(|(_, method)| method.is_some())
        .filter_map(|(path, _)| path.trim_start_matches('/').split('/').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(path: &str) -> &'static Method {
        match Route::of(path) {
            Route::Node(method) => method,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn nothing_of_the_seal_and_nothing_for_one_node_is_routed() {
        for path in [
            "/strongroom.v1.Seal/Init",
            "/strongroom.v1.Seal/SubmitShare",
            "/strongroom.v1.Seal/ResetUnseal",
            "/strongroom.v1.Seal/SealNode",
            "/strongroom.v1.Seal/SealStatus",
            "/strongroom.v1.Cluster/NodeStatus",
            "/strongroom.v1.Cluster/TransferLeader",
            "/strongroom.v1.Cluster/TakeSnapshot",
        ] {
            assert!(matches!(Route::of(path), Route::OneNodeOnly), "{path}");
        }
        assert!(!services().contains(&"strongroom.v1.Seal"));
    }

    #[test]
    fn what_is_not_described_leads_nowhere() {
        for path in ["", "/", "/strongroom.v1.Crypto/Invented", "/strongroom.peer.v1.Node/Report"] {
            assert!(matches!(Route::of(path), Route::Unknown), "{path}");
        }
    }

    #[test]
    fn every_method_is_known_to_change_something_or_not() {
        let neither = [
            "Decrypt",
            "DecryptBatch",
            "DescribeKey",
            "Encrypt",
            "GenerateDataKey",
            "GenerateDataKeyWithoutPlaintext",
            "GenerateDataKeys",
            "GenerateRandom",
            "ListEpochs",
            "ListEvents",
            "ListKeys",
            "ListMembers",
            "ListTokens",
            "ReEncrypt",
            "TailEvents",
            "WhoAmI",
        ];
        let mut names: Vec<&str> =
            ROUTES.values().flatten().map(|method| method.name.as_str()).collect();
        names.sort_unstable();
        let mut listed = [&neither[..], CHANGES].concat();
        listed.sort_unstable();
        assert_eq!(names, listed);
    }

    #[test]
    fn only_events_are_a_stream() {
        assert_eq!(method("/strongroom.v1.Audit/TailEvents").answers, Answers::Stream);
        assert_eq!(method("/strongroom.v1.Crypto/Decrypt").answers, Answers::Once);
    }

    #[test]
    fn a_key_is_created_again_only_under_a_client_token() {
        let create = method("/strongroom.v1.Keys/CreateKey");
        let framed = |client_token: &str, compressed: u8| {
            let request =
                CreateKeyRequest { client_token: client_token.to_owned(), ..Default::default() };
            let body = request.encode_to_vec();
            let mut message = vec![compressed];
            message.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
            message.extend(body);
            message
        };
        assert_eq!(create.repeat(&framed("", 0)), Repeat::Never);
        assert_eq!(create.repeat(&framed("once", 0)), Repeat::Harmless);
        assert_eq!(create.repeat(&framed("once", 1)), Repeat::Never);
        let decrypt = method("/strongroom.v1.Crypto/Decrypt");
        assert_eq!(decrypt.repeat(&[]), Repeat::Harmless);
        let token = method("/strongroom.v1.Access/CreateToken");
        assert_eq!(token.repeat(&framed("once", 0)), Repeat::Never);
    }
}
