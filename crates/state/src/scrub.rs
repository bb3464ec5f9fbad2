//! The scrubber: recomputes what is kept of the state and compares.
//!
//! What one node alone can find: rows and plain records that are not those that
//! `apply` installed, wrong counts, and audit records, tree nodes and look-ups
//! that were changed, taken away or added. What is consistent in itself and yet
//! another state (a whole directory put back, marks or cluster time changed) has
//! another [`state_hash`](crate::state_hash) than the quorum's at equal index.

use std::{collections::BTreeMap, fmt};

use strongroom_audit::{Frontier, LeafIndexes};
use strongroom_base::{AuditSequence, BarrierEpoch, Revision, UnixMillis};
use strongroom_format::store::EpochKind;

use crate::{
    StateHash, StoredLeaf, Table, TablesError, TablesReader,
    hash::{combined, each},
    layout::{look_up_key, node_key, sealed_epoch, split_versioned},
    lthash::{Accumulator, Domain},
    read, rows,
};

/// Findings that are listed; further ones are counted.
const FINDINGS_MAX: usize = 64;

/// Something that contradicts what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Rows or plain records are not those that were installed.
    Rows,
    /// An entry of the table is nothing that `apply` writes there.
    Malformed {
        /// The table.
        table: Table,
    },
    /// Another number is sealed under an epoch than is kept.
    EpochCount {
        /// Whose epoch.
        kind: EpochKind,
        /// The epoch.
        epoch: BarrierEpoch,
        /// The number that is kept.
        kept: u64,
        /// The number that there is.
        found: u64,
    },
    /// An audit leaf is missing, malformed, or earlier than the one before.
    Leaf(AuditSequence),
    /// The leaves are not those of the audit tree.
    Tree,
    /// A node of the audit tree is missing or another one.
    Node {
        /// Its level.
        level: u8,
        /// Its index.
        index: u64,
    },
    /// The table has no entry for this record.
    LookUp {
        /// The table.
        table: Table,
        /// The record.
        sequence: AuditSequence,
    },
    /// Another number of entries than the audit records call for.
    Entries {
        /// The table.
        table: Table,
        /// The number that they call for.
        expected: u64,
        /// The number that there is.
        found: u64,
    },
    /// A body belongs to no record.
    Body(AuditSequence),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows => f.write_str("rows or plain records are not those that were installed"),
            Self::Malformed { table } => {
                write!(f, "an entry of the table {} is malformed", table.name())
            }
            Self::EpochCount { kind, epoch, kept, found } => {
                let kind = if *kind == EpochKind::Barrier { "barrier" } else { "audit" };
                write!(f, "{found} values are sealed under {kind} epoch {epoch}, not {kept}")
            }
            Self::Leaf(sequence) => {
                write!(f, "audit record {sequence} is missing, malformed or out of order")
            }
            Self::Tree => f.write_str("the audit records are not those of the audit tree"),
            Self::Node { level, index } => {
                write!(f, "node {index} of level {level} of the audit tree is wrong")
            }
            Self::LookUp { table, sequence } => {
                write!(f, "the table {} lacks audit record {sequence}", table.name())
            }
            Self::Entries { table, expected, found } => {
                write!(f, "the table {} has {found} entries, not {expected}", table.name())
            }
            Self::Body(sequence) => write!(f, "body {sequence} belongs to no audit record"),
        }
    }
}

/// What a scrub saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Rows read.
    pub rows: u64,
    /// Plain records read.
    pub plain: u64,
    /// Audit leaves read.
    pub records: u64,
    /// Bodies of audit records read.
    pub bodies: u64,
    /// What contradicts what is kept; the first few.
    pub findings: Vec<Finding>,
    /// Findings that are not listed.
    pub further: u64,
}

impl ScrubReport {
    /// True where nothing contradicts what is kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.further += 1;
        }
    }
}

/// The first finding, and how many more there are.
impl fmt::Display for ScrubReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.findings.first() else { return f.write_str("nothing found") };
        first.fmt(f)?;
        match self.findings.len() as u64 - 1 + self.further {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

/// Scrubs rows, plain records and the audit log. Reads all of the state.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read; what can be read and is wrong
/// is a finding.
pub fn scrub(tables: &impl TablesReader) -> Result<ScrubReport, TablesError> {
    let mut report = scrub_rows(tables)?;
    let audit = scrub_audit(tables)?;
    report.records = audit.records;
    report.bodies = audit.bodies;
    report.further += audit.further;
    audit.findings.into_iter().for_each(|finding| report.find(finding));
    Ok(report)
}

/// Scrubs rows and plain records: what decides on rights and keys.
///
/// # Errors
///
/// As [`scrub`].
pub fn scrub_rows(tables: &impl TablesReader) -> Result<ScrubReport, TablesError> {
    let mut report = ScrubReport::default();
    let mut accumulator = Accumulator::new();
    let mut counts = BTreeMap::new();
    each(tables, Table::Rows, |key, stored| {
        report.rows += 1;
        accumulator.add(Domain::Row, key, stored);
        let sealed =
            split_versioned(Table::Rows, stored).ok().filter(|row| row.0 > Revision::ABSENT);
        match sealed.and_then(|(_, sealed)| sealed_epoch(sealed)) {
            Some(epoch) => *counts.entry(epoch).or_default() += 1,
            None => report.find(Finding::Malformed { table: Table::Rows }),
        }
        Ok(())
    })?;
    each(tables, Table::Plain, |key, stored| {
        report.plain += 1;
        accumulator.add(Domain::Plain, key, stored);
        if split_versioned(Table::Plain, stored).is_err() {
            report.find(Finding::Malformed { table: Table::Plain });
        }
        Ok(())
    })?;
    match rows::accumulator(tables) {
        Ok(kept) if kept == accumulator => {}
        Ok(_) => report.find(Finding::Rows),
        Err(error) => report.find(malformed(error)?),
    }
    compare_counts(tables, EpochKind::Barrier, counts, &mut report)?;
    Ok(report)
}

/// The finding that damage to a table is; any other error stays one.
fn malformed(error: TablesError) -> Result<Finding, TablesError> {
    match error {
        TablesError::Damaged { table, .. } => Ok(Finding::Malformed { table }),
        error => Err(error),
    }
}

fn compare_counts(
    tables: &impl TablesReader,
    kind: EpochKind,
    mut counts: BTreeMap<BarrierEpoch, u64>,
    report: &mut ScrubReport,
) -> Result<(), TablesError> {
    let kept = match read::epochs(tables) {
        Ok(kept) => kept,
        Err(error) => {
            report.find(malformed(error)?);
            return Ok(());
        }
    };
    for kept in kept.into_iter().filter(|kept| kept.kind == kind) {
        let found = counts.remove(&kept.epoch).unwrap_or(0);
        if kept.count != found || found == 0 {
            let (epoch, kept) = (kept.epoch, kept.count);
            report.find(Finding::EpochCount { kind, epoch, kept, found });
        }
    }
    for (epoch, found) in counts {
        report.find(Finding::EpochCount { kind, epoch, kept: 0, found });
    }
    Ok(())
}

/// Scrubs the audit log: leaves, tree, look-ups, bodies. Takes time with its
/// length; a node does it while it serves.
///
/// # Errors
///
/// As [`scrub`].
pub fn scrub_audit(tables: &impl TablesReader) -> Result<ScrubReport, TablesError> {
    let mut audit =
        AuditScrub { tables, report: ScrubReport::default(), frontier: Frontier::new() };
    let (by_key, by_principal) = audit.leaves()?;
    let nodes = audit.frontier.size() - u64::from(audit.frontier.size().count_ones());
    audit.entries(Table::LeavesByKey, by_key)?;
    audit.entries(Table::LeavesByPrincipal, by_principal)?;
    audit.entries(Table::Tree, nodes)?;
    match read::frontier(tables) {
        Ok(kept) if kept == audit.frontier => {}
        Ok(_) => audit.report.find(Finding::Tree),
        Err(error) => audit.report.find(malformed(error)?),
    }
    audit.bodies()?;
    Ok(audit.report)
}

struct AuditScrub<'a, T> {
    tables: &'a T,
    report: ScrubReport,
    frontier: Frontier,
}

impl<T: TablesReader> AuditScrub<'_, T> {
    /// Reads every leaf; the numbers of entries that the look-ups must have.
    fn leaves(&mut self) -> Result<(u64, u64), TablesError> {
        let (mut by_key, mut by_principal) = (0, 0);
        let (mut last, mut broken) = (UnixMillis(0), false);
        let tables = self.tables;
        each(tables, Table::Leaves, |key, stored| {
            self.report.records += 1;
            if broken {
                return Ok(());
            }
            let sequence = AuditSequence(self.frontier.size());
            let leaf = read::stored_leaf(stored).ok().filter(|leaf| leaf.stamp >= last);
            let leaf = leaf.filter(|_| key == sequence.0.to_be_bytes());
            let indexes = leaf.as_ref().and_then(|leaf| LeafIndexes::parse(&leaf.leaf).ok());
            let (Some(leaf), Some(indexes)) = (&leaf, indexes) else {
                // Without this leaf nothing after it can be checked.
                broken = true;
                self.report.find(Finding::Leaf(sequence));
                return Ok(());
            };
            last = leaf.stamp;
            let keys = indexes.keys().map(|id| *id.as_bytes());
            by_key += self.look_ups(Table::LeavesByKey, sequence, keys)?;
            let principal = indexes.principal.into_iter().map(|id| *id.as_bytes());
            by_principal += self.look_ups(Table::LeavesByPrincipal, sequence, principal)?;
            self.push(sequence, leaf)
        })?;
        Ok((by_key, by_principal))
    }

    fn look_ups(
        &mut self,
        table: Table,
        sequence: AuditSequence,
        ids: impl Iterator<Item = [u8; 16]>,
    ) -> Result<u64, TablesError> {
        let mut entries = 0;
        for id in ids {
            entries += 1;
            if self.tables.get(table, &look_up_key(&id, sequence.0))?.as_deref() != Some(&[]) {
                self.report.find(Finding::LookUp { table, sequence });
            }
        }
        Ok(entries)
    }

    fn push(&mut self, sequence: AuditSequence, leaf: &StoredLeaf) -> Result<(), TablesError> {
        let mut completed = Vec::new();
        let hash = leaf.hash(sequence);
        self.frontier.push(hash, |level, index, hash| completed.push((level, index, *hash)));
        for (level, index, hash) in completed {
            let kept = self.tables.get(Table::Tree, &node_key(level, index))?;
            if kept.as_deref() != Some(&hash[..]) {
                self.report.find(Finding::Node { level, index });
            }
        }
        Ok(())
    }

    fn entries(&mut self, table: Table, expected: u64) -> Result<(), TablesError> {
        let mut found = 0;
        each(self.tables, table, |_, _| {
            found += 1;
            Ok(())
        })?;
        if found != expected {
            self.report.find(Finding::Entries { table, expected, found });
        }
        Ok(())
    }

    fn bodies(&mut self) -> Result<(), TablesError> {
        let mut counts = BTreeMap::new();
        let (report, size) = (&mut self.report, self.frontier.size());
        each(self.tables, Table::Bodies, |key, sealed| {
            report.bodies += 1;
            let sequence = key.try_into().map(u64::from_be_bytes);
            match (sequence, sealed_epoch(sealed)) {
                (Ok(sequence), Some(_)) if sequence >= size => {
                    report.find(Finding::Body(AuditSequence(sequence)));
                }
                (Ok(_), Some(epoch)) => *counts.entry(epoch).or_default() += 1,
                _ => report.find(Finding::Malformed { table: Table::Bodies }),
            }
            Ok(())
        })?;
        compare_counts(self.tables, EpochKind::Audit, counts, &mut self.report)
    }
}

/// Hash of the state, recomputed from every row, plain record and audit leaf.
///
/// Equals [`state_hash`](crate::state_hash) where [`scrub`] finds nothing.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read or a leaf is missing.
pub fn recomputed_hash(tables: &impl TablesReader) -> Result<StateHash, TablesError> {
    let mut accumulator = Accumulator::new();
    for (table, domain) in [(Table::Rows, Domain::Row), (Table::Plain, Domain::Plain)] {
        each(tables, table, |key, stored| {
            accumulator.add(domain, key, stored);
            Ok(())
        })?;
    }
    let mut frontier = Frontier::new();
    each(tables, Table::Leaves, |key, stored| {
        let sequence = AuditSequence(frontier.size());
        if key != sequence.0.to_be_bytes() {
            return Err(TablesError::damaged(Table::Leaves, "a leaf is missing"));
        }
        frontier.push(read::stored_leaf(stored)?.hash(sequence), |_, _, _| {});
        Ok(())
    })?;
    combined(tables, &accumulator, &frontier)
}
