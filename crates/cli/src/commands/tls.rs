//! `strongroom tls`: certificates by a development CA.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use strongroom_client::{ClusterId, NodeId, limits};
use strongroom_node::tls::{DevelopmentCa, IssuedFiles, Names, Validity};

use crate::{
    commands::DONE,
    files::{self, Existing, Privacy},
    output::Output,
};

mod config;

#[derive(Subcommand)]
pub(crate) enum TlsCommand {
    /// Make a CA, the identity of a cluster, and certificates for its nodes
    Init(InitArgs),
    /// Issue a certificate for one more node
    Node(NodeArgs),
    /// Issue a certificate for a front
    Front(FrontArgs),
    /// Issue a certificate for an application
    Client(PersonArgs),
    /// Issue a certificate for an operator: what `init` needs
    Operator(PersonArgs),
}

#[derive(Args)]
#[command(after_help = "\
The CA's key lies in DIR unprotected: whoever reads it can pose as any node or operator. In
production let your own CA issue certificates with these identities as URI names:
  strongroom://cluster/CLUSTER-ID/node/NODE-ID
  strongroom://cluster/CLUSTER-ID/operator/NAME
  strongroom://cluster/CLUSTER-ID/client/NAME
  strongroom://cluster/CLUSTER-ID/front/NAME

Examples:
  strongroom tls init --dir pki --nodes 3 --write-config
  strongroom tls init --dir pki --addresses kms-1.example.com,kms-2.example.com,kms-3.example.com")]
pub(crate) struct InitArgs {
    /// Directory to write to; made where it is not there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How many nodes, 1 to 9 [default: as many as addresses, else 3]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=limits::MEMBERS_MAX as u64))]
    nodes: Option<u64>,
    /// Names of the nodes, in order [default: node-1, node-2 …]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,
    /// Hosts of the nodes, in order [default: this machine, for all of them]
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    addresses: Vec<String>,
    /// Write node-N.toml for each node and client.toml with profiles, too
    #[arg(long)]
    write_config: bool,
    /// Port of the first node for callers; the ports for members and monitors follow it, and on
    /// one machine each further node's are ten higher
    #[arg(long, value_name = "PORT", default_value_t = config::PORT,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(config::PORT_MAX)))]
    port: u16,
    /// Days that the certificates of nodes, operator and client are valid
    #[arg(long, value_name = "DAYS", default_value_t = Validity::LEAF_DAYS)]
    days: u32,
}

#[derive(Args)]
pub(crate) struct NodeArgs {
    /// Directory of the CA, as `tls init` made it
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Id of the node; never one that was used before
    #[arg(long, value_name = "ID")]
    id: u64,
    /// Host names and addresses under which it is reached
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    addresses: Vec<String>,
    /// Days that it is valid
    #[arg(long, value_name = "DAYS", default_value_t = Validity::LEAF_DAYS)]
    days: u32,
}

#[derive(Args)]
pub(crate) struct FrontArgs {
    /// Directory of the CA, as `tls init` made it
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Name of the front
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Host names and addresses under which callers reach it
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    addresses: Vec<String>,
    /// Days that it is valid
    #[arg(long, value_name = "DAYS", default_value_t = Validity::LEAF_DAYS)]
    days: u32,
}

#[derive(Args)]
pub(crate) struct PersonArgs {
    /// Directory of the CA, as `tls init` made it
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Whom it is for
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Days that it is valid
    #[arg(long, value_name = "DAYS", default_value_t = Validity::LEAF_DAYS)]
    days: u32,
}

pub(crate) fn run(command: &TlsCommand, output: Output) -> anyhow::Result<u8> {
    match command {
        TlsCommand::Init(args) => show_init(output, args, &init(args)?)?,
        TlsCommand::Node(args) => {
            let ca = DevelopmentCa::load(&args.dir)?;
            let id = NodeId::new(args.id)?;
            let names = host_names(&args.addresses);
            let issued = ca.issue_node(&args.dir, id, &names, validity(args.days)?)?;
            show(output, &issued)?;
        }
        TlsCommand::Front(args) => {
            let ca = DevelopmentCa::load(&args.dir)?;
            let (names, valid) = (host_names(&args.addresses), validity(args.days)?);
            show(output, &ca.issue_front(&args.dir, &args.name, &names, valid)?)?;
        }
        TlsCommand::Client(args) => {
            let ca = DevelopmentCa::load(&args.dir)?;
            show(output, &ca.issue_client(&args.dir, &args.name, validity(args.days)?)?)?;
        }
        TlsCommand::Operator(args) => {
            let ca = DevelopmentCa::load(&args.dir)?;
            show(output, &ca.issue_operator(&args.dir, &args.name, validity(args.days)?)?)?;
        }
    }
    Ok(DONE)
}

/// A node to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    /// Host; none: this machine.
    pub(crate) host: Option<String>,
}

/// What `tls init` made.
struct Made {
    cluster: ClusterId,
    nodes: Vec<Node>,
    files: Vec<PathBuf>,
}

fn init(args: &InitArgs) -> anyhow::Result<Made> {
    let nodes = nodes(args.nodes, &args.names, &args.addresses)?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("the system gives no random bytes")?;
    let ca_validity = Validity::days(SystemTime::now(), Validity::CA_DAYS);
    let ca = DevelopmentCa::create(&args.dir, ClusterId::from_random(random), ca_validity)?;
    let valid = validity(args.days)?;
    let mut written = vec![args.dir.join("ca.pem"), args.dir.join("ca-key.pem")];
    for node in &nodes {
        let names = host_names(&Vec::from_iter(node.host.clone()));
        let issued = ca.issue_node(&args.dir, node.id, &names, valid)?;
        written.extend([issued.cert, issued.key]);
    }
    for (issued, name) in [
        (ca.issue_operator(&args.dir, "operator", valid)?, "operator"),
        (ca.issue_client(&args.dir, "client", valid)?, "client"),
    ] {
        let issued = rename(&args.dir, &issued, name)?;
        written.extend([issued.cert, issued.key]);
    }
    written.push(write_identity(&args.dir, ca.cluster())?);
    if args.write_config {
        for (name, text) in config::files(ca.cluster(), &nodes, args.port) {
            let path = args.dir.join(name);
            files::write(&path, text.as_bytes(), Privacy::Usual, Existing::Refuse)?;
            written.push(path);
        }
    }
    Ok(Made { cluster: ca.cluster(), nodes, files: written })
}

/// The nodes that the arguments describe.
fn nodes(count: Option<u64>, names: &[String], addresses: &[String]) -> anyhow::Result<Vec<Node>> {
    let given = addresses.len().max(names.len()) as u64;
    let count = count.unwrap_or(if given == 0 { 3 } else { given });
    if count > limits::MEMBERS_MAX as u64 {
        bail!("a cluster has at most {} nodes", limits::MEMBERS_MAX);
    }
    for (list, what) in [(names, "names"), (addresses, "addresses")] {
        if !list.is_empty() && list.len() as u64 != count {
            bail!("{} {what} for {count} nodes", list.len());
        }
    }
    (1..=count)
        .map(|id| {
            let index = id as usize - 1;
            let host = addresses.get(index).cloned();
            if let Some(host) = host.as_deref() {
                let checked =
                    format!("{}:1", bracketed(host)).parse::<strongroom_client::Address>();
                checked.with_context(|| format!("{host:?} is no host name or IP address"))?;
            }
            let name = names.get(index).cloned().unwrap_or_else(|| format!("node-{id}"));
            Ok(Node { id: NodeId::new(id)?, name, host })
        })
        .collect()
}

/// A host as it stands before a port: an IPv6 address in brackets.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Names for clients that check them, `localhost` where none are given.
fn host_names(hosts: &[String]) -> Names {
    let mut names = Names::default();
    if hosts.is_empty() {
        names.dns.push("localhost".to_owned());
        names
            .ips
            .extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)]);
    }
    for host in hosts {
        match host.parse() {
            Ok(ip) => names.ips.push(ip),
            Err(_) => names.dns.push(host.clone()),
        }
    }
    names
}

fn validity(days: u32) -> anyhow::Result<Validity> {
    if !(1..=Validity::CA_DAYS).contains(&days) {
        bail!("--days must be from 1 to {}", Validity::CA_DAYS);
    }
    Ok(Validity::days(SystemTime::now(), days))
}

/// Gives the first operator's and client's files their short names.
fn rename(folder: &Path, issued: &IssuedFiles, name: &str) -> anyhow::Result<IssuedFiles> {
    let cert = folder.join(format!("{name}.pem"));
    let key = folder.join(format!("{name}-key.pem"));
    files::refuse_existing([&cert, &key], Existing::Refuse)?;
    for (from, to) in [(&issued.key, &key), (&issued.cert, &cert)] {
        fs::rename(from, to).with_context(|| format!("can't write {}", to.display()))?;
    }
    Ok(IssuedFiles { cert, key })
}

fn write_identity(folder: &Path, cluster: ClusterId) -> anyhow::Result<PathBuf> {
    #[derive(Serialize)]
    struct Identity {
        cluster_id: String,
    }
    let path = folder.join("cluster.json");
    let identity = Identity { cluster_id: cluster.to_string() };
    let text = format!("{}\n", serde_json::to_string_pretty(&identity)?);
    files::write(&path, text.as_bytes(), Privacy::Usual, Existing::Refuse)?;
    Ok(path)
}

fn show(output: Output, issued: &IssuedFiles) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Issued<'a> {
        certificate: &'a Path,
        key: &'a Path,
    }
    if output.is_json() {
        return output.json(&Issued { certificate: &issued.cert, key: &issued.key });
    }
    output.say(format!("certificate: {}", issued.cert.display()))?;
    output.say(format!("private key: {}", issued.key.display()))
}

fn show_init(output: Output, args: &InitArgs, made: &Made) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        cluster_id: String,
        files: &'a [PathBuf],
    }
    if output.is_json() {
        let cluster_id = made.cluster.to_string();
        return output.json(&Document { cluster_id, files: &made.files });
    }
    output.say(format!("cluster id: {}", made.cluster))?;
    for path in &made.files {
        output.say(format!("  {}", path.display()))?;
    }
    eprintln!(
        "\nWhoever reads {} can pose as any node or operator: keep it off the nodes.",
        args.dir.join("ca-key.pem").display()
    );
    if args.write_config {
        eprintln!("Next:");
        for node in &made.nodes {
            let path = args.dir.join(format!("node-{}.toml", node.id));
            eprintln!("  strongroom server --config {}", path.display());
        }
        let path = args.dir.join("client.toml");
        eprintln!("  export STRONGROOM_CLIENT_CONFIG={}", absolute(&path).display());
        eprintln!("  strongroom --profile operator init --shares 5 --threshold 3");
    }
    Ok(())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_and_addresses_must_fit_the_number_of_nodes() {
        assert!(nodes(Some(3), &texts(&["a"]), &[]).is_err());
        assert!(nodes(Some(2), &[], &texts(&["a", "b", "c"])).is_err());
        assert!(nodes(None, &texts(&["a", "b"]), &texts(&["a"])).is_err());
        assert!(nodes(None, &[], &texts(&["https://a"])).is_err());
        assert!(nodes(None, &[], &vec!["h".to_owned(); 10]).is_err());
    }

    #[test]
    fn three_nodes_on_this_machine_are_the_default() {
        let nodes = nodes(None, &[], &[]).unwrap();
        assert_eq!(nodes.len(), 3);
        assert_eq!((nodes[2].name.as_str(), &nodes[2].host), ("node-3", &None));
    }

    #[test]
    fn hosts_become_names_or_addresses() {
        let names = host_names(&texts(&["kms.example.com", "10.0.0.1", "::1"]));
        assert_eq!(names.dns, ["kms.example.com"]);
        assert_eq!(names.ips.len(), 2);
    }

    #[test]
    fn nothing_is_made_twice_in_one_directory() {
        let folder = tempfile::tempdir().unwrap();
        let args = InitArgs {
            dir: folder.path().to_owned(),
            nodes: Some(1),
            names: vec![],
            addresses: vec![],
            write_config: true,
            port: config::PORT,
            days: 30,
        };
        init(&args).unwrap();
        let ca = fs::read(folder.path().join("ca.pem")).unwrap();
        assert!(init(&args).is_err());
        assert_eq!(fs::read(folder.path().join("ca.pem")).unwrap(), ca);
        for name in ["node-1.pem", "operator-key.pem", "client.pem", "cluster.json", "node-1.toml"]
        {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
    }
}
