//! Did the units split between the arms as they should?

use serde::{Deserialize, Serialize};
use statrs::function::gamma::checked_gamma_ur;

use super::comparison::p_value;
use super::mixture::log_multinomial_mixture;
use super::settings::check_open;
use crate::{Error, Result};

/// The sample-ratio-mismatch test: counts of units an arm against the shares that were planned.
///
/// A mismatch means that assignment, logging or joining loses units of one arm; then *no* result of the
/// experiment can be trusted, so test it first. Customary level: .001, since it is looked at often and an alarm
/// stops everything.
///
/// ```
/// use mlops_core::experiment::SampleRatio;
///
/// let planned = SampleRatio::new(&[0.5, 0.5])?;
/// assert!(planned.chi_square(&[50_100, 49_900])?.p_value > 0.5);
/// assert!(planned.chi_square(&[50_100, 49_000])?.p_value < 0.001);
/// assert!(planned.always_valid(&[50_100, 47_900])? < 0.001);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct SampleRatio {
    shares: Vec<f64>,
    concentration: f64,
}

/// The answer of a chi-square test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChiSquare {
    /// The sum of `(observed - expected)^2 / expected`.
    pub statistic: f64,
    /// Arms less one.
    pub degrees_of_freedom: u64,
    /// The chance of at least this statistic if the shares are as planned.
    pub p_value: f64,
}

impl SampleRatio {
    /// Arms with these planned weights, which need not sum to 1.
    ///
    /// # Errors
    /// `Invalid` unless there are two weights or more, each positive and finite.
    pub fn new(weights: &[f64]) -> Result<Self> {
        if weights.len() < 2 {
            return Err(Error::invalid(format!(
                "{} arms have no ratio: give two weights or more",
                weights.len()
            )));
        }
        weights
            .iter()
            .try_for_each(|&weight| check_open("the weight of an arm", weight, 0.0, f64::INFINITY))?;
        let total: f64 = weights.iter().sum();
        let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        shares.iter().try_for_each(|&share| check_open("the share of an arm", share, 0.0, 1.0))?;
        Ok(Self { shares, concentration: 1000.0 })
    }

    /// Tunes [`always_valid`](Self::always_valid) to shares that are off by about
    /// `sqrt(share (1 - share) / concentration)`. Default 1000: by 1.6 points of an even split. It must be
    /// chosen before the first look.
    ///
    /// # Errors
    /// `Invalid` unless it is positive and finite.
    pub fn with_concentration(mut self, concentration: f64) -> Result<Self> {
        check_open("concentration", concentration, 0.0, f64::INFINITY)?;
        self.concentration = concentration;
        Ok(self)
    }

    /// The planned shares, which sum to 1.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Pearson's chi-square test, for *one* look at a size that was fixed in advance.
    ///
    /// Asymptotic: trust it when each arm expects 5 units or more. Without units the statistic is 0 and the
    /// p-value 1.
    ///
    /// # Errors
    /// `Invalid` unless there is one count an arm.
    pub fn chi_square(&self, counts: &[u64]) -> Result<ChiSquare> {
        let total = self.total(counts)?;
        let statistic = if total == 0.0 {
            0.0
        } else {
            let terms = counts.iter().zip(&self.shares).map(|(&count, share)| {
                let expected = share * total;
                (count as f64 - expected).powi(2) / expected
            });
            terms.sum()
        };
        let degrees = counts.len() - 1;
        Ok(ChiSquare {
            statistic,
            degrees_of_freedom: degrees as u64,
            p_value: chi_square_tail(statistic, degrees as f64)?,
        })
    }

    /// The always-valid p-value: look after every unit.
    ///
    /// The shares are mixed over a Dirichlet law around the plan; the likelihood ratio of the mixture to the
    /// plan is a martingale while the plan holds. Exact at any count. Constant time an arm.
    ///
    /// Source: M. Lindon, A. Malek, "Anytime-valid inference for multinomial count data", 2022.
    ///
    /// # Errors
    /// `Invalid` unless there is one count an arm.
    pub fn always_valid(&self, counts: &[u64]) -> Result<f64> {
        self.total(counts)?;
        let cells = counts.iter().copied().zip(self.shares.iter().copied());
        Ok(p_value(log_multinomial_mixture(self.concentration, cells)))
    }

    fn total(&self, counts: &[u64]) -> Result<f64> {
        if counts.len() == self.shares.len() {
            return Ok(counts.iter().map(|&count| count as f64).sum());
        }
        let (given, arms) = (counts.len(), self.shares.len());
        Err(Error::invalid(format!("{given} counts for {arms} arms: give one count an arm")))
    }
}

/// The upper tail of the chi-square law.
fn chi_square_tail(statistic: f64, degrees: f64) -> Result<f64> {
    if statistic <= 0.0 {
        return Ok(1.0);
    }
    checked_gamma_ur(0.5 * degrees, 0.5 * statistic).map_err(|error| {
        Error::internal(format!("no chi-square tail at {statistic} with {degrees} degrees of freedom"))
            .with_source(error)
    })
}

#[derive(Deserialize)]
struct Wire {
    shares: Vec<f64>,
    concentration: f64,
}

impl TryFrom<Wire> for SampleRatio {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        Self::new(&wire.shares)?.with_concentration(wire.concentration)
    }
}
