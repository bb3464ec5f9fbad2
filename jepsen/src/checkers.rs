//! The laws of the product, each a pure function from a history to a verdict.
//!
//! None of them cries wolf: where an operation's outcome is not known, or calls
//! overlap, each takes the reading that the cluster likes best. What it then calls
//! a violation is one.

mod audit;
mod envelope;
mod hashes;
mod key_set;
mod key_state;
mod liveness;
mod revoke;
mod rotation;
mod seal;

pub use audit::Audit;
pub use envelope::Envelope;
pub use hashes::Hashes;
pub use key_set::KeySet;
pub use key_state::KeyState;
pub use liveness::Liveness;
pub use revoke::Revoke;
pub use rotation::Rotation;
pub use seal::Seal;
