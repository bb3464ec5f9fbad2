//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{commands, output::Format};

/// Self-hosted key management: keys that never leave, unsealed by a quorum of
/// operators.
#[derive(Parser)]
#[command(
    name = "strongroom",
    version,
    max_term_width = 100,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with `strongroom dev`, or with `strongroom tls init --help` for a cluster.",
    after_long_help = "\
Exit codes:
  0  done
  1  refused, failed or misused
  2  `status` only: a node is not unsealed

Start with:
  strongroom dev                         a throw-away server for a laptop
  strongroom tls init --dir pki --nodes 3 --write-config
                                         certificates and configuration of a cluster
  strongroom server --config pki/node-1.toml
  strongroom init --shares 5 --threshold 3
  strongroom unseal"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command that talks to a cluster. A flag beats its
/// environment variable, which beats the profile, which beats the default.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct GlobalArgs {
    /// Addresses of nodes, host:port; tried in turn [env: STRONGROOM_ADDRESS]
    #[arg(long, global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) address: Vec<String>,
    /// CA certificate that nodes are verified against, PEM [env: STRONGROOM_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Client or operator certificate, PEM [env: STRONGROOM_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of that certificate, PEM [env: STRONGROOM_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// File that holds the token; the token itself may stand in STRONGROOM_TOKEN
    /// [env: STRONGROOM_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Profile of the configuration file to take the rest from [env: STRONGROOM_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Seconds that a call may take [default: 10] [env: STRONGROOM_TIMEOUT]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
    /// How results and errors are shown [default: table] [env: STRONGROOM_OUTPUT]
    #[arg(long, short, global = true, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) output: Option<Format>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a node
    Server(commands::server::ServerArgs),
    /// Run a front: balances requests over the nodes that serve
    Front(commands::front::FrontArgs),
    /// Run one unsealed node for development; never for production
    Dev(commands::dev::DevArgs),
    /// Form the cluster: make its root key and split it into shares
    Init(commands::init::InitArgs),
    /// Give one share to every node
    Unseal(commands::unseal::UnsealArgs),
    /// Seal nodes: wipe every secret from their memory
    Seal(commands::unseal::SealArgs),
    /// Show the state of every node; exit code 0 unsealed, 2 not, 1 error
    Status,
    /// Manage keys
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Make a data key: plaintext to use, ciphertext to keep
    DataKey(commands::crypto::DataKeyArgs),
    /// Encrypt up to 4,096 bytes
    Encrypt(commands::crypto::EncryptArgs),
    /// Decrypt a ciphertext; it names its key itself
    Decrypt(commands::crypto::DecryptArgs),
    /// Decrypt and encrypt under another key, inside the cluster
    ReEncrypt(commands::crypto::ReEncryptArgs),
    /// Encrypt and decrypt files and streams of any size
    #[command(subcommand)]
    File(commands::file::FileCommand),
    /// Random bytes from the cluster
    Random(commands::crypto::RandomArgs),
    /// Manage bearer tokens
    #[command(subcommand)]
    Token(commands::token::TokenCommand),
    /// Give roles to principals and take them away
    #[command(subcommand)]
    Role(commands::token::RoleCommand),
    /// Show who the cluster takes you for
    Whoami,
    /// Read the audit log
    #[command(subcommand)]
    Audit(commands::audit::AuditCommand),
    /// Look after the cluster
    #[command(subcommand)]
    Cluster(commands::cluster::ClusterCommand),
    /// Make certificates with a development CA
    #[command(subcommand)]
    Tls(commands::tls::TlsCommand),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Reads the command line.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&command().try_get_matches()?)
    }
}

/// The command line, with the connection options hidden from the help of
/// commands that make no connection.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    // Gives the global options to the subcommands, where they can be hidden.
    command.build();
    for name in ["server", "front", "dev", "tls", "completions"] {
        command = command.mut_subcommand(name, without_connection);
    }
    command
}

fn without_connection(command: clap::Command) -> clap::Command {
    let names: Vec<_> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let hidden = command.mut_args(|argument| {
        let unused = argument.is_global_set() && argument.get_id() != "output";
        let hidden = unused || argument.is_hide_set();
        argument.hide(hidden)
    });
    names.into_iter().fold(hidden, |command, name| command.mut_subcommand(name, without_connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let secret = ["token", "share", "plaintext", "password", "secret"];
                assert!(!secret.contains(&name), "--{name} of {}", command.get_name());
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn connection_options_are_taken_before_and_after_the_command() {
        let before = Cli::try_parse_from(["strongroom", "--address", "a:1,b:2", "status"]).unwrap();
        assert_eq!(before.global.address, ["a:1", "b:2"]);
        let after =
            Cli::try_parse_from(["strongroom", "status", "--address", "a:1", "--address", "b:2"])
                .unwrap();
        assert_eq!(after.global.address, ["a:1", "b:2"]);
    }
}
