//! `GenerateRandom`.

use strongroom_audit::Operation;
use strongroom_base::limits;
use strongroom_crypto::{Entropy, SecretBytes};

use crate::{
    access::{Authenticated, authorise},
    decision::{Basis, Decided, Reading},
    errors::{Problem, Refusal},
    events::EventDraft,
};

/// Asks for random bytes.
#[derive(Clone, Copy)]
pub struct RandomRequest {
    bytes: usize,
}

impl RandomRequest {
    /// Checks the number: 1 to 1,024.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] naming field and bound.
    pub fn new(number_of_bytes: u32) -> Result<Self, Refusal> {
        let max = limits::RANDOM_BYTES_MAX;
        match usize::try_from(number_of_bytes) {
            Ok(bytes) if (1..=max).contains(&bytes) => Ok(Self { bytes }),
            _ => {
                let problem = Problem::OutOfRange { min: 1, max: max as u64 };
                Err(Refusal::invalid("number_of_bytes", problem))
            }
        }
    }
}

/// Draws random bytes; reads no row but the caller's rights.
pub fn generate_random(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: RandomRequest,
    entropy: &mut dyn Entropy,
) -> Decided<SecretBytes> {
    let event = EventDraft::by(caller, Operation::GenerateRandom);
    let reading = Reading::by(basis, caller);
    match authorise(caller, Operation::GenerateRandom) {
        Ok(()) => {
            let bytes = SecretBytes::init_with(request.bytes, |bytes| entropy.fill(bytes));
            reading.allow(event, bytes)
        }
        Err(refusal) => reading.refuse(event, refusal),
    }
}
