//! Sums that do not lose small terms, and the mean with its standard error on top of them.

use serde::{Deserialize, Serialize};

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

/// A weighted mean and the standard error of it, from four compensated sums.
///
/// Mean = sum(w x) / sum(w). Standard error = sqrt(variance / effective rows), with the sample variance of the
/// weighted values and Kish's effective number of rows (sum w)^2 / sum w^2; with unit weights this is the
/// usual s / sqrt(n). Undefined (`None`) without weight, the standard error also below two effective rows.
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
pub struct Mean {
    weight: Sum,
    weight_squared: Sum,
    total: Sum,
    squares: Sum,
}

impl Mean {
    /// Adds a value of this weight.
    #[inline]
    pub fn add(&mut self, value: f64, weight: f64) {
        self.weight.add(weight);
        self.weight_squared.add(weight * weight);
        self.total.add(weight * value);
        self.squares.add(weight * value * value);
    }

    /// Adds all values of another mean.
    pub fn merge(&mut self, other: &Self) {
        self.weight.merge(&other.weight);
        self.weight_squared.merge(&other.weight_squared);
        self.total.merge(&other.total);
        self.squares.merge(&other.squares);
    }

    /// The sum of the weights.
    pub fn weight(&self) -> f64 {
        self.weight.value()
    }

    /// The weighted sum of the values.
    pub fn total(&self) -> f64 {
        self.total.value()
    }

    /// The weighted mean.
    pub fn value(&self) -> Option<f64> {
        let weight = self.weight.value();
        (weight > 0.0).then(|| self.total.value() / weight)
    }

    /// The sample variance of the values: the weighted mean square deviation times n / (n - 1).
    pub fn variance(&self) -> Option<f64> {
        let mean = self.value()?;
        let rows = self.effective_rows()?;
        let spread = (self.squares.value() / self.weight.value() - mean * mean).max(0.0);
        (rows > 1.0).then(|| spread * rows / (rows - 1.0))
    }

    /// The standard error of the mean.
    pub fn std_error(&self) -> Option<f64> {
        Some((self.variance()? / self.effective_rows()?).sqrt())
    }

    fn effective_rows(&self) -> Option<f64> {
        let squared = self.weight_squared.value();
        (squared > 0.0).then(|| self.weight.value().powi(2) / squared)
    }
}
