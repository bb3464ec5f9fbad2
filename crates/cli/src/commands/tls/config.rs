//! Configuration files for a cluster that `tls init` made.

use std::fmt::Write as _;

use strongroom_client::ClusterId;

use super::{Node, bracketed};

/// Port for callers on the first node, where none is given.
pub(crate) const PORT: u16 = 7400;
/// How much higher the ports of each further node on one machine are.
const STEP: u16 = 10;
/// Highest port for callers that leaves room for all others.
pub(crate) const PORT_MAX: u16 = u16::MAX - 9 * STEP;

/// Ports of the first node.
#[derive(Clone, Copy)]
struct Ports {
    client: u64,
    peer: u64,
    monitor: u64,
}

/// Names and texts of the files: one for each node, and client profiles. `port`
/// is the first node's for callers; the other ports follow it.
pub(crate) fn files(cluster: ClusterId, nodes: &[Node], port: u16) -> Vec<(String, String)> {
    let client = u64::from(port);
    let ports = Ports { client, peer: client + 1, monitor: client + 2 };
    let mut files: Vec<_> = nodes
        .iter()
        .map(|node| (format!("node-{}.toml", node.id), node_config(cluster, node, nodes, ports)))
        .collect();
    files.push(("client.toml".to_owned(), profiles(nodes, ports)));
    files
}

fn node_config(cluster: ClusterId, node: &Node, nodes: &[Node], ports: Ports) -> String {
    let mut text = format!(
        "# Node {id} of cluster {cluster}.\n\
         # Relative paths are relative to this file.\n\
         data_dir = \"data-{id}\"\n\n\
         [node]\n\
         id = {id}\n\
         name = {name}\n\n\
         [cluster]\n\
         # As in every certificate of the cluster.\n\
         id = \"{cluster}\"\n",
        id = node.id,
        name = quoted(&node.name),
    );
    for member in nodes {
        let address = address(member, ports.peer);
        write!(
            text,
            "\n[[cluster.members]]\nid = {}\nname = {}\naddress = {}\n",
            member.id,
            quoted(&member.name),
            quoted(&address)
        )
        .expect("writing to a string can't fail");
    }
    let listen = |port: u64| match node.host {
        Some(_) => format!("0.0.0.0:{port}"),
        None => address(node, port),
    };
    let monitor = match node.host {
        Some(_) => format!("127.0.0.1:{}", ports.monitor),
        None => address(node, ports.monitor),
    };
    write!(
        text,
        "\n[listen]\n\
         # Callers, gRPC.\n\
         client = \"{}\"\n\
         # The other members, gRPC.\n\
         peer = \"{}\"\n\
         # Metrics and health, HTTP.\n\
         monitor = \"{monitor}\"\n\n\
         [tls]\n\
         certificate = \"node-{id}.pem\"\n\
         key = \"node-{id}-key.pem\"\n\
         ca = \"ca.pem\"\n",
        listen(ports.client),
        listen(ports.peer),
        id = node.id,
    )
    .expect("writing to a string can't fail");
    text
}

fn profiles(nodes: &[Node], ports: Ports) -> String {
    let addresses: Vec<_> = nodes.iter().map(|node| quoted(&address(node, ports.client))).collect();
    let addresses = addresses.join(", ");
    format!(
        "# Profiles for the command line: export STRONGROOM_CLIENT_CONFIG=<this file>\n\
         # Relative paths are relative to this file.\n\
         [profiles.default]\n\
         address = [{addresses}]\n\
         ca = \"ca.pem\"\n\n\
         # Forms the cluster, and seals nodes without a token.\n\
         [profiles.operator]\n\
         address = [{addresses}]\n\
         ca = \"ca.pem\"\n\
         cert = \"operator.pem\"\n\
         key = \"operator-key.pem\"\n"
    )
}

/// Where others reach the node: its host, or its own ports on this machine.
fn address(node: &Node, port: u64) -> String {
    match &node.host {
        Some(host) => format!("{}:{port}", bracketed(host)),
        None => format!("127.0.0.1:{}", port + u64::from(STEP) * (node.id.value() - 1)),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use strongroom_client::NodeId;

    use super::*;

    fn node(id: u64, host: Option<&str>) -> Node {
        let id = NodeId::new(id).unwrap();
        Node { id, name: format!("n\"{id}"), host: host.map(str::to_owned) }
    }

    fn parsed(nodes: &[Node], index: usize) -> toml::Table {
        let cluster = ClusterId::from_random([7; 16]);
        files(cluster, nodes, PORT)[index].1.parse().unwrap()
    }

    #[test]
    fn nodes_on_one_machine_never_share_a_port() {
        let nodes = [node(1, None), node(2, None)];
        let ports = |index: usize| {
            let listen = parsed(&nodes, index)["listen"].as_table().unwrap().clone();
            listen.values().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ports(0).len(), 3);
        assert!(ports(0).iter().all(|port| !ports(1).contains(port)));
        assert_eq!(parsed(&nodes, 0)["listen"]["client"].as_str(), Some("127.0.0.1:7400"));
    }

    #[test]
    fn every_node_names_all_members_alike() {
        let nodes = [node(1, Some("a.example")), node(2, Some("::2"))];
        let members = |index| parsed(&nodes, index)["cluster"]["members"].to_string();
        assert_eq!(members(0), members(1));
        let first = parsed(&nodes, 0);
        assert_eq!(first["cluster"]["members"][1]["address"].as_str(), Some("[::2]:7401"));
        assert_eq!(first["node"]["name"].as_str(), Some("n\"1"));
    }

    #[test]
    fn the_profiles_can_be_read() {
        let nodes = [node(1, None)];
        let file = parsed(&nodes, 1);
        assert!(file["profiles"]["operator"]["cert"].is_str());
    }
}
