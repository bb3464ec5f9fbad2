//! `strongroom file`: envelopes of files and pipes.
//!
//! A file is written under a temporary name beside its own, synced, then renamed:
//! under its name it is whole or not there. So nothing decrypted is to be seen
//! before all of it was found authentic. Standard output can't be taken back:
//! there the exit code says whether it was all.
//!
//! There is no resumption. To go on with an encryption, the data key would have to
//! be kept on disk, and chunks that were half written would be encrypted twice
//! under one nonce as soon as the input had changed meanwhile. To go on with a
//! decryption, what was written before would have to be believed. Both start
//! afresh; they are as fast as the disk.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use strongroom_client::envelope::{Context, Decryption, Encryption};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
};

use crate::{
    bytes::Input,
    commands::DONE,
    connect::Session,
    context,
    files::{self, PendingFile, Privacy},
    progress::Transfer,
};

#[derive(Subcommand)]
pub(crate) enum FileCommand {
    /// Encrypt a file or a stream of any size
    Encrypt(EncryptArgs),
    /// Decrypt what `file encrypt` made
    Decrypt(DecryptArgs),
}

#[derive(Args)]
#[command(after_help = "\
The data is encrypted here, under a data key that the cluster makes and wraps: one call for each
--key-id, whatever the size. The key ids and the encryption context stand in the envelope for
everybody to read. An interrupted encryption leaves no file and starts afresh.

Examples:
  strongroom file encrypt --key-id KEY --context table=orders --in orders.db --out orders.db.sre
  tar c photos | strongroom file encrypt --key-id KEY > photos.tar.sre")]
pub(crate) struct EncryptArgs {
    /// Key id or ARN. May be repeated: each key alone opens the envelope
    #[arg(long, value_name = "KEY", required = true)]
    key_id: Vec<String>,
    /// Encryption context, authenticated and not secret. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = context::pair)]
    context: Vec<(String, String)>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
#[command(after_help = "\
A file given with --out has mode 0600 and appears only when all of the envelope was found authentic.
Standard output is written as the envelope is read: every byte is authentic, but whether it was all
only the exit code says. Use `set -o pipefail` in scripts.

Without --key-id and --context every envelope is taken that your token may open, whoever made it.

Examples:
  strongroom file decrypt --in orders.db.sre --out orders.db --context table=orders
  strongroom file decrypt --key-id KEY < photos.tar.sre | tar x")]
pub(crate) struct DecryptArgs {
    /// Key id or ARN that the envelope must be opened with. May be repeated: any of them
    #[arg(long, value_name = "KEY")]
    key_id: Vec<String>,
    /// Pair that the encryption context must have. May be repeated: all of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = context::pair)]
    context: Vec<(String, String)>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    target: Target,
}

/// Where a stream goes.
#[derive(Args)]
struct Target {
    /// File to write; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// Replace an existing file; write to a terminal
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(command: FileCommand, session: Session) -> anyhow::Result<u8> {
    match command {
        FileCommand::Encrypt(args) => encrypt(args, &session).await?,
        FileCommand::Decrypt(args) => decrypt(args, &session).await?,
    }
    Ok(DONE)
}

async fn encrypt(args: EncryptArgs, session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Answer {
        key_ids: Vec<String>,
        plaintext_bytes: u64,
        envelope_bytes: u64,
    }
    let mut key_ids = args.key_id.into_iter();
    let first = key_ids.next().context("no key is given")?;
    let encryption =
        key_ids.fold(Encryption::new(first), |encryption, key| encryption.with_key_id(key));
    let encryption = encryption.with_context(Context::new(context::map(&args.context)?)?);
    let (mut writer, pending) = args.target.open(session, Privacy::Usual)?;
    let (reader, transfer) = source(&args.input, session, "encrypting", "plaintext").await?;
    let mut reader = transfer.counted(reader);
    let done = uninterrupted(async {
        Ok(encryption.run(&session.client, &mut reader, &mut writer).await?)
    })
    .await;
    transfer.end();
    let done = done?;
    // Flushed already: this closes it.
    drop(writer);
    keep(pending).await?;
    args.target.answer(
        session,
        &Answer {
            key_ids: done.key_ids,
            plaintext_bytes: done.plaintext_bytes,
            envelope_bytes: done.envelope_bytes,
        },
    )
}

async fn decrypt(args: DecryptArgs, session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Answer<'a> {
        key_id: String,
        encryption_context: BTreeMap<&'a str, &'a str>,
        plaintext_bytes: u64,
    }
    let decryption = args
        .key_id
        .into_iter()
        .fold(Decryption::new(), |decryption, key| decryption.with_key_id(key))
        .with_context(Context::new(context::map(&args.context)?)?);
    let (mut writer, pending) = args.target.open(session, Privacy::Owner)?;
    let (reader, transfer) = source(&args.input, session, "decrypting", "envelope").await?;
    let mut reader = transfer.counted(reader);
    let done = uninterrupted(async {
        Ok(decryption.run(&session.client, &mut reader, &mut writer).await?)
    })
    .await;
    transfer.end();
    let done = done?;
    // Flushed already: this closes it.
    drop(writer);
    keep(pending).await?;
    let pairs = done.context.pairs().iter();
    args.target.answer(
        session,
        &Answer {
            key_id: done.key_id,
            encryption_context: pairs.map(|(key, value)| (&**key, &**value)).collect(),
            plaintext_bytes: done.plaintext_bytes,
        },
    )
}

type Reader = Box<dyn AsyncRead + Unpin>;
/// What is written to, and the file that it is where it is one.
type Writing = (Box<dyn AsyncWrite + Unpin>, Option<PendingFile>);

/// Opens what is to be read; `doing` and `what` are words for people.
async fn source(
    input: &Input,
    session: &Session,
    doing: &'static str,
    what: &str,
) -> anyhow::Result<(Reader, Transfer)> {
    let Some(path) = input.file() else {
        if io::stdin().is_terminal() {
            eprintln!("Type or paste the {what}, then press Ctrl-D on a line of its own.");
        }
        return Ok((Box::new(tokio::io::stdin()), Transfer::new(session.output, doing, None)));
    };
    let file = File::open(path).await;
    let file = file.with_context(|| format!("can't read {}", path.display()))?;
    let metadata = file.metadata().await;
    // Pipes and devices don't know their length.
    let bytes = metadata.ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
    Ok((Box::new(file), Transfer::new(session.output, doing, bytes)))
}

impl Target {
    fn is_standard(&self) -> bool {
        self.out == Path::new("-")
    }

    /// Refuses what must not be overwritten, before the cluster is asked.
    fn open(&self, session: &Session, privacy: Privacy) -> anyhow::Result<Writing> {
        if self.is_standard() {
            if session.output.is_terminal() && !self.force {
                bail!(
                    "this could upset the terminal: use --out FILE, a pipe, or --force \
                     where you know that it is text"
                );
            }
            return Ok((Box::new(tokio::io::stdout()), None));
        }
        files::refuse_existing([&self.out], self.force.into())?;
        // A rename would put a file in the place of the device.
        let there = self.out.metadata().ok().filter(|metadata| !metadata.is_file());
        if there.is_some() {
            bail!("{} is no regular file: write to it with `>`", self.out.display());
        }
        let pending = PendingFile::create(&self.out, privacy, self.force.into())?;
        Ok((Box::new(File::from_std(pending.writer()?)), Some(pending)))
    }

    /// Shows a JSON document where one was asked for and standard output is free.
    fn answer(&self, session: &Session, answer: &impl Serialize) -> anyhow::Result<()> {
        if session.output.is_json() && !self.is_standard() {
            session.output.json(answer)?;
        }
        Ok(())
    }
}

/// Puts a written file in its place; it is durable then.
async fn keep(pending: Option<PendingFile>) -> anyhow::Result<()> {
    match pending {
        Some(pending) => tokio::task::spawn_blocking(move || pending.keep())
            .await
            .context("writing was given up")?,
        None => Ok(()),
    }
}

/// Does the work unless the process is told to end: then temporary files go.
async fn uninterrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("can't watch for signals")?;
    let mut hang_up = signal(SignalKind::hangup()).context("can't watch for signals")?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
        _ = hang_up.recv() => bail!("the terminal is gone"),
    }
}
