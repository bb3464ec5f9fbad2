//! The state hash: equal on every node at equal applied index.
//!
//! ```text
//! SHA-256( label ‖ state format(1)
//!        ‖ SHA-256(accumulator over rows and plain records)
//!        ‖ number of audit records(8) ‖ root of the audit tree
//!        ‖ SHA-256 over the entries of plain, epochs, deduplication and meta )
//! ```
//!
//! The entries are taken in order, each as table(1) ‖ length of key(4) ‖ key ‖
//! length of value(4) ‖ value; of meta, all but the accumulator. All of it is
//! kept incrementally or small, so that a hash costs microseconds at any size of
//! the state. Bodies are not in it, because they may be pruned; they are bound
//! to their leaves by their seals. Nor is what the Raft layer keeps.

use sha2::{Digest, Sha256};
use strongroom_audit::Frontier;
use strongroom_format::STATE_FORMAT;

use crate::{
    Order, StateHash, Table, TablesError, TablesReader, layout::META_ACCUMULATOR,
    lthash::Accumulator, read, rows,
};

const LABEL: &[u8] = b"strongroom state hash";
/// Entries read at a time.
const PAGE: usize = 256;

/// Hash of the state, from what is kept of it.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn state_hash(tables: &impl TablesReader) -> Result<StateHash, TablesError> {
    combined(tables, &rows::accumulator(tables)?, &read::frontier(tables)?)
}

/// Hash of a state with this accumulator and this audit tree.
pub(crate) fn combined(
    tables: &impl TablesReader,
    accumulator: &Accumulator,
    frontier: &Frontier,
) -> Result<StateHash, TablesError> {
    let mut small = Sha256::new();
    for table in [Table::Plain, Table::Epochs, Table::Deduplication, Table::Meta] {
        each(tables, table, |key, value| {
            if table != Table::Meta || key != META_ACCUMULATOR {
                small.update([table as u8]);
                for part in [key, value] {
                    let length = u32::try_from(part.len()).expect("values are far below 4 GiB");
                    small.update(length.to_be_bytes());
                    small.update(part);
                }
            }
            Ok(())
        })?;
    }
    let mut hasher = Sha256::new_with_prefix(LABEL);
    hasher.update([u8::try_from(STATE_FORMAT).expect("formats are small numbers")]);
    hasher.update(Sha256::digest(accumulator.encode()));
    hasher.update(frontier.size().to_be_bytes());
    hasher.update(frontier.root());
    hasher.update(small.finalize());
    Ok(StateHash(hasher.finalize().into()))
}

/// Calls `visit` with each entry of a table, ascending.
pub(crate) fn each(
    tables: &impl TablesReader,
    table: Table,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), TablesError>,
) -> Result<(), TablesError> {
    let mut from = Vec::new();
    loop {
        let page = tables.range(table, &from, None, Order::Ascending, PAGE)?;
        for (key, value) in &page {
            visit(key, value)?;
        }
        match page.into_iter().nth(PAGE - 1) {
            Some((last, _)) => from = last,
            None => return Ok(()),
        }
        from.push(0); // the least key after the last one
    }
}
