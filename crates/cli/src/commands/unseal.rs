//! `strongroom unseal` and `seal`: every given node in one go.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use strongroom_client::{
    Error, Node,
    proto::{NodeState, SealStatusResponse},
};
use zeroize::Zeroizing;

use crate::{
    commands::DONE,
    connect::Session,
    files, names,
    output::{Output, Tone, printable},
    progress::waiting,
    views,
};

/// At least one node didn't do what was asked.
const FAILED: u8 = 1;
/// Between two looks at a node that compares its state with the others.
const POLL: Duration = Duration::from_millis(200);
/// Largest text that is taken for one share.
const SHARE_BYTES_MAX: usize = 4096;

#[derive(Args)]
#[command(after_help = "\
Each operator runs this once, from anywhere, with the addresses of all nodes. The share is
asked for without echo; it is never taken from the command line.

Examples:
  strongroom unseal --address kms-1:7400,kms-2:7400,kms-3:7400
  strongroom unseal --share-file share-1.txt
  age -d share-1.age | strongroom unseal --share-file -")]
pub(crate) struct UnsealArgs {
    /// File that holds one share; - is standard input. May be repeated
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
    /// Make every node forget the shares given so far, instead of giving one
    #[arg(long, conflicts_with = "share_file")]
    reset: bool,
    /// Seconds to wait for nodes that have all their shares and check their state
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// A node, and how it stands or why that isn't known.
type Standing<'a> = (&'a Node, Result<SealStatusResponse, Error>);

pub(crate) async fn unseal(args: UnsealArgs, session: Session) -> anyhow::Result<u8> {
    let nodes = session.client.nodes();
    if args.reset {
        let resets = nodes.iter().map(|node| async move { (node, node.reset_unseal().await) });
        let standings = waiting(session.output, "resetting", join_all(resets)).await;
        return show(session.output, &standings);
    }
    let shares = shares(&args.share_file)?;
    let asked = nodes.iter().map(|node| async move { (node, node.seal_status().await) });
    let mut standings = waiting(session.output, "asking the nodes", join_all(asked)).await;
    for share in &shares {
        let given = standings.into_iter().map(|standing| give(standing, share));
        standings = waiting(session.output, "giving the share", join_all(given)).await;
    }
    let until = Instant::now() + Duration::from_secs(args.wait);
    let settled = standings.into_iter().map(|standing| settle(standing, until));
    let standings = waiting(session.output, "checking the state", join_all(settled)).await;
    show(session.output, &standings)
}

/// Gives a share to a node, unless it needs none or refused the one before.
async fn give<'a>(standing: Standing<'a>, share: &str) -> Standing<'a> {
    let (node, status) = standing;
    match &status {
        Err(_) => (node, status),
        Ok(known) => match known.state() {
            NodeState::Unsealed | NodeState::Verifying => (node, status),
            _ => (node, node.submit_share(share).await),
        },
    }
}

/// Waits until a node that has all its shares serves.
async fn settle(standing: Standing<'_>, until: Instant) -> Standing<'_> {
    let (node, mut status) = standing;
    while matches!(&status, Ok(known) if known.state() == NodeState::Verifying)
        && Instant::now() < until
    {
        tokio::time::sleep(POLL).await;
        status = node.seal_status().await;
    }
    (node, status)
}

/// The shares from files, else from a prompt without echo, else from standard
/// input.
fn shares(paths: &[PathBuf]) -> anyhow::Result<Vec<Zeroizing<String>>> {
    if !paths.is_empty() {
        return paths.iter().map(|path| share_from(path)).collect();
    }
    if !io::stdin().is_terminal() {
        return Ok(vec![share_from(Path::new("-"))?]);
    }
    let typed =
        rpassword::prompt_password("Share (not shown): ").context("can't ask for a share")?;
    let typed = Zeroizing::new(typed);
    Ok(vec![files::secret_text(typed.as_bytes()).context("no share was given")?])
}

fn share_from(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    if path != Path::new("-") {
        return files::read_secret_text(path);
    }
    let bytes = files::read_bounded(io::stdin().lock(), SHARE_BYTES_MAX)
        .context("can't read a share from standard input")?;
    files::secret_text(&bytes).context("on standard input")
}

fn show(output: Output, standings: &[Standing<'_>]) -> anyhow::Result<u8> {
    if output.is_json() {
        show_json(output, standings)?;
    } else {
        show_table(output, standings)?;
    }
    let all_did = standings.iter().all(|(_, status)| status.is_ok());
    Ok(if all_did { DONE } else { FAILED })
}

fn show_json(output: Output, standings: &[Standing<'_>]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Entry<'a> {
        address: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<views::SealStatus<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<views::CallError<'a>>,
    }
    #[derive(Serialize)]
    struct All<'a> {
        nodes: Vec<Entry<'a>>,
    }
    let nodes = standings.iter().map(|(node, status)| Entry {
        address: node.address().to_string(),
        status: status.as_ref().ok().map(Into::into),
        error: status.as_ref().err().map(Into::into),
    });
    output.json(&All { nodes: nodes.collect() })
}

fn show_table(output: Output, standings: &[Standing<'_>]) -> anyhow::Result<()> {
    let mut table = output.table(["ADDRESS", "NODE", "STATE", "PROGRESS"]);
    for (node, status) in standings {
        let address = output.cell(node.address(), Tone::Plain);
        match status {
            Ok(status) => table.add_row([
                address,
                output.cell(&status.node_name, Tone::Plain),
                output.cell(names::node_state(status.state), names::node_state_tone(status.state)),
                output.cell(progress(status), Tone::Plain),
            ]),
            Err(error) => table.add_row([
                address,
                output.cell("-", Tone::Faint),
                output.cell(reason(error), Tone::Bad),
            ]),
        };
    }
    output.show(&table)?;
    for (node, status) in standings {
        if let Err(error) = status {
            eprintln!("{}: {}", node.address(), printable(error.message()));
        }
    }
    Ok(())
}

fn reason(error: &Error) -> &str {
    if error.reason().is_empty() { "error" } else { error.reason() }
}

fn progress(status: &SealStatusResponse) -> String {
    match (status.state(), status.threshold) {
        (_, 0) => "-".to_owned(),
        (NodeState::Unsealed | NodeState::Verifying, threshold) => {
            format!("{threshold} of {threshold}")
        }
        (_, threshold) => format!("{} of {threshold}", status.progress),
    }
}

#[derive(Args)]
#[command(after_help = "\
Needs an administrator's token or an operator certificate. A sealed node still votes and
replicates; it answers no key operation until its threshold of shares is given again.")]
pub(crate) struct SealArgs {
    /// Every given address, not just the first
    #[arg(long)]
    all: bool,
}

pub(crate) async fn seal(args: SealArgs, session: Session) -> anyhow::Result<u8> {
    let nodes = session.client.nodes();
    let chosen = if args.all { nodes } else { &nodes[..1] };
    let seals = chosen.iter().map(|node| async move {
        match node.seal().await {
            Ok(()) => (node, node.seal_status().await),
            Err(error) => (node, Err(error)),
        }
    });
    let standings = waiting(session.output, "sealing", join_all(seals)).await;
    show(session.output, &standings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: NodeState, threshold: u32, progress: u32) -> SealStatusResponse {
        SealStatusResponse { state: state.into(), threshold, progress, ..Default::default() }
    }

    #[test]
    fn progress_is_told_against_the_threshold() {
        assert_eq!(super::progress(&status(NodeState::Sealed, 3, 2)), "2 of 3");
        assert_eq!(super::progress(&status(NodeState::Unsealed, 3, 0)), "3 of 3");
        assert_eq!(super::progress(&status(NodeState::Uninitialised, 0, 0)), "-");
    }

    #[test]
    fn a_share_file_that_is_empty_or_missing_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("share-1.txt");
        let text =
            |path: &PathBuf| format!("{:#}", shares(std::slice::from_ref(path)).unwrap_err());
        assert!(text(&path).contains("share-1.txt"));
        std::fs::write(&path, "\n").unwrap();
        assert!(text(&path).contains("share-1.txt"));
    }
}
