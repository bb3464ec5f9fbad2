//! Finding events: by what the leaf shows, a bounded number of leaves a page.

use std::{collections::BTreeSet, ops::Range};

use prost::Message as _;
use strongroom_audit::{Kind, Leaf, LeafOutcome, Operation};
use strongroom_base::{AuditSequence, KeyId, PrincipalId, UnixMillis, limits};
use strongroom_model::{self as model, Basis, KeyReference, PrincipalReference, ReadError};
use strongroom_state::{Order, TablesError, TablesReader};
use strongroom_wire::v1;
use tonic::Status;

use super::{Page, event};
use crate::{core::Core, errors};

/// Leaves that are read at a time.
const CHUNK: usize = 256;

/// What events must fit.
pub(super) struct Filter {
    key: Option<KeyReference>,
    principal: Option<PrincipalReference>,
    operations: BTreeSet<Operation>,
    refused: Option<bool>,
    from: UnixMillis,
    to: UnixMillis,
    kind: Option<Kind>,
}

/// Where a search begins, which way it goes, and how much it may find.
#[derive(Clone, Copy)]
pub(super) struct Search {
    pub(super) order: Order,
    /// First sequence number to look at; `None`: from the end that `order` names.
    pub(super) at: Option<AuditSequence>,
    pub(super) limit: usize,
}

impl Filter {
    pub(super) fn new(filter: v1::EventFilter) -> Result<Self, Status> {
        let refused = |refusal| errors::refused(&refusal);
        let operations = filter.operations.iter().map(|name| {
            Operation::from_name(name).ok_or_else(|| {
                errors::invalid_argument("filter.operations", "must hold names of operations")
            })
        });
        let kind = match filter.kind.as_str() {
            "" => None,
            name => Some(Kind::from_name(name).ok_or_else(|| {
                errors::invalid_argument(
                    "filter.kind",
                    "must be use, denial, administration or ceremony",
                )
            })?),
        };
        let principal = match filter.principal.as_str() {
            "" => None,
            name => Some(PrincipalReference::parse("filter.principal", name).map_err(refused)?),
        };
        Ok(Self {
            key: KeyReference::parse_optional("filter.key_id", &filter.key_id).map_err(refused)?,
            principal,
            operations: operations.collect::<Result<_, _>>()?,
            refused: match filter.outcome.as_str() {
                "" => None,
                "success" => Some(false),
                "refused" => Some(true),
                _ => {
                    return Err(errors::invalid_argument(
                        "filter.outcome",
                        "must be success or refused",
                    ));
                }
            },
            from: UnixMillis(filter.from_ms),
            to: UnixMillis(filter.to_ms),
            kind,
        })
    }

    pub(super) fn forget_times(&mut self) {
        (self.from, self.to) = (UnixMillis(0), UnixMillis(0));
    }

    fn fits(&self, leaf: &Leaf) -> bool {
        let refused = matches!(leaf.outcome, LeafOutcome::Refused(_));
        (self.operations.is_empty() || self.operations.contains(&leaf.operation))
            && self.refused.is_none_or(|wanted| wanted == refused)
            && self.kind.is_none_or(|kind| kind == leaf.kind)
    }
}

/// The leaves that an index, or the log itself, gives.
enum Source {
    All,
    Key(KeyId),
    Principal(PrincipalId),
    Nothing,
}

impl Source {
    fn of(filter: &Filter, basis: &Basis<'_>) -> Result<Self, ReadError> {
        if let Some(key) = &filter.key {
            return Ok(key.within(basis.cluster).map_or(Self::Nothing, Self::Key));
        }
        let Some(principal) = &filter.principal else { return Ok(Self::All) };
        let found = model::resolve_principal(basis, principal)?;
        Ok(found.map_or(Self::Nothing, Self::Principal))
    }

    fn page(
        &self,
        reader: &impl TablesReader,
        range: Range<AuditSequence>,
        order: Order,
    ) -> Result<Vec<AuditSequence>, TablesError> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Key(key) => strongroom_state::leaves_by_key(reader, key, range, order, CHUNK),
            Self::Principal(principal) => {
                strongroom_state::leaves_by_principal(reader, principal, range, order, CHUNK)
            }
            Self::All => {
                let chunk = CHUNK as u64;
                Ok(match order {
                    Order::Ascending => (range.start.0..range.end.0.min(range.start.0 + chunk))
                        .map(AuditSequence)
                        .collect(),
                    Order::Descending => (range.start.0.max(range.end.0.saturating_sub(chunk))
                        ..range.end.0)
                        .rev()
                        .map(AuditSequence)
                        .collect(),
                })
            }
        }
    }
}

/// What a filter names, as of the state on which its caller was authorised.
pub(super) struct Resolved {
    source: Source,
    /// Looked for among the leaves of `source`.
    principal: Option<PrincipalId>,
}

impl Resolved {
    /// Looks up the names in `filter`.
    ///
    /// # Errors
    ///
    /// What the rows' reader reports.
    pub(super) fn new(basis: &Basis<'_>, filter: &Filter) -> Result<Self, ReadError> {
        let source = Source::of(filter, basis)?;
        let both = filter.principal.as_ref().filter(|_| filter.key.is_some());
        let Some(principal) = both else { return Ok(Self { source, principal: None }) };
        // Where both are asked for, the principal is looked for among the key's.
        Ok(match model::resolve_principal(basis, principal)? {
            Some(principal) => Self { source, principal: Some(principal) },
            None => Self { source: Source::Nothing, principal: None },
        })
    }
}

/// Looks for a page of events. Reads many leaves: not on a thread that others
/// wait for.
pub(super) fn run(
    core: &Core,
    found: &Resolved,
    filter: &Filter,
    search: Search,
) -> Result<Page, TablesError> {
    let view = core.state.latest();
    let reader = view.reader();
    let size = AuditSequence(strongroom_state::audit_size(&reader)?);
    let mut range = bounds(&reader, size, filter, search)?;
    let mut page = Page { events: Vec::new(), next: None, size };
    let (mut scanned, mut bytes) = (0, 0);
    while range.start < range.end {
        let sequences = found.source.page(&reader, range.clone(), search.order)?;
        let Some(last) = sequences.last().copied() else { return Ok(page) };
        for sequence in sequences {
            if page.events.len() == search.limit
                || scanned == limits::EVENTS_SCAN_MAX
                || bytes >= limits::EVENTS_PAGE_BYTES_MAX
            {
                page.next = Some(sequence);
                return Ok(page);
            }
            scanned += 1;
            let Some(stored) = strongroom_state::leaf(&reader, sequence)? else { continue };
            let Ok(leaf) = Leaf::decode(&stored.leaf) else { continue };
            let of_principal = found.principal.is_none_or(|wanted| leaf.principal == Some(wanted));
            if of_principal && filter.fits(&leaf) {
                let event = event::render(core, &reader, sequence, &stored)?;
                bytes += event.encoded_len();
                page.events.push(event);
            }
        }
        match search.order {
            Order::Ascending => range.start = AuditSequence(last.0 + 1),
            Order::Descending => range.end = last,
        }
    }
    Ok(page)
}

fn bounds(
    reader: &impl TablesReader,
    size: AuditSequence,
    filter: &Filter,
    search: Search,
) -> Result<Range<AuditSequence>, TablesError> {
    let not_before = |time: UnixMillis| strongroom_state::first_leaf_not_before(reader, time);
    let mut start = AuditSequence(0);
    let mut end = size;
    if filter.from.0 > 0 {
        start = not_before(filter.from)?;
    }
    if filter.to.0 > 0 {
        end = not_before(filter.to)?;
    }
    match (search.at, search.order) {
        (Some(at), Order::Ascending) => start = start.max(at),
        (Some(at), Order::Descending) => end = end.min(AuditSequence(at.0.saturating_add(1))),
        (None, _) => {}
    }
    Ok(start..end)
}

/// The token of a page that begins at `at`.
pub(super) fn token(at: AuditSequence, order: Order) -> String {
    let direction = if order == Order::Ascending { 'a' } else { 'd' };
    format!("{direction}{}", at.0)
}

/// Where the page of a token begins; `None` for any other text, and for a token
/// of the other order.
pub(super) fn cursor(text: &str, order: Order) -> Option<AuditSequence> {
    let direction = if order == Order::Ascending { 'a' } else { 'd' };
    let digits = text.strip_prefix(direction)?;
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(AuditSequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_other_order_or_of_no_order_is_refused() {
        let token = token(AuditSequence(7), Order::Ascending);
        assert_eq!(cursor(&token, Order::Descending), None);
        for text in ["", "a", "7", "a-1", "a 1", "a184467440737095516160"] {
            assert_eq!(cursor(text, Order::Ascending), None, "{text}");
        }
        assert_eq!(cursor(&token, Order::Ascending), Some(AuditSequence(7)));
    }
}
