//! The directory of a development server.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use strongroom_client::{ClusterId, NodeId};
use strongroom_node::tls::{DevelopmentCa, Names, Validity};

use crate::files::{self, Existing, Privacy};

/// The directory, and what lies where in it.
pub(crate) struct Home(PathBuf);

/// Where the node listens, as it tells after its start.
#[derive(Deserialize)]
pub(crate) struct Endpoints {
    pub(crate) client: String,
    pub(crate) monitor: String,
    pid: u32,
}

impl Home {
    /// Makes what is missing in `folder` and writes the node's configuration.
    ///
    /// # Errors
    ///
    /// When the directory holds something else, or can't be written.
    pub(crate) fn prepare(
        folder: &Path,
        listen: SocketAddr,
        monitor: SocketAddr,
        log_level: &str,
    ) -> anyhow::Result<Self> {
        files::private_directory(folder)?;
        let folder = fs::canonicalize(folder)
            .with_context(|| format!("can't open the directory {}", folder.display()))?;
        let home = Self(folder);
        let ca = home.certificates()?;
        home.write_node_config(ca.cluster(), listen, monitor, log_level)?;
        // A leftover of an earlier run would send us to its ports.
        match fs::remove_file(home.endpoints_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("can't remove the endpoints of an earlier run")
            }
            _ => Ok(home),
        }
    }

    /// Loads the CA, or makes it with a node's and an operator's certificate.
    fn certificates(&self) -> anyhow::Result<DevelopmentCa> {
        let folder = self.0.join("tls");
        if folder.exists() {
            return Ok(DevelopmentCa::load(&folder)?);
        }
        if fs::read_dir(&self.0)?.next().is_some() {
            bail!(
                "{} is not empty, and no development server made it: give another directory",
                self.0.display()
            );
        }
        // All certificates or none: an interrupted start leaves another name.
        let making = tempfile::tempdir_in(&self.0).context("can't make a directory")?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).context("the system gives no random bytes")?;
        let valid = Validity::days(SystemTime::now(), Validity::CA_DAYS);
        let ca = DevelopmentCa::create(making.path(), ClusterId::from_random(random), valid)?;
        let names = Names {
            dns: vec!["localhost".to_owned()],
            ips: vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()],
        };
        ca.issue_node(making.path(), NodeId::new(1)?, &names, valid)?;
        ca.issue_operator(making.path(), "developer", valid)?;
        fs::rename(making.keep(), &folder).context("can't name the certificates' directory")?;
        Ok(DevelopmentCa::load(&folder)?)
    }

    fn write_node_config(
        &self,
        cluster: ClusterId,
        listen: SocketAddr,
        monitor: SocketAddr,
        log_level: &str,
    ) -> anyhow::Result<()> {
        let peer = free_address()?;
        let text = format!(
            "data_dir = \"data\"\n\
             [node]\nid = 1\nname = \"dev\"\n\
             [cluster]\nid = \"{cluster}\"\n\
             [[cluster.members]]\nid = 1\nname = \"dev\"\naddress = \"{peer}\"\n\
             [listen]\nclient = \"{listen}\"\npeer = \"{peer}\"\nmonitor = \"{monitor}\"\n\
             [tls]\n\
             certificate = \"tls/node-1.pem\"\nkey = \"tls/node-1-key.pem\"\nca = \"tls/ca.pem\"\n\
             [log]\nlevel = {}\n",
            toml::Value::from(log_level)
        );
        files::write(&self.node_config(), text.as_bytes(), Privacy::Usual, Existing::Replace)
    }

    /// Where this process's node listens; `None` until it says so.
    pub(crate) fn endpoints(&self) -> anyhow::Result<Option<Endpoints>> {
        let text = match fs::read(self.endpoints_file()) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("can't read the node's endpoints"),
        };
        let endpoints: Endpoints =
            serde_json::from_slice(&text).context("the node's endpoints can't be read")?;
        Ok((endpoints.pid == std::process::id()).then_some(endpoints))
    }

    /// Writes profiles `user` (the default one) and `administrator`.
    pub(crate) fn write_profiles(&self, address: &str) -> anyhow::Result<()> {
        let profile = |name: &str, token: &str| {
            format!(
                "\n[profiles.{name}]\naddress = [\"{address}\"]\nca = \"tls/ca.pem\"\n\
                 token_file = \"{token}\"\n"
            )
        };
        let text = format!(
            "# Profiles of a development server.\ndefault_profile = \"user\"\n{}{}",
            profile("user", "user-token.txt"),
            profile("administrator", "administrator-token.txt"),
        );
        files::write(&self.profiles(), text.as_bytes(), Privacy::Usual, Existing::Replace)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn node_config(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    pub(crate) fn profiles(&self) -> PathBuf {
        self.0.join("client.toml")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.0.join("tls").join("ca.pem")
    }

    /// The operator's certificate and key.
    pub(crate) fn operator(&self) -> (PathBuf, PathBuf) {
        let folder = self.0.join("tls");
        (folder.join("operator-developer.pem"), folder.join("operator-developer-key.pem"))
    }

    pub(crate) fn share(&self) -> PathBuf {
        self.0.join("share.txt")
    }

    pub(crate) fn init_token(&self) -> PathBuf {
        self.0.join("init-token")
    }

    pub(crate) fn administrator_token(&self) -> PathBuf {
        self.0.join("administrator-token.txt")
    }

    pub(crate) fn user_token(&self) -> PathBuf {
        self.0.join("user-token.txt")
    }

    fn endpoints_file(&self) -> PathBuf {
        self.0.join("data").join("endpoints.json")
    }
}

/// A loopback address that was free a moment ago: a lone node is dialled by
/// nobody, but its configuration must name one.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    listener.local_addr().context("no port is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(folder: &Path) -> anyhow::Result<Home> {
        let any = "127.0.0.1:0".parse().unwrap();
        Home::prepare(folder, any, any, "warn")
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "x").unwrap();
        assert!(prepare(folder.path()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_start_finds_the_same_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let ca = |home: &Home| fs::read(home.ca()).unwrap();
        let first = ca(&prepare(folder.path()).unwrap());
        assert_eq!(first, ca(&prepare(folder.path()).unwrap()));
    }

    #[test]
    fn the_endpoints_of_another_process_are_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let home = prepare(folder.path()).unwrap();
        assert!(home.endpoints().unwrap().is_none());
        fs::create_dir(folder.path().join("data")).unwrap();
        let text =
            r#"{"client":"127.0.0.1:1","peer":"127.0.0.1:2","monitor":"127.0.0.1:3","pid":0}"#;
        fs::write(home.endpoints_file(), text).unwrap();
        assert!(home.endpoints().unwrap().is_none());
    }
}
