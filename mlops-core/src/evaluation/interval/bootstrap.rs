//! The bootstrap of rows at hand.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::confidence_in_range;
use crate::evaluation::error::MetricError;
use crate::evaluation::quantile::quantile_of_sorted;
use crate::evaluation::{Interval, Mean, Metric};
use crate::experiment::special::{normal_quantile, normal_upper_tail};
use crate::{Error, Result, Seed};

/// How the interval is read off the resamples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootstrapMethod {
    /// The quantiles of the resampled statistics.
    Percentile,
    /// The quantiles mirrored at the estimate.
    Basic,
    /// Bias-corrected and accelerated: the quantiles, shifted for bias and skew by a jackknife. The most accurate;
    /// costs one more statistic a row.
    #[default]
    Bca,
}

/// The interval of any statistic, by drawing rows with replacement.
///
/// Domain: rows that are independent of each other; draw users, not clicks, where users click twice. Asymptotic:
/// for a few dozen rows and above. Cost: `resamples` statistics. Replays from its seed. Source: B. Efron,
/// R. J. Tibshirani, "An introduction to the bootstrap", 1993.
///
/// ```
/// use mlops_core::Seed;
/// use mlops_core::evaluation::interval::Bootstrap;
///
/// let latency_ms = [12.0, 15.0, 11.0, 19.0, 14.0, 13.0, 12.0, 18.0, 16.0, 14.0];
/// let mean = |rows: &[usize]| Some(rows.iter().map(|&row| latency_ms[row]).sum::<f64>() / rows.len() as f64);
/// let metric = Bootstrap::new(Seed::new(7)).metric(latency_ms.len(), mean)?;
/// let interval = metric.interval.unwrap();
/// assert_eq!(metric.value, 14.4);
/// assert!(interval.lower() > 12.5 && interval.upper() < 16.5);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bootstrap {
    /// How many times the rows are drawn. Default 2000.
    pub resamples: usize,
    /// The confidence of the interval. Default 0.95.
    pub confidence: f64,
    /// How the interval is read off.
    pub method: BootstrapMethod,
    /// Where the random numbers start.
    pub seed: Seed,
}

impl Bootstrap {
    /// 2000 resamples, confidence 0.95, BCa.
    pub fn new(seed: Seed) -> Self {
        Self { resamples: 2000, confidence: 0.95, method: BootstrapMethod::default(), seed }
    }

    /// Sets the number of resamples.
    #[must_use]
    pub fn resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Sets the confidence.
    #[must_use]
    pub fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// Sets the method.
    #[must_use]
    pub fn method(mut self, method: BootstrapMethod) -> Self {
        self.method = method;
        self
    }

    /// The statistic of `rows` rows with its standard error and interval. The statistic is handed the places of
    /// the drawn rows and may be undefined or infinite on some draws (one class only, say): those are drawn again.
    ///
    /// # Errors
    /// `Invalid` if there are fewer than two rows or resamples, or the confidence is not above 0 and below 1;
    /// `Data` if the statistic is undefined or infinite on the rows themselves or on most draws, or if BCa has no
    /// bias to correct by because every draw lies on one side of the statistic.
    pub fn metric(&self, rows: usize, statistic: impl Fn(&[usize]) -> Option<f64>) -> Result<Metric> {
        confidence_in_range(self.confidence)?;
        for (what, value) in [("number of rows", rows), ("number of resamples", self.resamples)] {
            if value < 2 {
                return Err(MetricError::Setting { what, value: value as f64, want: "at least 2" }.into());
            }
        }
        let statistic = |places: &[usize]| statistic(places).filter(|value| value.is_finite());
        let mut places: Vec<usize> = (0..rows).collect();
        let estimate = statistic(&places)
            .ok_or_else(|| Error::data("the statistic is undefined on these rows: nothing to resample"))?;
        let skew = match self.method {
            BootstrapMethod::Bca => acceleration(rows, &statistic),
            _ => 0.0,
        };
        let mut rng = self.seed.rng();
        let mut drawn = Vec::with_capacity(self.resamples);
        let mut undefined = 0;
        while drawn.len() < self.resamples {
            places.iter_mut().for_each(|place| *place = rng.random_range(0..rows));
            match statistic(&places) {
                Some(value) => drawn.push(value),
                None => undefined += 1,
            }
            if undefined > self.resamples {
                return Err(Error::data(format!(
                    "the statistic is undefined on {undefined} of {} draws: give more rows",
                    undefined + drawn.len()
                )));
            }
        }
        drawn.sort_unstable_by(f64::total_cmp);
        let mut spread = Mean::default();
        spread.extend(&drawn);
        let std_error = spread.variance().map(f64::sqrt).filter(|error| error.is_finite());
        let tail = (1.0 - self.confidence) / 2.0;
        let at = |q: f64| quantile_of_sorted(&drawn, q.clamp(0.0, 1.0)).unwrap_or(estimate);
        let (low, high) = match self.method {
            BootstrapMethod::Percentile => (at(tail), at(1.0 - tail)),
            BootstrapMethod::Basic => (2.0 * estimate - at(1.0 - tail), 2.0 * estimate - at(tail)),
            BootstrapMethod::Bca => {
                let bias = bias(&drawn, estimate)?;
                let shift = |q: f64| shifted(q, bias, skew);
                (at(shift(tail)), at(shift(1.0 - tail)))
            }
        };
        let interval = Interval::new(low, high)?;
        Ok(Metric::new(estimate).with_std_error(std_error).with_interval(interval, self.confidence))
    }
}

/// The share of draws below the estimate, ties counting half, as a normal quantile.
fn bias(sorted: &[f64], estimate: f64) -> Result<f64> {
    let below = sorted.partition_point(|&value| value < estimate);
    let up_to = sorted.partition_point(|&value| value <= estimate);
    let share = (below + up_to) as f64 / 2.0 / sorted.len() as f64;
    if share > 0.0 && share < 1.0 {
        return Ok(-normal_quantile(share));
    }
    Err(Error::data(format!(
        "every one of {} draws lies on one side of the statistic, {estimate}: BCa has no bias to correct by, take \
         the percentile method if the statistic is meant so",
        sorted.len()
    )))
}

/// The quantile to read instead of `q`.
fn shifted(q: f64, bias: f64, skew: f64) -> f64 {
    let z = bias - normal_quantile(q);
    normal_upper_tail(-(bias + z / (1.0 - skew * z)))
}

/// The skew of the statistic over the rows, each left out once; rows without which it is undefined are skipped.
fn acceleration(rows: usize, statistic: &impl Fn(&[usize]) -> Option<f64>) -> f64 {
    let mut rest: Vec<usize> = (1..rows).collect();
    let mut values = Vec::with_capacity(rows);
    for left_out in 0..rows {
        values.extend(statistic(&rest));
        if left_out + 1 < rows {
            rest[left_out] = left_out;
        }
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let (mut squares, mut cubes) = (0.0, 0.0);
    for value in values {
        squares += (mean - value).powi(2);
        cubes += (mean - value).powi(3);
    }
    if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
}
