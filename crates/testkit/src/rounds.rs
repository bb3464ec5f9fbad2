//! How long the tests go on.

use std::env;

/// Environment variable: rounds of the tests that repeat themselves.
const VARIABLE: &str = "STRONGROOM_ROUNDS";

/// Rounds to run: `STRONGROOM_ROUNDS` where it is set, else `short`, which fits
/// a run of all tests in minutes.
///
/// # Panics
///
/// When the variable holds no positive number.
#[must_use]
pub fn rounds(short: usize) -> usize {
    match env::var(VARIABLE) {
        Ok(text) => match text.parse() {
            Ok(rounds) if rounds > 0 => rounds,
            _ => panic!("{VARIABLE} must be a positive number, is '{text}'"),
        },
        Err(_) => short,
    }
}

/// Seed of a test's random choices: `STRONGROOM_SEED` where it is set, else a
/// new one; printed, so that a failure can be replayed.
///
/// # Panics
///
/// When the variable holds no number.
#[must_use]
#[expect(clippy::print_stderr, reason = "a failed test shows its seed")]
pub fn seed(test: &str) -> u64 {
    let seed = match env::var("STRONGROOM_SEED") {
        Ok(text) => text.parse().expect("STRONGROOM_SEED is a number"),
        Err(_) => rand::random(),
    };
    eprintln!("{test}: replay with STRONGROOM_SEED={seed}");
    seed
}
