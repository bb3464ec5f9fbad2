//! The commands, one file for each group.

pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod crypto;
pub(crate) mod dev;
pub(crate) mod file;
pub(crate) mod front;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod server;
pub(crate) mod status;
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod unseal;

use crate::{
    args::{self, Cli, Command},
    connect::with_session,
    output::Output,
    settings::{self, Environment},
};

/// Done.
pub(crate) const DONE: u8 = 0;

/// Runs the command; gives the exit code.
pub(crate) fn run(cli: Cli, environment: &Environment) -> anyhow::Result<u8> {
    let global = &cli.global;
    // Commands that talk to no cluster look at no profile.
    let local = || Output::new(settings::format_before_profile(global, environment));
    match cli.command {
        Command::Server(args) => server::run(&args, local()),
        Command::Front(args) => front::run(&args, local()),
        Command::Dev(args) => dev::run(&args, local()),
        Command::Tls(command) => tls::run(&command, local()),
        Command::Completions { shell } => completions(shell),
        Command::Init(args) => {
            with_session(global, environment, |session| init::run(args, session, environment))
        }
        Command::Unseal(args) => {
            with_session(global, environment, |session| unseal::unseal(args, session))
        }
        Command::Seal(args) => {
            with_session(global, environment, |session| unseal::seal(args, session))
        }
        Command::Status => with_session(global, environment, status::run),
        Command::Key(command) => {
            with_session(global, environment, |session| key::run(command, session))
        }
        Command::DataKey(args) => {
            with_session(global, environment, |session| crypto::data_key(args, session))
        }
        Command::Encrypt(args) => {
            with_session(global, environment, |session| crypto::encrypt(args, session))
        }
        Command::Decrypt(args) => {
            with_session(global, environment, |session| crypto::decrypt(args, session))
        }
        Command::ReEncrypt(args) => {
            with_session(global, environment, |session| crypto::re_encrypt(args, session))
        }
        Command::File(command) => {
            with_session(global, environment, |session| file::run(command, session))
        }
        Command::Random(args) => {
            with_session(global, environment, |session| crypto::random(args, session))
        }
        Command::Token(command) => {
            with_session(global, environment, |session| token::run(command, session))
        }
        Command::Role(command) => {
            with_session(global, environment, |session| token::role(command, session))
        }
        Command::Whoami => with_session(global, environment, token::whoami),
        Command::Audit(command) => {
            with_session(global, environment, |session| audit::run(command, session))
        }
        Command::Cluster(command) => {
            with_session(global, environment, |session| cluster::run(command, session))
        }
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "strongroom", &mut script);
    crate::output::write_all(&script)?;
    Ok(DONE)
}
