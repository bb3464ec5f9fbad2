//! What was attempted: one list of operations for events and services.

use std::fmt;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// An operation, under the name that AWS KMS gives it where it has one.
        ///
        /// The numbers are a stored format: never changed, never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$doc])* $name = $number,)*
        }

        impl Operation {
            /// Every operation, ascending by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The operation with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name, as events and filters show it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    /// Creates a key.
    CreateKey = 1,
    /// Describes a key.
    DescribeKey = 2,
    /// Lists keys.
    ListKeys = 3,
    /// Enables a key.
    EnableKey = 4,
    /// Disables a key.
    DisableKey = 5,

    /// Makes a data key, in the clear and wrapped.
    GenerateDataKey = 64,
    /// Makes a data key, wrapped only.
    GenerateDataKeyWithoutPlaintext = 65,
    /// Makes several data keys.
    GenerateDataKeys = 66,
    /// Encrypts.
    Encrypt = 67,
    /// Decrypts.
    Decrypt = 68,
    /// Decrypts several blobs.
    DecryptBatch = 69,
    /// Decrypts and encrypts again.
    ReEncrypt = 70,
    /// Draws random bytes.
    GenerateRandom = 71,

    /// Lists audit events.
    ListEvents = 128,
    /// Follows audit events.
    TailEvents = 129,

    /// Makes a new barrier and audit epoch.
    RotateBarrier = 192,
    /// Drops an epoch under which nothing is left.
    DropBarrierEpoch = 193,
    /// Lists epochs and what is counted under each.
    ListEpochs = 194,
    /// Lists members.
    ListMembers = 195,
    /// Hands Raft leadership to another voter.
    TransferLeader = 196,
    /// Takes a snapshot.
    TakeSnapshot = 197,

    /// Makes a token.
    CreateToken = 256,
    /// Lists tokens.
    ListTokens = 257,
    /// Revokes tokens.
    RevokeToken = 258,
    /// Gives a principal a role.
    AttachRole = 259,
    /// Takes a role from a principal.
    DetachRole = 260,
    /// Says who the caller is.
    WhoAmI = 261,

    /// Forms the cluster and makes its root key.
    Init = 320,
    /// Gives a share to a node.
    SubmitShare = 321,
    /// A node has its threshold of shares.
    Unseal = 322,
    /// Seals a node.
    Seal = 323,
    /// Forgets the shares that a node holds.
    ResetUnseal = 324,
}

impl Operation {
    /// Its number, as leaves carry it.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The operation with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.name() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_operation() {
        assert_eq!(Operation::from_number(0), None);
        assert_eq!(Operation::from_name("encrypt"), None);
        for operation in Operation::ALL {
            assert_eq!(Operation::from_number(operation.number()), Some(*operation));
            assert_eq!(Operation::from_name(operation.name()), Some(*operation));
        }
        assert!(Operation::ALL.is_sorted_by_key(|operation| operation.number()));
    }
}
