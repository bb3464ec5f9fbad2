//! From configured addresses to nodes: names are resolved, and again from time
//! to time.

use std::{collections::BTreeMap, fmt, future::Future, io, net::SocketAddr, sync::Arc};

use futures::future::{BoxFuture, FutureExt as _};

use crate::address::Address;

type Lookup = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// How a name becomes addresses.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

impl Resolver {
    /// A resolver of one's own: of SRV records, of a service registry.
    pub fn new<F>(lookup: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |host, port| lookup(host, port).boxed()))
    }

    /// The operating system's.
    #[must_use]
    pub fn system() -> Self {
        Self::new(
            |host, port| async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) },
        )
    }

    pub(crate) async fn lookup(&self, address: &Address) -> io::Result<Vec<SocketAddr>> {
        (self.0)(address.host().to_owned(), address.port()).await
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// What the configured addresses stand for.
#[derive(Debug)]
pub(crate) struct Names {
    configured: Vec<Address>,
    /// The newest answer for each name that ever had one.
    known: BTreeMap<String, Vec<SocketAddr>>,
}

impl Names {
    pub(crate) fn new(configured: Vec<Address>) -> Self {
        Self { configured, known: BTreeMap::new() }
    }

    /// Configured addresses that are names.
    pub(crate) fn to_resolve(&self) -> Vec<Address> {
        self.configured.iter().filter(|address| !address.is_ip()).cloned().collect()
    }

    /// Takes an answer; an empty one is none. Where a name is not resolved any
    /// more, the answer before it holds.
    pub(crate) fn resolved(&mut self, name: &Address, answer: Vec<SocketAddr>) {
        if !answer.is_empty() {
            self.known.insert(name.to_string(), answer);
        }
    }

    /// The nodes, each once, in the order of the configuration; `most` of them
    /// at most.
    ///
    /// Each address of a name that has several is taken for a node. A name with
    /// one address, or none so far, stays a name: it is resolved at each dial.
    pub(crate) fn nodes(&self, most: usize) -> Vec<Address> {
        let mut nodes: Vec<Address> = Vec::new();
        for address in &self.configured {
            let several = match self.known.get(&address.to_string()) {
                Some(known) if known.len() > 1 => known.iter().map(|at| (*at).into()).collect(),
                _ => vec![address.clone()],
            };
            for node in several {
                if nodes.len() < most && !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(configured: &[&str]) -> Names {
        Names::new(configured.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn nodes(names: &Names) -> Vec<String> {
        names.nodes(64).iter().map(ToString::to_string).collect()
    }

    fn answer(of: &[&str]) -> Vec<SocketAddr> {
        of.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_stands_for_each_of_its_addresses_and_each_node_is_there_once() {
        let mut names = names(&["kms", "10.0.0.2", "one:1"]);
        assert_eq!(nodes(&names), ["kms:7400", "10.0.0.2:7400", "one:1"]);
        names.resolved(&"kms".parse().unwrap(), answer(&["10.0.0.1:7400", "10.0.0.2:7400"]));
        names.resolved(&"one:1".parse().unwrap(), answer(&["[2001:db8::1]:1"]));
        assert_eq!(nodes(&names), ["10.0.0.1:7400", "10.0.0.2:7400", "one:1"]);
        assert_eq!(names.nodes(1).len(), 1);
    }

    #[test]
    fn a_name_that_is_not_resolved_any_more_keeps_its_nodes() {
        let mut names = names(&["kms"]);
        let kms = "kms".parse().unwrap();
        names.resolved(&kms, answer(&["10.0.0.1:7400", "10.0.0.2:7400"]));
        names.resolved(&kms, Vec::new());
        assert_eq!(names.nodes(64).len(), 2);
    }
}
