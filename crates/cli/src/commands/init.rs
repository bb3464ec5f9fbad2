//! `strongroom init`.

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Serialize;
use strongroom_client::{
    Client, Error,
    proto::{InitRequest, InitResponse},
    reason::{UNREACHABLE, UNTRUSTED_SERVER},
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    commands::DONE,
    connect::Session,
    files::{self, Existing, Privacy},
    output::Output,
    progress::waiting,
    settings::Environment,
};

/// Forming a cluster waits for its first election.
const TIMEOUT_MIN: Duration = Duration::from_secs(30);
/// Time for one more try when there is hardly any left.
const LAST_TRY: Duration = Duration::from_secs(1);
/// Bytes of an init token.
const TOKEN_BYTES: usize = 32;

#[derive(Args)]
#[command(after_help = "\
Needs an operator certificate (--cert, --key) and every configured node running; or, with
--allow-absent, a majority of them, among it the one with the lowest node id. The nodes stay
sealed; unseal them with `strongroom unseal`.

The init token is drawn here and kept in a file: should the answer get lost, the same command
brings new shares until the first unseal. Delete the file after that.

Examples:
  strongroom init --shares 5 --threshold 3
  strongroom init --shares 5 --threshold 3 --share-dir /mnt/ceremony")]
pub(crate) struct InitArgs {
    /// Shares to make, 1 to 255: one for each operator
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=255))]
    shares: u32,
    /// Shares that unseal a node, 2 at least (1 with a single share)
    #[arg(long, value_name = "K", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=255))]
    threshold: u32,
    /// Write each share, and the token, to a file of mode 0600 in this directory
    #[arg(long, value_name = "DIR")]
    share_dir: Option<PathBuf>,
    /// File of the init token; made where it is not there [default: in DIR, else in
    /// ~/.local/state/strongroom]
    #[arg(long, value_name = "FILE")]
    init_token_file: Option<PathBuf>,
    /// Name of the first administrator
    #[arg(long, value_name = "NAME", default_value = "root")]
    administrator: String,
    /// Form the cluster although a minority of its nodes is not running; each takes its place
    /// when it is first started
    #[arg(long)]
    allow_absent: bool,
    /// Print the shares without asking first
    #[arg(long)]
    yes: bool,
    /// Replace existing share files
    #[arg(long)]
    force: bool,
}

/// What init makes. The secrets are wiped when dropped.
pub(crate) struct Formed {
    pub(crate) shares: Vec<Zeroizing<String>>,
    pub(crate) administrator_token: Zeroizing<String>,
    pub(crate) cluster_id: String,
    pub(crate) seal_epoch: u64,
}

impl From<InitResponse> for Formed {
    fn from(mut answer: InitResponse) -> Self {
        Self {
            shares: answer.shares.drain(..).map(Zeroizing::new).collect(),
            administrator_token: Zeroizing::new(std::mem::take(&mut answer.administrator_token)),
            cluster_id: answer.cluster_id,
            seal_epoch: answer.seal_epoch,
        }
    }
}

pub(crate) async fn run(
    args: InitArgs,
    session: Session,
    environment: &Environment,
) -> anyhow::Result<u8> {
    check_threshold(args.shares, args.threshold)?;
    if session.settings.identity.is_none() {
        bail!("init needs an operator certificate: give --cert and --key");
    }
    match &args.share_dir {
        Some(folder) => {
            files::private_directory(folder)?;
            files::refuse_existing(&secret_files(folder, args.shares), args.force.into())?;
        }
        None => consent(&args)?,
    }
    let token_path = match &args.init_token_file {
        Some(path) => path.clone(),
        None => default_token_path(&args, &session, environment)?,
    };
    let init_token = init_token(&token_path)?;
    let request = InitRequest {
        shares: args.shares,
        threshold: args.threshold,
        init_token: init_token.to_vec(),
        administrator_name: args.administrator.clone(),
        allow_absent: args.allow_absent,
    };
    let timeout = session.settings.timeout.max(TIMEOUT_MIN);
    let work = form(&session.client, timeout, request);
    let formed = waiting(session.output, "forming the cluster", work)
        .await
        .with_context(|| format!("to repeat, keep the init token in {}", token_path.display()))?;
    match &args.share_dir {
        Some(folder) => write(session.output, folder, &formed, args.force.into())?,
        None => print(session.output, &formed)?,
    }
    advise(&args, &token_path);
    Ok(DONE)
}

fn check_threshold(shares: u32, threshold: u32) -> anyhow::Result<()> {
    match (shares, threshold) {
        (1, 1) => Ok(()),
        (_, 1) => bail!("a threshold of 1 lets any operator act alone: 2 at least"),
        (n, k) if k > n => bail!("{k} of {n} shares: the threshold is above the number of shares"),
        _ => Ok(()),
    }
}

/// Asks the nodes in turn, and again where they advise it, for at most
/// `timeout`; goes on only where nothing was done.
///
/// # Errors
///
/// The last node's refusal, or the first that may have taken effect.
pub(crate) async fn form(
    client: &Client,
    timeout: Duration,
    request: InitRequest,
) -> Result<Formed, Error> {
    let until = Instant::now() + timeout;
    loop {
        let mut refusal = None;
        for node in client.nodes() {
            let left = until.saturating_duration_since(Instant::now()).max(LAST_TRY);
            let error = match node.with_timeout(left).init(request.clone()).await {
                Ok(answer) => return Ok(answer.into()),
                Err(error) => error,
            };
            if !error.is_surely_not_executed() {
                return Err(error);
            }
            let reached = ![UNREACHABLE, UNTRUSTED_SERVER].contains(&error.reason());
            // What a node said is worth more than that another isn't there.
            if reached || refusal.is_none() {
                refusal = Some(error);
            }
            if reached {
                break;
            }
        }
        let refusal = refusal.expect("a client has at least one node");
        match refusal.retry_after() {
            Some(delay) if Instant::now() + delay < until => tokio::time::sleep(delay).await,
            _ => return Err(refusal),
        }
    }
}

/// Reads the init token, or draws one and keeps it before it is used.
pub(crate) fn init_token(path: &Path) -> anyhow::Result<Zeroizing<[u8; TOKEN_BYTES]>> {
    let mut token = Zeroizing::new([0; TOKEN_BYTES]);
    if path.exists() {
        let text = files::read_secret_text(path)?;
        let mut bytes = HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .ok()
            .filter(|bytes| bytes.len() == TOKEN_BYTES)
            .with_context(|| format!("{} holds no init token", path.display()))?;
        token.copy_from_slice(&bytes);
        bytes.zeroize();
        return Ok(token);
    }
    getrandom::fill(&mut *token).context("the system gives no random bytes")?;
    let line = Zeroizing::new(format!("{}\n", HEXLOWER_PERMISSIVE.encode(&*token)));
    files::write(path, line.as_bytes(), Privacy::Owner, Existing::Refuse)?;
    Ok(token)
}

fn default_token_path(
    args: &InitArgs,
    session: &Session,
    environment: &Environment,
) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &args.share_dir {
        return Ok(folder.join("init-token"));
    }
    let state = environment.var("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || Some(PathBuf::from(environment.var("HOME")?).join(".local").join("state"));
    let folder = state
        .or_else(home)
        .context("HOME is not set: say with --init-token-file where to keep the init token")?
        .join("strongroom");
    files::private_directory(&folder)?;
    let name = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let address = session.settings.addresses.first().map_or("", String::as_str);
    let address: String = address.chars().map(name).collect();
    Ok(folder.join(format!("init-token-{address}")))
}

/// Makes sure that somebody is there to take the shares down.
fn consent(args: &InitArgs) -> anyhow::Result<()> {
    if args.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!("the shares would be printed, once: confirm with --yes, or give --share-dir");
    }
    eprint!(
        "This prints {} shares and the first token, once. Nobody should look over your shoulder. \
         Go on? [y/N] ",
        args.shares
    );
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("can't read the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}

fn share_file(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("share-{}.txt", index + 1))
}

fn token_file(folder: &Path) -> PathBuf {
    folder.join("administrator-token.txt")
}

fn secret_files(folder: &Path, shares: u32) -> Vec<PathBuf> {
    let mut paths: Vec<_> = (0..shares as usize).map(|index| share_file(folder, index)).collect();
    paths.push(token_file(folder));
    paths
}

fn write(output: Output, folder: &Path, formed: &Formed, existing: Existing) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Written {
        share_files: Vec<PathBuf>,
        administrator_token_file: PathBuf,
        cluster_id: String,
        seal_epoch: u64,
    }
    let keep = |path: &Path, secret: &str| {
        let line = Zeroizing::new(format!("{secret}\n"));
        files::write(path, line.as_bytes(), Privacy::Owner, existing)
    };
    let mut share_files = Vec::new();
    for (index, share) in formed.shares.iter().enumerate() {
        let path = share_file(folder, index);
        keep(&path, share)?;
        share_files.push(path);
    }
    let administrator_token_file = token_file(folder);
    keep(&administrator_token_file, &formed.administrator_token)?;
    if output.is_json() {
        return output.json(&Written {
            share_files,
            administrator_token_file,
            cluster_id: formed.cluster_id.clone(),
            seal_epoch: formed.seal_epoch,
        });
    }
    output.say(format!("cluster id:  {}", formed.cluster_id))?;
    output.say(format!("seal epoch:  {}", formed.seal_epoch))?;
    for path in share_files {
        output.say(format!("share:       {}", path.display()))?;
    }
    output.say(format!("token:       {}", administrator_token_file.display()))
}

fn print(output: Output, formed: &Formed) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Printed<'a> {
        shares: Vec<&'a str>,
        administrator_token: &'a str,
        cluster_id: &'a str,
        seal_epoch: u64,
    }
    if output.is_json() {
        return output.json(&Printed {
            shares: formed.shares.iter().map(|share| share.as_str()).collect(),
            administrator_token: &formed.administrator_token,
            cluster_id: &formed.cluster_id,
            seal_epoch: formed.seal_epoch,
        });
    }
    output.say(format!("cluster id:  {}", formed.cluster_id))?;
    output.say(format!("seal epoch:  {}", formed.seal_epoch))?;
    for (index, share) in formed.shares.iter().enumerate() {
        let text = Zeroizing::new(format!("\nshare {}:\n{}", index + 1, share.as_str()));
        output.say(text.as_str())?;
    }
    let text = Zeroizing::new(format!("\nadministrator token:\n{}", *formed.administrator_token));
    output.say(text.as_str())
}

fn advise(args: &InitArgs, token_path: &Path) {
    eprintln!(
        "\nAny {} of the {} shares unseal a node: give each to another operator, and delete what is \
         left here. They are never shown again.\nAfter the first unseal, delete the init token \
         {}.\nNext: strongroom unseal",
        args.threshold,
        args.shares,
        token_path.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_that_can_not_be_met_or_lets_one_act_alone_is_refused() {
        assert!(check_threshold(5, 6).is_err());
        assert!(check_threshold(5, 1).is_err());
        assert!(check_threshold(2, 2).is_ok());
        assert!(check_threshold(1, 1).is_ok());
    }

    #[test]
    fn a_repeat_brings_the_same_init_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("init-token");
        let first = init_token(&path).unwrap();
        assert_eq!(*first, *init_token(&path).unwrap());
        std::fs::write(&path, "not hexadecimal").unwrap();
        assert!(init_token(&path).is_err());
    }
}
