//! One type per kind of secret, so that no key is taken for another.
//!
//! All lie in secret memory and are wiped on drop. None has `Clone`, `Debug`,
//! `Serialize` or `PartialEq`.

use strongroom_secmem::{Secret, SecretBytes};

use crate::Entropy;

macro_rules! secret_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(Secret<{ $name::LEN }>);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = 32;

            /// Draws a new key.
            pub fn generate(entropy: &mut impl Entropy) -> Self {
                Self::init_with(|key| entropy.fill(key))
            }

            /// Lets `fill` write the key in place, so that no copy is left on
            /// the stack.
            pub fn init_with(fill: impl FnOnce(&mut [u8; $name::LEN])) -> Self {
                Self(Secret::init_with(fill))
            }

            /// A second copy, with a life of its own. Every call site says why
            /// it needs one.
            #[must_use]
            pub fn duplicate(&self) -> Self {
                Self(self.0.duplicate())
            }

            /// Lends the raw key. Every call site says why it needs it.
            #[must_use]
            pub fn expose(&self) -> &[u8; $name::LEN] {
                self.0.expose()
            }
        }
    };
}

secret_key! {
    /// The key that wraps the keyring; what the shares restore.
    ///
    /// Exists in the memory of unsealed nodes only: never on disk, in a log, a
    /// snapshot or a trace.
    RootKey
}
secret_key! {
    /// The key under which rows are sealed, one per barrier epoch.
    BarrierKey
}
secret_key! {
    /// The key under which bodies of audit records are sealed, one per epoch of
    /// its own count.
    AuditKey
}
secret_key! {
    /// The key that turns names and tokens into opaque row ids; never rotated.
    IndexKey
}
secret_key! {
    /// The key of the MAC by which an unsealed leader admits a ledger's batch.
    BatchKey
}
secret_key! {
    /// Key material of one key version of spec `SYMMETRIC_DEFAULT`: 256 bits,
    /// from which the keys of single messages are derived.
    MaterialKey
}
secret_key! {
    /// A data key of 256 bits, as an envelope takes it: the keys of one message
    /// are derived from it.
    EnvelopeDataKey
}

/// A data key: made for a caller, kept by the caller only.
pub struct DataKey(SecretBytes);

impl DataKey {
    /// Draws `len` bytes. Bounds on `len` are the operation's.
    pub fn generate(len: usize, entropy: &mut impl Entropy) -> Self {
        Self(SecretBytes::init_with(len, |bytes| entropy.fill(bytes)))
    }

    /// Lends the raw key. Every call site says why it needs it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// The same bytes, for those who treat all plaintexts alike.
    #[must_use]
    pub fn into_bytes(self) -> SecretBytes {
        self.0
    }
}
