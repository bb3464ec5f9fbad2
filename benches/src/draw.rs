//! Draws rounds of several comparisons in turn, until there are enough or the
//! time is over.
//!
//! All comparisons are spread over the same minutes, so that none of them gets
//! the quiet ones. Whoever has the fewest good rounds is next.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    load::{self, Slice, Target, closed, quantile_ms},
    machine,
    rounds::{Round, Thrown, Tolerance, Total},
    stats::Sample,
};

/// Rounds drawn before the next comparison has its turn: the echo between two
/// of them serves both.
const ROUNDS_A_TURN: usize = 2;
/// Writes of one disk probe.
const PROBE_WRITES: u32 = 24;

/// How rounds are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Length of one slice.
    pub slice: Duration,
    /// Good rounds of each comparison after which there are enough.
    pub rounds: usize,
    /// What spoils a slice.
    pub tolerance: Tolerance,
}

/// Something that is held against the echo.
pub struct Comparison<'a> {
    /// What is measured.
    pub subject: Target<'a>,
    /// Calls in flight, of the subject and of the echo.
    pub in_flight: usize,
    /// Folder in which the disk is probed in each round, if at all.
    pub probe: Option<&'a Path>,
    /// What was drawn, spoiled rounds included.
    drawn: Vec<Drawn>,
}

/// A round with the probe that belongs to it.
struct Drawn {
    round: Round,
    fdatasync_ms: Option<f64>,
}

/// The rounds that count, and how many do not.
#[derive(Clone, Debug)]
pub struct Kept {
    rounds: Vec<Round>,
    fdatasync_ms: Vec<f64>,
    data_keys: f64,
    /// How many were thrown away.
    pub thrown: Thrown,
    /// Share of CPU time stolen in the subject's slices, spoiled ones included.
    pub stolen: Sample,
    /// Share of CPU time taken by other processes in them.
    pub foreign: Sample,
}

impl<'a> Comparison<'a> {
    /// Nothing drawn yet.
    #[must_use]
    pub fn new(subject: Target<'a>, in_flight: usize) -> Self {
        Self { subject, in_flight, probe: None, drawn: Vec::new() }
    }

    /// With a probe of the disk that `folder` is on.
    #[must_use]
    pub fn with_probe(mut self, folder: &'a Path) -> Self {
        self.probe = Some(folder);
        self
    }

    /// What was drawn, by what spoils a slice.
    #[must_use]
    pub fn kept(&self, tolerance: &Tolerance) -> Kept {
        let mut kept = Kept {
            rounds: Vec::new(),
            fdatasync_ms: Vec::new(),
            data_keys: f64::from(self.subject.call.data_keys()),
            thrown: Thrown::default(),
            stolen: Sample::new(self.drawn.iter().map(|drawn| drawn.round.cluster.stolen)),
            foreign: Sample::new(self.drawn.iter().map(|drawn| drawn.round.cluster.foreign)),
        };
        for drawn in &self.drawn {
            match drawn.round.spoiler(tolerance) {
                None => {
                    kept.rounds.push(drawn.round.clone());
                    kept.fdatasync_ms.extend(drawn.fdatasync_ms);
                }
                Some(spoiler) => kept.thrown.count(spoiler),
            }
        }
        kept
    }

    fn good(&self, tolerance: &Tolerance) -> usize {
        self.drawn.iter().filter(|drawn| drawn.round.spoiler(tolerance).is_none()).count()
    }

    fn turn(&self, tolerance: &Tolerance) -> usize {
        turn(self.drawn.len(), self.good(tolerance))
    }
}

/// Whose turn is next: the lowest. A spoiled round counts half, so that what is
/// spoiled again and again doesn't take the time of all others.
fn turn(drawn: usize, good: usize) -> usize {
    drawn + good
}

impl Kept {
    /// How many count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rounds.len()
    }

    /// Whether none counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Data keys a second, of the echo's calls a second.
    #[must_use]
    pub fn ratios(&self) -> Sample {
        Sample::new(self.rounds.iter().map(|round| round.ratio() * self.data_keys))
    }

    /// CPU time of the servers for a call, of the echo's.
    #[must_use]
    pub fn server_cpu(&self) -> Sample {
        Sample::new(self.rounds.iter().map(|round| round.of_echo(Slice::server_cpu_us)))
    }

    /// Median latency of each slice, milliseconds.
    #[must_use]
    pub fn p50_ms(&self) -> Sample {
        Sample::new(self.rounds.iter().map(|round| round.cluster.p50_ms()))
    }

    /// The echo's, around it.
    #[must_use]
    pub fn echo_p50_ms(&self) -> Sample {
        Sample::new(self.rounds.iter().map(|round| round.echo(Slice::p50_ms)))
    }

    /// Median of each probe of the disk, milliseconds.
    #[must_use]
    pub fn fdatasync_ms(&self) -> Sample {
        Sample::new(self.fdatasync_ms.iter().copied())
    }

    /// Latencies of the subject as callers would have seen them who meant to call
    /// in even steps ([`closed::corrected`]), microseconds.
    #[must_use]
    pub fn corrected_us(&self, in_flight: usize) -> Histogram<u64> {
        let mut all = load::histogram();
        for round in &self.rounds {
            let corrected = closed::corrected(&round.cluster, in_flight);
            all.add(corrected).expect("all histograms have the same bounds");
        }
        all
    }

    /// All slices of the subject together.
    #[must_use]
    pub fn subject(&self) -> Total {
        Total::of(self.rounds.iter().map(|round| &round.cluster))
    }

    /// All slices of the echo together.
    #[must_use]
    pub fn echo(&self) -> Total {
        Total::of(self.rounds.iter().flat_map(|round| [&round.before, &round.after]))
    }
}

/// Draws rounds of all `comparisons` against `limit`: until `until`, or until
/// each has as many good ones as are wanted. At least one turn of each is drawn.
///
/// # Errors
///
/// When a server is gone.
pub async fn draw(
    limit: &Target<'_>,
    comparisons: &mut [Comparison<'_>],
    wanted: &Wanted,
    until: Instant,
) -> anyhow::Result<()> {
    // Caches, code and clock speeds of all, not counted.
    for comparison in comparisons.iter() {
        closed::slice(limit, comparison.in_flight, wanted.slice).await?;
        closed::slice(&comparison.subject, comparison.in_flight, wanted.slice).await?;
    }
    let mut last: Option<(usize, Slice)> = None;
    loop {
        let next = comparisons
            .iter_mut()
            .filter(|comparison| comparison.good(&wanted.tolerance) < wanted.rounds)
            .min_by_key(|comparison| comparison.turn(&wanted.tolerance));
        let Some(next) = next else { return Ok(()) };
        if Instant::now() >= until && !next.drawn.is_empty() {
            return Ok(());
        }
        for _ in 0..ROUNDS_A_TURN {
            let before = match last.take() {
                Some((in_flight, slice)) if in_flight == next.in_flight => slice,
                _ => closed::slice(limit, next.in_flight, wanted.slice).await?,
            };
            let cluster = closed::slice(&next.subject, next.in_flight, wanted.slice).await?;
            let after = closed::slice(limit, next.in_flight, wanted.slice).await?;
            last = Some((next.in_flight, after.clone()));
            let round = Round { before, cluster, after };
            let fdatasync_ms = next.probe.map(probe_ms).transpose()?;
            next.drawn.push(Drawn { round, fdatasync_ms });
        }
    }
}

/// Median time of a small write with fdatasync. Nothing else goes on meanwhile:
/// it may block.
fn probe_ms(folder: &Path) -> anyhow::Result<f64> {
    Ok(quantile_ms(&machine::fdatasync_us(folder, PROBE_WRITES)?, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoiled_again_and_again_gets_twice_the_turns_and_no_more() {
        // Drawn and good rounds: one is always spoiled, two never.
        let mut all = [(0, 0); 3];
        for _ in 0..400 {
            let next = (0..3).min_by_key(|&place| turn(all[place].0, all[place].1));
            let place = next.expect("there are three");
            all[place].0 += 1;
            all[place].1 += usize::from(place != 0);
        }
        assert_eq!(all, [(200, 0), (100, 100), (100, 100)]);
    }
}
