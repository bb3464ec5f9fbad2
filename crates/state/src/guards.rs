//! The read set of a batch: what its decisions relied on.
//!
//! A batch's transactions share guards. Each is checked when first asked for,
//! and again only after an earlier transaction of the batch wrote what it names.

use std::collections::BTreeMap;

use strongroom_base::{BarrierEpoch, Revision, limits};
use strongroom_format::store::{EpochKind, Guard, PlainName, guard::Expect};

use crate::{
    Table, TablesError, TablesReader,
    epochs::EpochCounts,
    layout::{TAG_BYTES, plain_key, row_key, split_versioned},
};

/// What a guard or a write names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target<'a> {
    /// A row.
    Row {
        /// Number of its table.
        table: u8,
        /// Its id.
        row_id: &'a [u8],
    },
    /// A plain record; never [`PlainName::Unspecified`].
    Plain(PlainName),
}

impl<'a> Target<'a> {
    /// The row, where table number and id are within their bounds.
    pub(crate) fn row(table: u32, row_id: &'a [u8]) -> Option<Self> {
        let table = u8::try_from(table).ok().filter(|table| *table != 0)?;
        let fits = (1..=limits::ROW_ID_BYTES_MAX).contains(&row_id.len());
        fits.then_some(Self::Row { table, row_id })
    }

    /// The plain record, where there is one with this number.
    pub(crate) fn plain(name: i32) -> Option<Self> {
        let name = PlainName::try_from(name).ok()?;
        (name != PlainName::Unspecified).then_some(Self::Plain(name))
    }
}

/// What a guard expects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expectation<'a> {
    /// A row has exactly this version.
    Row { table: u8, row_id: &'a [u8], revision: Revision, tag: &'a [u8; TAG_BYTES] },
    /// A row does not exist.
    Absent { table: u8, row_id: &'a [u8] },
    /// A plain record has exactly this revision, or none.
    Plain { name: PlainName, revision: Revision },
    /// Nothing is sealed under an epoch.
    EpochUnused { kind: EpochKind, epoch: BarrierEpoch },
}

impl<'a> Expectation<'a> {
    /// `None` where the guard breaks a rule of its form.
    fn parse(guard: &'a Guard) -> Option<Self> {
        match guard.expect.as_ref()? {
            Expect::Row(row) => {
                let Target::Row { table, row_id } = Target::row(row.table, &row.row_id)? else {
                    return None;
                };
                let tag = row.tag.as_slice().try_into().ok()?;
                let revision = Revision(row.revision);
                (revision != Revision::ABSENT).then_some(Self::Row { table, row_id, revision, tag })
            }
            Expect::Absent(row) => match Target::row(row.table, &row.row_id)? {
                Target::Row { table, row_id } => Some(Self::Absent { table, row_id }),
                Target::Plain(_) => None,
            },
            Expect::Plain(plain) => match Target::plain(plain.name)? {
                Target::Plain(name) => {
                    Some(Self::Plain { name, revision: Revision(plain.revision) })
                }
                Target::Row { .. } => None,
            },
            Expect::EpochUnused(unused) => {
                let kind = EpochKind::try_from(unused.kind).ok()?;
                let valid = kind != EpochKind::Unspecified && unused.epoch != 0;
                let epoch = BarrierEpoch(unused.epoch);
                valid.then_some(Self::EpochUnused { kind, epoch })
            }
        }
    }

    /// What it names; an epoch is nothing that is written.
    pub(crate) const fn target(&self) -> Option<Target<'a>> {
        match *self {
            Self::Row { table, row_id, .. } | Self::Absent { table, row_id } => {
                Some(Target::Row { table, row_id })
            }
            Self::Plain { name, .. } => Some(Target::Plain(name)),
            Self::EpochUnused { .. } => None,
        }
    }

    fn holds(&self, tables: &impl TablesReader, epochs: &EpochCounts) -> Result<bool, TablesError> {
        match self {
            Self::Row { table, row_id, revision, tag } => {
                let Some(stored) = tables.get(Table::Rows, &row_key(*table, row_id))? else {
                    return Ok(false);
                };
                let (present, sealed) = split_versioned(Table::Rows, &stored)?;
                Ok(present == *revision && sealed.last_chunk() == Some(*tag))
            }
            Self::Absent { table, row_id } => {
                Ok(tables.get(Table::Rows, &row_key(*table, row_id))?.is_none())
            }
            Self::Plain { name, revision } => {
                let key = plain_key(*name).expect("a parsed guard names a record");
                let present = match tables.get(Table::Plain, &key)? {
                    Some(stored) => split_versioned(Table::Plain, &stored)?.0,
                    None => Revision::ABSENT,
                };
                Ok(present == *revision)
            }
            Self::EpochUnused { kind, epoch } => Ok(epochs.count(tables, *kind, *epoch)? == 0),
        }
    }
}

/// The guards of one batch.
pub(crate) struct Guards<'a> {
    guards: Vec<Guarded<'a>>,
    /// Positions of the guards that name a target; made at the first write.
    by_target: Option<BTreeMap<Target<'a>, Vec<usize>>>,
}

struct Guarded<'a> {
    /// `None` where the guard breaks a rule of its form.
    expectation: Option<Expectation<'a>>,
    /// Whether it holds, where that is known.
    holds: Option<bool>,
}

impl<'a> Guards<'a> {
    pub(crate) fn new(guards: &'a [Guard]) -> Self {
        let parsed = guards
            .iter()
            .map(|guard| Guarded { expectation: Expectation::parse(guard), holds: None });
        Self { guards: parsed.collect(), by_target: None }
    }

    /// What the guard at `position` expects; `None` where there is none, or none
    /// that is well formed.
    pub(crate) fn expectation(&self, position: u32) -> Option<&Expectation<'a>> {
        self.guards.get(usize::try_from(position).ok()?)?.expectation.as_ref()
    }

    /// Whether every one of the guards at `positions` holds. All of them are
    /// well formed.
    pub(crate) fn all_hold(
        &mut self,
        tables: &impl TablesReader,
        epochs: &EpochCounts,
        positions: &[u32],
    ) -> Result<bool, TablesError> {
        for position in positions {
            let guard = &mut self.guards[*position as usize];
            let expectation = guard.expectation.expect("a checked transaction's guards parse");
            let holds = match (guard.holds, expectation) {
                // Counts change with nearly every record, and are cheap to look up.
                (_, Expectation::EpochUnused { .. }) => expectation.holds(tables, epochs)?,
                (Some(holds), _) => holds,
                (None, _) => *guard.holds.insert(expectation.holds(tables, epochs)?),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `target` was written: what names it is checked again.
    pub(crate) fn written(&mut self, target: &Target<'_>) {
        let by_target = self.by_target.get_or_insert_with(|| {
            let mut by_target: BTreeMap<Target<'a>, Vec<usize>> = BTreeMap::new();
            for (position, guard) in self.guards.iter().enumerate() {
                if let Some(target) = guard.expectation.and_then(|expected| expected.target()) {
                    by_target.entry(target).or_default().push(position);
                }
            }
            by_target
        });
        for position in by_target.get(target).into_iter().flatten() {
            self.guards[*position].holds = None;
        }
    }
}
