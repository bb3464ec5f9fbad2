//! `strongroom audit`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;
use strongroom_client::{
    EventTail, limits,
    proto::{Event, EventFilter, ListEventsRequest},
};

use crate::{
    commands::DONE,
    connect::Session,
    output::{Output, Tone, printable},
    progress::waiting,
    times::{PointInTime, point_in_time, time_text},
    views,
};

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// List events, newest first
    List(ListArgs),
    /// Print events in order from a sequence number on
    Tail(TailArgs),
}

#[derive(Args)]
struct FilterArgs {
    /// Of this key: id or ARN
    #[arg(long, value_name = "KEY", default_value = "")]
    key_id: String,
    /// Of this principal: name or id
    #[arg(long, value_name = "PRINCIPAL", default_value = "")]
    principal: String,
    /// Of this operation, as GenerateDataKey. May be repeated: any of them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    operation: Vec<String>,
    /// With this outcome
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<OutcomeArg>,
    /// Of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<KindArg>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum OutcomeArg {
    Success,
    Refused,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum KindArg {
    /// A key was used
    Use,
    /// A call was denied
    Denial,
    /// Something was changed
    Administration,
    /// A step of init, unseal or seal
    Ceremony,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  strongroom audit list --since 1h --outcome refused
  strongroom audit list --key-id KEY --operation Decrypt,ReEncrypt --since 2026-11-01T00:00:00Z")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Not before: a time as 2026-11-23T18:00:00Z, or a span before now as 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<PointInTime>,
    /// Before: a time, or a span before now
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    until: Option<PointInTime>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All of them, however many
    #[arg(long, conflicts_with_all = ["limit", "page_token"])]
    all: bool,
    /// Oldest first
    #[arg(long)]
    ascending: bool,
    /// Go on after a page, with the token that it printed and the same filters
    #[arg(long, value_name = "TOKEN", default_value = "")]
    page_token: String,
}

#[derive(Args)]
#[command(after_help = "\
With --output json each event is one line. After an interruption go on with --from and the
number after the last one that you have.

Examples:
  strongroom audit tail --follow
  strongroom audit tail --from 0 --output json > events.jsonl")]
pub(crate) struct TailArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// First sequence number [default with --follow: the next event; else 0]
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Stay and print events as they are committed, until interrupted
    #[arg(long, short)]
    follow: bool,
}

impl FilterArgs {
    fn filter(self, since: Option<PointInTime>, until: Option<PointInTime>) -> EventFilter {
        let outcome = match self.outcome {
            None => "",
            Some(OutcomeArg::Success) => "success",
            Some(OutcomeArg::Refused) => "refused",
        };
        let kind = match self.kind {
            None => "",
            Some(KindArg::Use) => "use",
            Some(KindArg::Denial) => "denial",
            Some(KindArg::Administration) => "administration",
            Some(KindArg::Ceremony) => "ceremony",
        };
        EventFilter {
            key_id: self.key_id,
            principal: self.principal,
            operations: self.operation,
            outcome: outcome.to_owned(),
            from_ms: since.map_or(0, |time| time.0),
            to_ms: until.map_or(0, |time| time.0),
            kind: kind.to_owned(),
        }
    }
}

pub(crate) async fn run(command: AuditCommand, session: Session) -> anyhow::Result<u8> {
    match command {
        AuditCommand::List(args) => list(args, &session).await?,
        AuditCommand::Tail(args) => tail(args, &session).await?,
    }
    Ok(DONE)
}

async fn list(args: ListArgs, session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Page<'a> {
        events: Vec<views::Event<'a>>,
        next_page_token: &'a str,
    }
    let output = session.output;
    let wanted = if args.all { usize::MAX } else { args.limit as usize };
    let filter = args.filter.filter(args.since, args.until);
    let (mut events, mut page_token) = (Vec::new(), args.page_token);
    // A page may hold fewer events than asked for and still have a next one.
    loop {
        let left = wanted - events.len();
        let request = ListEventsRequest {
            filter: Some(filter.clone()),
            limit: u32::try_from(left.min(limits::EVENTS_PAGE_MAX)).unwrap_or(u32::MAX),
            page_token,
            ascending: args.ascending,
        };
        let page = waiting(output, "reading events", session.client.list_events(request)).await?;
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() || events.len() >= wanted {
            break;
        }
    }
    if output.is_json() {
        let events = events.iter().map(Into::into).collect();
        return output.json(&Page { events, next_page_token: &page_token });
    }
    show(output, &events)?;
    if !page_token.is_empty() {
        eprintln!("There are more: --all, or --page-token {page_token}");
    }
    Ok(())
}

fn show(output: Output, events: &[Event]) -> anyhow::Result<()> {
    let mut table =
        output.table(["SEQUENCE", "TIME", "OPERATION", "OUTCOME", "PRINCIPAL", "KEY", "DETAIL"]);
    for event in events {
        table.add_row([
            output.cell(event.sequence, Tone::Plain),
            output.cell(time_text(event.committed_ms), Tone::Plain),
            output.cell(&event.operation, Tone::Plain),
            output.cell(outcome(event), outcome_tone(event)),
            output.cell(principal(event), Tone::Plain),
            output.cell(&event.key_id, Tone::Plain),
            output.cell(detail(event), Tone::Faint),
        ]);
    }
    output.show(&table)
}

fn outcome(event: &Event) -> &str {
    if event.reason.is_empty() { &event.outcome } else { &event.reason }
}

fn outcome_tone(event: &Event) -> Tone {
    if event.outcome == "success" { Tone::Good } else { Tone::Bad }
}

fn principal(event: &Event) -> &str {
    match (event.principal_name.as_str(), event.principal_id.as_str()) {
        ("", "") => "-",
        ("", id) => id,
        (name, _) => name,
    }
}

/// Facts, encryption context and number of items, as far as there are any.
fn detail(event: &Event) -> String {
    let mut parts: Vec<_> = event.detail.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if event.item_count > 0 {
        parts.push(format!("items={}", event.item_count));
    }
    let pairs: Vec<_> = event.encryption_context.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if !pairs.is_empty() {
        parts.push(format!("context[{}]", pairs.join(" ")));
    }
    printable(&parts.join(" "))
}

async fn tail(args: TailArgs, session: &Session) -> anyhow::Result<()> {
    let filter = args.filter.filter(None, None);
    let (mut tail, end) = if args.follow {
        let tail = match args.from {
            Some(from) => session.client.tail_events(filter, from),
            None => session.client.tail_new_events(filter),
        };
        (tail, None)
    } else {
        let from = args.from.unwrap_or(0);
        let end = audit_size(session).await?;
        if from >= end {
            return Ok(());
        }
        (session.client.tail_events(filter, from), Some(end))
    };
    tokio::select! {
        done = print(&mut tail, end, session.output) => done,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("can't await signals"),
    }
}

/// The most that any reachable node has: what was acknowledged anywhere may be
/// on its way to the others.
async fn audit_size(session: &Session) -> anyhow::Result<u64> {
    let calls = session.client.nodes().iter().map(|node| node.status());
    let (mut size, mut failed) = (None, None);
    for answer in
        waiting(session.output, "asking the nodes", futures::future::join_all(calls)).await
    {
        match answer {
            Ok(status) => size = size.max(Some(status.audit_size)),
            Err(error) => failed = Some(error),
        }
    }
    match (size, failed) {
        (Some(size), _) => Ok(size),
        (None, Some(error)) => Err(error.into()),
        (None, None) => anyhow::bail!("no node is configured"),
    }
}

async fn print(tail: &mut EventTail, end: Option<u64>, output: Output) -> anyhow::Result<()> {
    loop {
        let part = tail.next().await?;
        for event in &part.events {
            if end.is_some_and(|end| event.sequence >= end) {
                return Ok(());
            }
            if output.is_json() {
                output.json_line(&views::Event::from(event))?;
            } else {
                output.say(line(event))?;
            }
        }
        if end.is_some_and(|end| part.next_sequence >= end) {
            return Ok(());
        }
    }
}

fn line(event: &Event) -> String {
    let text = format!(
        "{:>8} {} {:<32} {:<24} {} {} {}",
        event.sequence,
        time_text(event.committed_ms),
        event.operation,
        outcome(event),
        principal(event),
        event.key_id,
        detail(event),
    );
    printable(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_chosen_by_another_caller_can_not_break_the_line() {
        let mut event = Event { principal_name: "ann\n9 forged".to_owned(), ..Event::default() };
        event.encryption_context.insert("k\u{1b}[2J".to_owned(), "v".to_owned());
        let text = line(&event);
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_refusal_is_shown_by_its_reason() {
        let refused = Event {
            outcome: "refused".to_owned(),
            reason: "KEY_DISABLED".to_owned(),
            ..Event::default()
        };
        assert_eq!((outcome(&refused), outcome_tone(&refused)), ("KEY_DISABLED", Tone::Bad));
    }
}
