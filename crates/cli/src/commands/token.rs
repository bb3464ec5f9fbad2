//! `strongroom token`, `role`, `whoami`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;
use strongroom_client::{
    limits,
    proto::{
        AttachRoleRequest, CreateTokenRequest, DetachRoleRequest, ListTokensRequest,
        RevokeTokenRequest, Role, TokenMetadata, WhoAmIRequest, revoke_token_request::Target,
    },
};
use zeroize::Zeroizing;

use crate::{
    commands::DONE,
    connect::Session,
    files::{self, Privacy},
    names::{self, RoleArg},
    output::{Output, Tone},
    progress::waiting,
    times::{span_seconds, time_text},
    views,
};

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; it is shown once
    Create(CreateArgs),
    /// List tokens; never the tokens themselves
    List(ListArgs),
    /// Revoke a token, or all of a role: from then on no call with it succeeds
    Revoke(RevokeArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  strongroom token create --principal orders --role user --ttl 90d --token-out orders.token
  strongroom token create --principal ann --role auditor")]
pub(crate) struct CreateArgs {
    /// Who it is for; a new name makes a new principal
    #[arg(long, value_name = "NAME")]
    principal: String,
    /// What it allows
    #[arg(long, value_name = "ROLE")]
    role: RoleArg,
    /// How long it is valid, as in 12h or 90d [default: for ever]
    #[arg(long, value_name = "SPAN", value_parser = span_seconds)]
    ttl: Option<u64>,
    /// Write the token to a file of mode 0600 instead of showing it
    #[arg(long, value_name = "FILE")]
    token_out: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Every page, not just one
    #[arg(long, conflicts_with = "marker")]
    all: bool,
    /// Tokens in a page, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=limits::TOKENS_PAGE_MAX as i64))]
    limit: u32,
    /// Begin after this marker, as printed by the page before
    #[arg(long, value_name = "MARKER", default_value = "")]
    marker: String,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RevokeArgs {
    /// Id of the token, as `token list` shows it
    token_id: Option<String>,
    /// Every token issued so far for this role, but the one that you use
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleArg>,
}

#[derive(Subcommand)]
pub(crate) enum RoleCommand {
    /// Give a principal a role
    Attach {
        /// Name or id of the principal
        principal: String,
        /// The role
        role: RoleArg,
    },
    /// Take a role from a principal; its tokens for that role allow nothing any more
    Detach {
        /// Name or id of the principal
        principal: String,
        /// The role
        role: RoleArg,
    },
}

pub(crate) async fn run(command: TokenCommand, session: Session) -> anyhow::Result<u8> {
    match command {
        TokenCommand::Create(args) => create(args, &session).await?,
        TokenCommand::List(args) => list(args, &session).await?,
        TokenCommand::Revoke(args) => revoke(args, &session).await?,
    }
    Ok(DONE)
}

async fn create(args: CreateArgs, session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Created<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token_file: Option<&'a PathBuf>,
        metadata: views::TokenMetadata<'a>,
    }
    files::refuse_existing(&args.token_out, args.force.into())?;
    let output = session.output;
    let request = CreateTokenRequest {
        principal_name: args.principal,
        role: Role::from(args.role).into(),
        ttl_seconds: args.ttl.unwrap_or(0),
    };
    let call = session.client.create_token(request);
    let answer = waiting(output, "making a token", call).await?;
    let token = Zeroizing::new(answer.token);
    let metadata = answer.metadata.context("the server sent no metadata of the token")?;
    if let Some(path) = &args.token_out {
        let line = Zeroizing::new(format!("{}\n", *token));
        files::write(path, line.as_bytes(), Privacy::Owner, args.force.into()).with_context(
            || format!("the token was made: revoke {} and try again", metadata.token_id),
        )?;
    }
    let shown = args.token_out.is_none().then_some(token.as_str());
    if output.is_json() {
        let token_file = args.token_out.as_ref();
        let metadata = (&metadata).into();
        return output.json(&Created { token: shown, token_file, metadata });
    }
    if let Some(token) = shown {
        output.say(Zeroizing::new(format!("token:      {token}")).as_str())?;
    }
    output.say(format!("token id:   {}", metadata.token_id))?;
    output.say(format!("principal:  {}", metadata.principal_name))?;
    output.say(format!("role:       {}", names::role(metadata.role)))?;
    output.say(format!("expires:    {}", time_text(metadata.expires_ms)))?;
    match &args.token_out {
        Some(path) => eprintln!("The token is in {}.", path.display()),
        None => eprintln!("Keep the token: it is never shown again."),
    }
    Ok(())
}

async fn list(args: ListArgs, session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Page<'a> {
        tokens: Vec<views::TokenMetadata<'a>>,
        next_marker: &'a str,
    }
    let output = session.output;
    let (mut tokens, mut marker) = (Vec::new(), args.marker);
    loop {
        let request = ListTokensRequest { limit: args.limit, marker };
        let page = waiting(output, "listing tokens", session.client.list_tokens(request)).await?;
        tokens.extend(page.tokens);
        marker = page.next_marker;
        if !args.all || marker.is_empty() {
            break;
        }
    }
    if output.is_json() {
        let tokens = tokens.iter().map(Into::into).collect();
        return output.json(&Page { tokens, next_marker: &marker });
    }
    show_list(output, &tokens)?;
    if !marker.is_empty() {
        eprintln!("There are more: --all, or --marker {marker}");
    }
    Ok(())
}

fn show_list(output: Output, tokens: &[TokenMetadata]) -> anyhow::Result<()> {
    let mut table = output.table(["TOKEN ID", "PRINCIPAL", "ROLE", "CREATED", "EXPIRES", "VALID"]);
    for token in tokens {
        let valid = match token.valid {
            true => output.cell("yes", Tone::Good),
            false => output.cell("no", Tone::Bad),
        };
        table.add_row([
            output.cell(&token.token_id, Tone::Plain),
            output.cell(&token.principal_name, Tone::Plain),
            output.cell(names::role(token.role), Tone::Plain),
            output.cell(time_text(token.created_ms), Tone::Plain),
            output.cell(time_text(token.expires_ms), Tone::Plain),
            valid,
        ]);
    }
    output.show(&table)
}

async fn revoke(args: RevokeArgs, session: &Session) -> anyhow::Result<()> {
    let (target, what) = match (args.token_id, args.role) {
        (Some(id), _) => (Target::TokenId(id.clone()), id),
        (None, Some(role)) => {
            let role = Role::from(role);
            (Target::Role(role.into()), format!("every {}", names::role(role.into())))
        }
        (None, None) => anyhow::bail!("name a token, or a role with --role"),
    };
    let call = session.client.revoke_token(RevokeTokenRequest { target: Some(target) });
    waiting(session.output, "revoking", call).await?;
    finished(session.output, format!("revoked: {what}"))
}

pub(crate) async fn role(command: RoleCommand, session: Session) -> anyhow::Result<u8> {
    let text = match command {
        RoleCommand::Attach { principal, role } => {
            let role = Role::from(role).into();
            let call = session
                .client
                .attach_role(AttachRoleRequest { principal: principal.clone(), role });
            waiting(session.output, "giving the role", call).await?;
            format!("{principal} has the role {}", names::role(role))
        }
        RoleCommand::Detach { principal, role } => {
            let role = Role::from(role).into();
            let call = session
                .client
                .detach_role(DetachRoleRequest { principal: principal.clone(), role });
            waiting(session.output, "taking the role", call).await?;
            format!("{principal} has no role {} any more", names::role(role))
        }
    };
    finished(session.output, text)?;
    Ok(DONE)
}

/// A call that returns nothing: a sentence for people, an empty document for
/// programs.
fn finished(output: Output, text: String) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Nothing {}
    if output.is_json() { output.json(&Nothing {}) } else { output.say(text) }
}

pub(crate) async fn whoami(session: Session) -> anyhow::Result<u8> {
    #[derive(Serialize)]
    struct Caller<'a> {
        principal_id: &'a str,
        principal_name: &'a str,
        role: &'static str,
        token_id: &'a str,
        expires_ms: u64,
    }
    let output = session.output;
    let call = session.client.who_am_i(WhoAmIRequest {});
    let answer = waiting(output, "asking", call).await?;
    if output.is_json() {
        output.json(&Caller {
            principal_id: &answer.principal_id,
            principal_name: &answer.principal_name,
            role: names::role(answer.role),
            token_id: &answer.token_id,
            expires_ms: answer.expires_ms,
        })?;
        return Ok(DONE);
    }
    let plain = |text: &str| output.cell(text, Tone::Plain);
    output.show(&output.facts([
        ("principal", plain(&answer.principal_name)),
        ("principal id", plain(&answer.principal_id)),
        ("role", plain(names::role(answer.role))),
        ("token id", plain(&answer.token_id)),
        ("token expires", plain(&time_text(answer.expires_ms))),
    ]))?;
    Ok(DONE)
}
