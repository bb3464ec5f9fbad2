//! Keyring, sealed rows and the seal state machine.
//!
//! Sans-I/O: storage, network, time and entropy are the caller's. (The named
//! exception is [`initialise`]: splitting the root key draws its own entropy.)
//!
//! ```text
//! initialise ──► shares (shown once), wrapped keyring and SealConfig (replicated)
//!
//! Sealed ──submit(share)──► Step::NeedShares … Step::Combine(shares)
//!   ▲                                              │ unseal(shares, wrapped keyring)
//!   └──────────────── seal() ── Unsealed ◄─────────┘
//! ```
//!
//! A state is a type: what needs the keyring exists on [`Unsealed`] only, and
//! sealing consumes it.

mod config;
mod init;
mod keyring;
mod sealed;
mod unseal;
mod unsealed;

pub use strongroom_crypto::{
    Entropy, KeyringAddress, KeyringError, Nonces, OpenError, RootKey, RowAddress, SchemeError,
    Share, ShareScheme, ShareTextError,
};

pub use config::{ConfigError, SealConfig};
pub use init::{InitRequest, Initialised, initialise};
pub use keyring::{DropEpochError, Keyring, KeyringFull, RowError};
pub use sealed::Sealed;
pub use unseal::{ShareRefusal, Step, UnsealProgress};
pub use unsealed::{UnsealError, Unsealed, unseal};
