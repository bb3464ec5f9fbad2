//! `strongroom key`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use strongroom_client::{
    limits,
    proto::{
        self, CreateKeyRequest, DescribeKeyRequest, DisableKeyRequest, EnableKeyRequest, KeySpec,
        KeyUsage, ListKeysRequest,
    },
};

use crate::{
    commands::DONE,
    connect::Session,
    names,
    output::{Output, Tone},
    progress::waiting,
    times::time_text,
    views,
};

/// Keys that are described at a time for `list --long`.
const DESCRIBED_AT_ONCE: usize = 8;

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key; needs the role administrator
    #[command(after_help = "\
Example:
  strongroom key create --description 'orders database' --client-token orders-2026")]
    Create {
        /// What the key is for, for people
        #[arg(long, default_value = "")]
        description: String,
        /// Name of your choice that makes a repeat of this command return the same key
        #[arg(long, default_value = "")]
        client_token: String,
    },
    /// List keys
    List(ListArgs),
    /// Describe a key
    Describe {
        /// Key id or ARN
        key_id: String,
    },
    /// Enable a key
    Enable {
        /// Key id or ARN
        key_id: String,
    },
    /// Disable a key: from then on no use of it succeeds, on any node
    Disable {
        /// Key id or ARN
        key_id: String,
    },
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Every page, not just one
    #[arg(long, conflicts_with = "marker")]
    all: bool,
    /// State and description too: one more call for each key
    #[arg(long)]
    long: bool,
    /// Keys in a page, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=limits::KEYS_PAGE_MAX as i64))]
    limit: u32,
    /// Begin after this marker, as printed by the page before
    #[arg(long, value_name = "MARKER", default_value = "")]
    marker: String,
}

pub(crate) async fn run(command: KeyCommand, session: Session) -> anyhow::Result<u8> {
    let Session { client, output, .. } = &session;
    match command {
        KeyCommand::Create { description, client_token } => {
            let request = CreateKeyRequest {
                description,
                key_spec: KeySpec::SymmetricDefault.into(),
                key_usage: KeyUsage::EncryptDecrypt.into(),
                client_token,
            };
            let answer = waiting(*output, "creating the key", client.create_key(request)).await?;
            show(*output, &answer.key_metadata.context("the server sent no key")?)?;
        }
        KeyCommand::List(args) => list(args, &session).await?,
        KeyCommand::Describe { key_id } => {
            let call = client.describe_key(DescribeKeyRequest { key_id });
            let answer = waiting(*output, "asking for the key", call).await?;
            show(*output, &answer.key_metadata.context("the server sent no key")?)?;
        }
        KeyCommand::Enable { key_id } => {
            let call = client.enable_key(EnableKeyRequest { key_id: key_id.clone() });
            waiting(*output, "enabling the key", call).await?;
            done(*output, &key_id, "Enabled")?;
        }
        KeyCommand::Disable { key_id } => {
            let call = client.disable_key(DisableKeyRequest { key_id: key_id.clone() });
            waiting(*output, "disabling the key", call).await?;
            done(*output, &key_id, "Disabled")?;
        }
    }
    Ok(DONE)
}

fn done(output: Output, key_id: &str, key_state: &str) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Done<'a> {
        key_id: &'a str,
        key_state: &'a str,
    }
    if output.is_json() {
        return output.json(&Done { key_id, key_state });
    }
    output.say(format!("{key_id} is {}", key_state.to_lowercase()))
}

fn show(output: Output, key: &proto::KeyMetadata) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Answer<'a> {
        key_metadata: views::KeyMetadata<'a>,
    }
    if output.is_json() {
        return output.json(&Answer { key_metadata: key.into() });
    }
    let plain = |text: &str| output.cell(text, Tone::Plain);
    let state = output.cell(names::key_state(key.key_state), names::key_state_tone(key.key_state));
    output.show(&output.facts([
        ("key id", plain(&key.key_id)),
        ("arn", plain(&key.arn)),
        ("state", state),
        ("description", plain(&key.description)),
        ("spec", plain(names::key_spec(key.key_spec))),
        ("usage", plain(names::key_usage(key.key_usage))),
        ("created", plain(&time_text(key.created_ms))),
        ("version", output.cell(key.current_version, Tone::Plain)),
        ("material id", plain(&key.current_key_material_id)),
        ("origin", plain(&key.origin)),
        ("account", plain(&key.account_id)),
    ]))
}

async fn list(args: ListArgs, session: &Session) -> anyhow::Result<()> {
    let Session { client, output, .. } = session;
    let (mut keys, mut marker) = (Vec::new(), args.marker);
    loop {
        let request = ListKeysRequest { limit: args.limit, marker };
        let page = waiting(*output, "listing keys", client.list_keys(request)).await?;
        keys.extend(page.keys);
        marker = page.next_marker;
        if !args.all || marker.is_empty() {
            break;
        }
    }
    let described = if args.long { Some(describe_all(session, &keys).await?) } else { None };
    show_list(*output, &keys, described.as_deref(), &marker)
}

async fn describe_all(
    session: &Session,
    keys: &[proto::KeyListEntry],
) -> anyhow::Result<Vec<proto::KeyMetadata>> {
    let describe = |key: &proto::KeyListEntry| {
        let call = session.client.describe_key(DescribeKeyRequest { key_id: key.key_id.clone() });
        async move { call.await?.key_metadata.context("the server sent no key") }
    };
    let calls: Vec<_> = keys.iter().map(describe).collect();
    let all = stream::iter(calls).buffered(DESCRIBED_AT_ONCE).try_collect();
    waiting(session.output, "describing keys", all).await
}

fn show_list(
    output: Output,
    keys: &[proto::KeyListEntry],
    described: Option<&[proto::KeyMetadata]>,
    next_marker: &str,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Entry<'a> {
        key_id: &'a str,
        key_arn: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_metadata: Option<views::KeyMetadata<'a>>,
    }
    #[derive(Serialize)]
    struct Page<'a> {
        keys: Vec<Entry<'a>>,
        next_marker: &'a str,
        truncated: bool,
    }
    if output.is_json() {
        let keys = keys.iter().enumerate().map(|(index, key)| Entry {
            key_id: &key.key_id,
            key_arn: &key.key_arn,
            key_metadata: described.and_then(|all| all.get(index)).map(Into::into),
        });
        let truncated = !next_marker.is_empty();
        return output.json(&Page { keys: keys.collect(), next_marker, truncated });
    }
    match described {
        None => {
            let mut table = output.table(["KEY ID", "ARN"]);
            for key in keys {
                table.add_row([
                    output.cell(&key.key_id, Tone::Plain),
                    output.cell(&key.key_arn, Tone::Faint),
                ]);
            }
            output.show(&table)?;
        }
        Some(described) => {
            let mut table = output.table(["KEY ID", "STATE", "CREATED", "DESCRIPTION"]);
            for key in described {
                let tone = names::key_state_tone(key.key_state);
                table.add_row([
                    output.cell(&key.key_id, Tone::Plain),
                    output.cell(names::key_state(key.key_state), tone),
                    output.cell(time_text(key.created_ms), Tone::Plain),
                    output.cell(&key.description, Tone::Plain),
                ]);
            }
            output.show(&table)?;
        }
    }
    if !next_marker.is_empty() {
        eprintln!("There are more: --all, or --marker {next_marker}");
    }
    Ok(())
}
