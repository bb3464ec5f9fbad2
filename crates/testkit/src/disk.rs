//! The state database of a node that is down, as whoever can write to its disk
//! sees it.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use strongroom_base::{LogIndex, NodeId};
use strongroom_state::{
    Entry, Order, ScrubReport, StateHash, Table, Tables, TablesReader as _, apply, scrub,
    state_hash,
};
use strongroom_storage::{DataDir, RaftLog, StateDb, StateOptions, StorageError};

use crate::{node::Node, pki::Pki};

/// A node's disk, opened. The node can't start while this value lives.
pub struct Disk {
    data: DataDir,
    state: StateDb,
}

impl Disk {
    /// Opens the disk of a node that is down.
    ///
    /// # Errors
    ///
    /// When the node runs, or its data is refused.
    pub fn open(node: &Node, pki: &Pki) -> anyhow::Result<Self> {
        ensure!(!node.is_running(), "node {} runs", node.id);
        let data = DataDir::open(node.data_dir(), pki.cluster(), NodeId::new(node.id)?, [0; 16])?;
        let state = StateDb::open(&data, StateOptions::default(), Arc::new(fatal))?;
        Ok(Self { data, state })
    }

    /// Newest applied index on this disk.
    ///
    /// # Errors
    ///
    /// When nothing was applied yet.
    pub fn applied(&self) -> anyhow::Result<LogIndex> {
        self.state.applied_index().context("nothing was applied on this disk")
    }

    /// Everything in a table.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn entries(&self, table: Table) -> anyhow::Result<Vec<Entry>> {
        Ok(self.state.latest().range(table, &[], None, Order::Ascending, usize::MAX)?)
    }

    /// Changes entries as they stand, and nothing that is kept about them.
    /// `None` deletes.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub fn overwrite(
        &self,
        table: Table,
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> anyhow::Result<()> {
        let mut batch = self.state.begin();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(table, key, value)?,
                None => batch.delete(table, key)?,
            }
        }
        batch.commit(self.applied()?)?;
        Ok(self.state.flush()?)
    }

    /// Applies a command that was never committed, at the newest index: what is
    /// kept about the rows then fits them, and only a comparison with other nodes
    /// can tell.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn apply_forged(&self, command: &[u8]) -> anyhow::Result<()> {
        let applied = self.applied()?;
        let mut batch = self.state.begin();
        apply(&mut batch, applied, command)?;
        batch.commit(applied)?;
        Ok(self.state.flush()?)
    }

    /// State hash, as it is kept.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn hash(&self) -> anyhow::Result<StateHash> {
        Ok(state_hash(&self.state.latest())?)
    }

    /// Computes everything anew and compares it with what is kept.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn scrub(&self) -> anyhow::Result<ScrubReport> {
        Ok(self.state.read(|reader| scrub(reader))?)
    }

    /// Opens the Raft log too.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn log(&self) -> anyhow::Result<RaftLog> {
        let log =
            RaftLog::open(&self.data, strongroom_storage::LogOptions::default(), Arc::new(fatal))?;
        Ok(log)
    }
}

#[expect(clippy::print_stderr, reason = "a test's own disk failed: the test fails too")]
fn fatal(error: &StorageError) {
    eprintln!("a disk opened by a test failed: {error}");
}
