//! Faults: which were planned, and what became of them.
//!
//! A [`Schedule`] is data, made from a seed and kept with the run. The nemesis acts
//! on it and writes into the history what became of each fault: notes of process
//! `nemesis`, named by the kind, with
//! `{:fault 3, :phase :install, :outcome :installed, :nodes [1]}`, and the same with
//! `:phase :heal`. [`spans`] reads them back.

mod generate;
mod spans;

pub use generate::{Plan, PlanError};
pub use spans::{Installed, Moment, Phase, Span, note, spans};

use serde::{Deserialize, Serialize};

/// What a nemesis does. To add one: here, in [`Fault::ALL`], and where it is
/// carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL; healed by a start and an unsealing.
    Kill,
    /// A clean stop; healed by a start and an unsealing.
    Restart,
    /// All nodes are killed; healed by starting and unsealing all.
    KillAll,
    /// SIGSTOP; healed by SIGCONT.
    Pause,
    /// Links to all others are reset.
    Cut,
    /// Links to all others take bytes and pass none.
    Stall,
    /// Links from the node to the others pass nothing; those to it do.
    OneWay,
    /// The node is sealed; healed by an unsealing.
    Seal,
    /// Leadership is handed over.
    TransferLeader,
    /// The node is away until the others have purged what it needs; healed by a
    /// start: it installs a snapshot.
    Snapshot,
    /// Writes and syncs hang.
    DiskHang,
    /// The disk is full.
    DiskFull,
    /// The barrier is rotated.
    RotateBarrier,
}

/// Whom a fault strikes. Roles are as of its installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Who leads.
    Leader,
    /// These.
    Nodes(Vec<u64>),
    /// All.
    All,
}

/// A planned fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its number in the schedule, from 0.
    pub fault: u64,
    /// What.
    pub kind: Fault,
    /// Whom.
    pub target: Target,
    /// When it is installed, since the start of the run.
    pub at_ms: u64,
    /// When it is healed.
    pub until_ms: u64,
}

/// All faults of a run, by ascending time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// What it was made from.
    pub seed: u64,
    /// The faults.
    pub faults: Vec<Planned>,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Kill,
        Self::Restart,
        Self::KillAll,
        Self::Pause,
        Self::Cut,
        Self::Stall,
        Self::OneWay,
        Self::Seal,
        Self::TransferLeader,
        Self::Snapshot,
        Self::DiskHang,
        Self::DiskFull,
        Self::RotateBarrier,
    ];

    /// Its name in histories, schedules and arguments.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::Stall => "stall",
            Self::OneWay => "one-way",
            Self::Seal => "seal",
            Self::TransferLeader => "transfer-leader",
            Self::Snapshot => "snapshot",
            Self::DiskHang => "disk-hang",
            Self::DiskFull => "disk-full",
            Self::RotateBarrier => "rotate-barrier",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}
