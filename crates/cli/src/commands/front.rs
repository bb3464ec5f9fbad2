//! `strongroom front`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use strongroom_front::config::{Config, Sources};

use crate::{commands::DONE, output::Output};

#[derive(Args)]
#[command(after_help = "\
A flag beats the environment (STRONGROOM_FRONT__SECTION__KEY), which beats the file.

Exit codes:
  0   clean shutdown
  1   the configuration can't be used, or the front can't start

Signals: TERM and INT drain and end; a second one ends at once. HUP reloads certificates.

Examples:
  strongroom front --config /etc/strongroom-front/strongroom-front.toml
  strongroom front --config front-1.toml --check-config
  strongroom front --config front-1.toml --nodes kms-1:7400,kms-2:7400,kms-3:7400")]
pub(crate) struct FrontArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "STRONGROOM_FRONT_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Check configuration and certificates, and end
    #[arg(long)]
    check_config: bool,
    /// Client addresses of the nodes, with commas between them
    #[arg(long, value_name = "HOST:PORT,…")]
    nodes: Option<String>,
    /// Address for callers (gRPC)
    #[arg(long, value_name = "IP:PORT")]
    listen_client: Option<String>,
    /// Address for metrics and health (HTTP)
    #[arg(long, value_name = "IP:PORT")]
    listen_monitor: Option<String>,
    /// Log filter, as info or info,access=off
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
    /// Form of log lines: auto, human, json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other key of the configuration, as section.key=value. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::context::pair)]
    set: Vec<(String, String)>,
}

impl FrontArgs {
    fn sources(&self) -> Sources {
        let flags = [
            ("nodes", &self.nodes),
            ("listen.client", &self.listen_client),
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

pub(crate) fn run(args: &FrontArgs, output: Output) -> anyhow::Result<u8> {
    let config = Config::load(&args.sources()).with_context(|| match &args.config {
        Some(path) => format!("the configuration {} can't be used", path.display()),
        None => "the configuration can't be used (no file is given: --config)".to_owned(),
    })?;
    if args.check_config {
        strongroom_front::check(&config).context("the front could not start")?;
        return checked(&config, output);
    }
    let code = strongroom_front::run_blocking(config);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn checked(config: &Config, output: Output) -> anyhow::Result<u8> {
    #[derive(Serialize)]
    struct Checked {
        valid: bool,
        cluster_id: String,
        nodes: usize,
    }
    let checked = Checked {
        valid: true,
        cluster_id: config.cluster.id.to_string(),
        nodes: config.nodes.len(),
    };
    if output.is_json() {
        output.json(&checked)?;
    } else {
        output.say(format!(
            "The configuration is valid: a front before {} node addresses of cluster {}.",
            checked.nodes, checked.cluster_id
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
        let line = ["strongroom", "front", "--nodes", "a:1,b:2", "--set", "nodes=c:3"];
        let Command::Front(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not the front");
        };
        let overrides = args.sources().overrides;
        assert_eq!(overrides.last(), Some(&("nodes".to_owned(), "a:1,b:2".to_owned())));
    }
}
