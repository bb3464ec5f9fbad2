//! `strongroom server`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use strongroom_node::config::{Config, Sources};

use crate::{commands::DONE, output::Output};

#[derive(Args)]
#[command(after_help = "\
A flag beats the environment (STRONGROOM_SERVER__SECTION__KEY), which beats the file.

Exit codes:
  0   clean shutdown
  1   the configuration can't be used, or the node can't start
  70  a write or sync failed, or the disk hangs
  71  the state is corrupt or differs from the quorum's

Signals: TERM and INT drain, hand leadership over and end; a second one ends at once. HUP reloads
certificates.

Examples:
  strongroom server --config /etc/strongroom/strongroom.toml
  strongroom server --config node-1.toml --check-config
  strongroom server --config node-1.toml --set raft.heartbeat_ms=200")]
pub(crate) struct ServerArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "STRONGROOM_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Check configuration and certificates, and end
    #[arg(long)]
    check_config: bool,
    /// Directory that holds all that the node stores
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// This node's id, as in its certificate
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// Address for callers (gRPC)
    #[arg(long, value_name = "IP:PORT")]
    listen_client: Option<String>,
    /// Address for the other members (gRPC)
    #[arg(long, value_name = "IP:PORT")]
    listen_peer: Option<String>,
    /// Address for metrics and health (HTTP)
    #[arg(long, value_name = "IP:PORT")]
    listen_monitor: Option<String>,
    /// Log filter, as info or strongroom_raft=debug,info
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
    /// Form of log lines: auto, human, json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other key of the configuration, as section.key=value. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::context::pair)]
    set: Vec<(String, String)>,
}

impl ServerArgs {
    fn sources(&self) -> Sources {
        let flags = [
            ("data_dir", &self.data_dir),
            ("node.id", &self.node_id),
            ("listen.client", &self.listen_client),
            ("listen.peer", &self.listen_peer),
            ("listen.monitor", &self.listen_monitor),
            ("log.level", &self.log_level),
            ("log.format", &self.log_format),
        ];
        let named =
            flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let overrides = self.set.iter().cloned().chain(named).collect();
        Sources { file: self.config.clone(), overrides }
    }
}

pub(crate) fn run(args: &ServerArgs, output: Output) -> anyhow::Result<u8> {
    let config = Config::load(&args.sources()).with_context(|| match &args.config {
        Some(path) => format!("the configuration {} can't be used", path.display()),
        None => "the configuration can't be used (no file is given: --config)".to_owned(),
    })?;
    if args.check_config {
        strongroom_node::check(&config).context("the node could not start")?;
        return checked(&config, output);
    }
    let code = strongroom_node::run_blocking(config);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn checked(config: &Config, output: Output) -> anyhow::Result<u8> {
    #[derive(Serialize)]
    struct Checked {
        valid: bool,
        node_id: u64,
        cluster_id: String,
        members: usize,
    }
    let checked = Checked {
        valid: true,
        node_id: config.node.id.value(),
        cluster_id: config.cluster.id.to_string(),
        members: config.cluster.members.len(),
    };
    if output.is_json() {
        output.json(&checked)?;
    } else {
        output.say(format!(
            "The configuration is valid: node {} of {} in cluster {}.",
            checked.node_id, checked.members, checked.cluster_id
        ))?;
    }
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Cli, Command};

    #[test]
    fn a_named_flag_comes_after_set_and_so_wins() {
        let line = ["strongroom", "server", "--data-dir", "/a", "--set", "data_dir=/b"];
        let Command::Server(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not the server");
        };
        let overrides = args.sources().overrides;
        assert_eq!(overrides.last(), Some(&("data_dir".to_owned(), "/a".to_owned())));
    }
}
