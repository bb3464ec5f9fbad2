//! `state/CURRENT`: which generation of the state database counts.
//!
//! Body of the checked file, big endian: generation (8) ‖ one more than the
//! applied index of the snapshot that made it (8; 0: no snapshot did).

use std::path::{Path, PathBuf};

use crate::{
    error::{Damage, StorageError},
    files::{self, Kind},
};

/// Format of the body.
const CURRENT_FORMAT: u8 = 1;

/// Which generation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Current {
    /// Its number, from 1.
    pub(super) generation: u64,
    /// One more than the applied index of the snapshot that made it.
    pub(super) installed_next: u64,
}

impl Current {
    /// Reads the file in the directory `state`.
    pub(super) fn read(state: &Path) -> Result<Self, StorageError> {
        let path = state.join("CURRENT");
        let corrupt = |damage| StorageError::corrupt(&path, damage);
        let body = files::read_checked(&path, Kind::Current, CURRENT_FORMAT)?
            .ok_or_else(|| corrupt(Damage::Missing))?;
        match body.as_chunks() {
            ([generation, installed], []) => Ok(Self {
                generation: u64::from_be_bytes(*generation),
                installed_next: u64::from_be_bytes(*installed),
            }),
            _ => Err(corrupt(Damage::Shape)),
        }
    }

    /// Makes this generation the one that counts; durable on return.
    pub(super) fn write(self, state: &Path) -> Result<(), StorageError> {
        let body = [self.generation.to_be_bytes(), self.installed_next.to_be_bytes()].concat();
        files::write_checked(&state.join("CURRENT"), Kind::Current, CURRENT_FORMAT, &body)
    }

    /// Directory of the generation.
    pub(super) fn path(self, state: &Path) -> PathBuf {
        state.join(self.generation.to_string())
    }

    /// Removes all but `CURRENT` and this generation.
    pub(super) fn remove_others(self, state: &Path) -> Result<(), StorageError> {
        let own = self.generation.to_string();
        files::names(state)?
            .into_iter()
            .filter(|name| *name != own && name != "CURRENT")
            .try_for_each(|name| files::remove(&state.join(name)))
    }
}
