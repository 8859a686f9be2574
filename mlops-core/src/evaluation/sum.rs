//! Sums that do not lose small terms, and the mean with its standard error on top of them.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A compensated sum (Neumaier): the rounding error does not grow with the number of terms.
///
/// Merging adds both the sum and the compensation, so the order of shards moves the result by at most a few
/// units in the last place. Cost: four additions a term, 16 bytes. Non-finite terms make the sum non-finite.
///
/// Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
///
/// ```
/// use mlops_core::evaluation::Sum;
///
/// let sum: Sum = [1e100, 1.0, -1e100].into_iter().collect();
/// assert_eq!(sum.value(), 1.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    sum: f64,
    compensation: f64,
}

impl Sum {
    /// Adds one term.
    #[inline]
    pub fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        self.compensation +=
            if self.sum.abs() >= term.abs() { (self.sum - sum) + term } else { (term - sum) + self.sum };
        self.sum = sum;
    }

    /// Adds all terms of another sum.
    pub fn merge(&mut self, other: &Self) {
        self.add(other.sum);
        self.compensation += other.compensation;
    }

    /// The sum so far.
    #[inline]
    pub fn value(&self) -> f64 {
        self.sum + self.compensation
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(terms: I) -> Self {
        let mut sum = Self::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum
    }
}

/// A weighted mean with its variance and standard error, in one pass and without cancellation.
///
/// Mean = sum(w x) / sum(w). Standard error = sqrt(variance / effective rows), with the sample variance of the
/// weighted values and Kish's effective number of rows (sum w)^2 / sum w^2; with unit weights this is the
/// usual s / sqrt(n), and the unit of the weights does not matter. Undefined (`None`) without weight, the
/// standard error also below two effective rows.
///
/// Welford's update and Chan's merge: stable where the mean is large against the spread, and exactly no spread
/// for constant values. Shards agree with the whole up to a few units in the last place. Values up to 1e90 in
/// size and weights up to 1e20 never overflow; NaN in is NaN out. Source: T. F. Chan, G. H. Golub, R. J. LeVeque,
/// "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
///
/// ```
/// use mlops_core::evaluation::Mean;
///
/// let mut mean = Mean::default();
/// [1.0, 2.0, 3.0, 4.0].into_iter().for_each(|x| mean.add(x, 1.0));
/// assert_eq!(mean.value(), Some(2.5));
/// assert!((mean.std_error().unwrap() - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Mean {
    weight: f64,
    weight_squared: f64,
    mean: Sum,
    /// The weighted sum of squared deviations from the mean.
    squares: f64,
}

impl Mean {
    /// Adds a value of this weight.
    #[inline]
    pub fn add(&mut self, value: f64, weight: f64) {
        self.take(weight, weight * weight, value, 0.0);
    }

    /// Adds all values of another mean.
    pub fn merge(&mut self, other: &Self) {
        self.take(other.weight, other.weight_squared, other.mean.value(), other.squares);
    }

    /// Adds values of weight 1, block by block: several times as fast as one by one.
    pub(crate) fn extend(&mut self, values: &[f64]) {
        for block in values.chunks(BLOCK) {
            let rows = block.len() as f64;
            let mean = sum_of(block, |value| value) / rows;
            // What the block's mean lost by rounding is in the sum of the deviations.
            let mean = mean + sum_of(block, |value| value - mean) / rows;
            self.take(rows, rows, mean, sum_of(block, |value| (value - mean) * (value - mean)));
        }
    }

    #[inline]
    fn take(&mut self, weight: f64, weight_squared: f64, mean: f64, squares: f64) {
        if weight <= 0.0 {
            return;
        }
        let together = self.weight + weight;
        let share = weight / together;
        let gap = mean - self.mean.value();
        self.squares += squares + gap * gap * (self.weight * share);
        self.mean.add(gap * share);
        self.weight = together;
        self.weight_squared += weight_squared;
    }

    /// The sum of the weights.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The weighted sum of the values.
    pub fn total(&self) -> f64 {
        self.weight * self.mean.value()
    }

    /// The weighted mean.
    pub fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.mean.value())
    }

    /// The sample variance of the values: the weighted mean square deviation times n / (n - 1).
    pub fn variance(&self) -> Option<f64> {
        let rows = self.effective_rows()?;
        (rows > 1.0).then(|| self.squares / self.weight * (rows / (rows - 1.0)))
    }

    /// The standard error of the mean.
    pub fn std_error(&self) -> Option<f64> {
        Some((self.variance()? / self.effective_rows()?).sqrt())
    }

    /// The weighted sum of squared deviations from the mean.
    pub(crate) fn squares(&self) -> f64 {
        self.squares
    }

    /// Kish's number of rows of equal weight that would know as much.
    pub(crate) fn effective_rows(&self) -> Option<f64> {
        kish(self.weight, self.weight_squared)
    }
}

/// (sum w)^2 / sum w^2: the number of rows of equal weight that would know as much; `None` without weight.
pub(crate) fn kish(weight: f64, weight_squared: f64) -> Option<f64> {
    (weight_squared > 0.0).then(|| weight * (weight / weight_squared))
}

/// The sum of a term over a short list, in lanes so that it runs on vectors.
#[inline]
fn sum_of(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&value| term(value)).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += term(value));
    }
    lanes.iter().sum::<f64>() + rest
}

const BLOCK: usize = 256;

/// A mean as it was stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    weight: f64,
    weight_squared: f64,
    mean: Sum,
    squares: f64,
}

impl TryFrom<Stored> for Mean {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { weight, weight_squared, mean, squares } = stored;
        let sizes = [weight, weight_squared, squares];
        let known = sizes.iter().all(|size| (0.0..f64::INFINITY).contains(size)) && mean.value().is_finite();
        if known && (weight > 0.0 || (squares == 0.0 && mean.value() == 0.0)) {
            return Ok(Self { weight, weight_squared, mean, squares });
        }
        let mean = mean.value();
        Err(Error::data(format!("no values of weight {weight} have mean {mean} and squares {squares}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_mean_leaves_the_variance_alone() {
        for (offset, values, variance) in [(1e9, 3, 1.0), (1e8, 999, 666.0 / 998.0)] {
            let mut mean = Mean::default();
            (0..values).for_each(|i| mean.add(offset + f64::from(i % 3), 1.0));
            assert!((mean.variance().unwrap() - variance).abs() < 1e-9, "{:?}", mean.variance());
            let list: Vec<f64> = (0..values).map(|i| offset + f64::from(i % 3)).collect();
            let mut blocks = Mean::default();
            blocks.extend(&list);
            assert!((blocks.variance().unwrap() - variance).abs() < 1e-9);
            assert_eq!(blocks.value(), mean.value());
        }
    }

    #[test]
    fn the_unit_of_the_weights_does_not_matter() {
        let of = |unit: f64| {
            let mut mean = Mean::default();
            (0..100).for_each(|i| mean.add(f64::from(i % 7), unit * f64::from(1 + i % 3)));
            mean.std_error().unwrap()
        };
        assert!((of(1e6) / of(1.0) - 1.0).abs() < 1e-12 && (of(1e-6) / of(1.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn torn_states_are_refused() {
        let text = serde_json::to_string(&Mean::default()).unwrap();
        assert_eq!(serde_json::from_str::<Mean>(&text).unwrap(), Mean::default());
        for (from, to) in [("\"squares\":0.0", "\"squares\":-1.0"), ("\"weight\":0.0", "\"weight\":-1.0")] {
            assert!(serde_json::from_str::<Mean>(&text.replace(from, to)).is_err(), "{from}");
        }
    }
}
