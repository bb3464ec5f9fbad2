//! What a handful of values come to: a middle, and how far it can be trusted.
//!
//! Draws from a generator with a fixed seed: the same values give the same
//! figures.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;
/// Part of the resampled medians left out at each end: a 99 % interval.
const TAIL: f64 = 0.005;
/// With fewer values nothing is said of their spread.
const VALUES_MIN: usize = 4;

/// Values of one kind, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample(Vec<f64>);

/// A middle with its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median, or the ratio of two of them.
    pub value: f64,
    /// How far another run may be off, as a share of the value: the larger of
    /// half the distance of the quartiles and half the 99 % bootstrap interval
    /// of the value. `None` where there are too few values to tell.
    pub spread: Option<f64>,
}

impl Sample {
    /// Of some values, in any order; what is no number is left out.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one in the middle, or the mean of the two there; 0 of none.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.0)
    }

    /// The value below which `share` of them lie: one that was measured; 0 of
    /// none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position within a short list"
    )]
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let position = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        self.0.get(position).copied().unwrap_or_default()
    }

    /// The median with its spread; `None` of no values.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        let value = self.middle()?;
        let spread = (self.len() >= VALUES_MIN).then(|| {
            let sampled = bootstrap(|random| median(&self.resampled(random)));
            self.half_quartiles().max(sampled) / value.abs()
        });
        Some(Estimate { value, spread: spread.filter(|spread| spread.is_finite()) })
    }

    /// The ratio of this median to another, each measured on its own; `None`
    /// where one of them has no values, or `other`'s median is zero.
    #[must_use]
    pub fn over(&self, other: &Self) -> Option<Estimate> {
        let value = self.middle()? / other.middle().filter(|middle| *middle != 0.0)?;
        let spread = (self.len().min(other.len()) >= VALUES_MIN).then(|| {
            let sampled = bootstrap(|random| {
                median(&self.resampled(random)) / median(&other.resampled(random))
            });
            let of = |sample: &Self| sample.half_quartiles() / sample.median().abs();
            of(self).hypot(of(other)).max(sampled / value.abs())
        });
        Some(Estimate { value, spread: spread.filter(|spread| spread.is_finite()) })
    }

    fn middle(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.median())
    }

    fn half_quartiles(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / 2.0
    }

    /// As many values, drawn from these with repeats, ascending.
    fn resampled(&self, random: &mut StdRng) -> Vec<f64> {
        let mut drawn: Vec<f64> =
            self.0.iter().map(|_| self.0[random.random_range(0..self.0.len())]).collect();
        drawn.sort_by(f64::total_cmp);
        drawn
    }
}

/// Of ascending values; 0 of none.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    match values {
        [] => 0.0,
        _ if values.len() % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Half the interval that holds all but [`TAIL`] at each end of what `draw` gives.
fn bootstrap(mut draw: impl FnMut(&mut StdRng) -> f64) -> f64 {
    let mut random = StdRng::seed_from_u64(0);
    let drawn = Sample::new((0..RESAMPLES).map(|_| draw(&mut random)));
    (drawn.quantile(1.0 - TAIL) - drawn.quantile(TAIL)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn no_values_and_few_values_promise_nothing() {
        assert_eq!(Sample::default().estimate(), None);
        assert_eq!(Sample::new([f64::NAN, f64::INFINITY]).len(), 0);
        assert_eq!(Sample::new([1.0]).over(&Sample::default()), None);
        assert_eq!(Sample::new([1.0]).over(&Sample::new([0.0])), None);
        let three = Sample::new([1.0, 2.0, 30.0]).estimate().unwrap();
        assert_eq!(three, Estimate { value: 2.0, spread: None });
        let zeros = Sample::new([0.0; 5]).estimate().unwrap();
        assert_eq!(zeros, Estimate { value: 0.0, spread: None });
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        assert!(close(Sample::default().quantile(0.5), 0.0));
        let sample = Sample::new([30.0, 1.0, 2.0]);
        for (share, value) in [(0.0, 1.0), (0.5, 2.0), (1.0, 30.0), (7.0, 30.0)] {
            assert!(close(sample.quantile(share), value), "{share}");
        }
        assert!(close(Sample::new([1.0, 2.0, 4.0, 9.0]).median(), 3.0));
    }

    #[test]
    fn one_wild_value_moves_neither_median_nor_quartiles() {
        let calm = Sample::new((0..20).map(|n| 100.0 + f64::from(n % 4)));
        let wild = Sample::new((0..19).map(|n| 100.0 + f64::from(n % 4)).chain([9e9]));
        assert!(close(calm.median(), wild.median()));
        let spread = |sample: &Sample| sample.estimate().unwrap().spread.unwrap();
        assert!(spread(&calm) > 0.0 && spread(&calm) < 0.02, "{}", spread(&calm));
        assert!(spread(&wild) < 0.02, "{}", spread(&wild));
    }

    #[test]
    fn wider_values_have_a_wider_spread_and_equal_ones_none() {
        let around = |width: f64| Sample::new((-8..=8).map(|n| 10.0 + width * f64::from(n)));
        let spread = |sample: &Sample| sample.estimate().unwrap().spread.unwrap();
        assert!(close(spread(&around(0.0)), 0.0));
        assert!(spread(&around(0.1)) < spread(&around(0.2)));
    }

    #[test]
    fn a_ratio_of_medians_carries_the_spread_of_both() {
        let (steady, shaky) =
            (Sample::new([2.0; 9]), Sample::new((0..9).map(|n| 3.0 + f64::from(n) / 4.0)));
        let ratio = shaky.over(&steady).unwrap();
        assert!(close(ratio.value, 2.0));
        let own = shaky.estimate().unwrap().spread.unwrap();
        assert!(ratio.spread.unwrap() >= own * 0.9);
        assert!(close(steady.over(&steady).unwrap().spread.unwrap(), 0.0));
    }
}
