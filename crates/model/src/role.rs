//! Roles: what a principal may do until access control has policies.

use std::fmt;

/// A role. Numbers are stored and stand on the wire (`strongroom.v1.Role`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Keys, tokens, roles, barrier, cluster; reads the audit log. Uses no key.
    Administrator = 1,
    /// Uses keys.
    User = 2,
    /// Reads the audit log, key metadata and the state of the cluster.
    Auditor = 3,
}

impl Role {
    /// Every role, by ascending number.
    pub const ALL: [Self; 3] = [Self::Administrator, Self::User, Self::Auditor];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The role of a number; `None` for one that this version doesn't know.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }

    /// Name for people and for the audit log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::User => "user",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_numbers_are_no_role() {
        assert_eq!(Role::from_number(0), None);
        assert_eq!(Role::from_number(4), None);
        for role in Role::ALL {
            assert_eq!(Role::from_number(role.number()), Some(role));
        }
    }
}
