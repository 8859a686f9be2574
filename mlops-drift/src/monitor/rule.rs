//! Which test or distance judges a column.

use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::column::{ColumnReference, Grid, LiveColumn, LiveCounts, Values};
use super::options::Bands;
use crate::distance::{
    EvidentlyMethod, chi_squared_p_as_evidently, hellinger, jensen_shannon_distance_base2,
    jensen_shannon_distance_nats, l_infinity, psi, smoothed, total_variation,
};
use crate::gap_count::{GapCounts, Reference};
use crate::two_sample::{Alternative, TestResult, chi_squared, g_test, two_proportion_z};
use crate::{Error, Result};

/// What decides whether the distribution of a column changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// Strong evidence (Kolmogorov-Smirnov for numbers, chi-squared for categories) of a change that is large (PSI): see
    /// [`CheckOptions`](super::CheckOptions).
    #[default]
    EvidenceAndSize,
    /// A warning if the p-value of this test, adjusted together with those of all columns, is at most `alpha`.
    Test {
        /// The test.
        test: ColumnTest,
        /// The level, above 0 up to 1.
        alpha: f64,
    },
    /// A warning or more if this distance reaches a band, whatever the sample sizes.
    Distance {
        /// The distance.
        distance: ColumnDistance,
        /// From where on it matters.
        bands: Bands,
    },
    /// A warning by Evidently's own choice for the column ([`EvidentlyMethod`]). Two things differ: live numbers beyond
    /// the reference's range are clipped to it in the Wasserstein distance, so that one outlier does not alarm; and
    /// distinct live values that the reference lacks are counted once for each gap between its values.
    Evidently,
    /// Nothing: the column is measured, not judged.
    Ignore,
}

/// A test of one column, from the counts that a monitor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnTest {
    /// Of numbers: [`kolmogorov_smirnov`](crate::two_sample::kolmogorov_smirnov).
    KolmogorovSmirnov,
    /// Of numbers: [`cramer_von_mises`](crate::two_sample::cramer_von_mises).
    CramerVonMises,
    /// Of numbers, two-sided: [`mann_whitney`](crate::two_sample::mann_whitney).
    MannWhitney,
    /// Over categories, or over the buckets of numbers: [`chi_squared`](crate::two_sample::chi_squared).
    ChiSquared,
    /// Likewise: [`g_test`](crate::two_sample::g_test).
    GTest,
}

/// A distance of one column: of shares over its categories or buckets, but for the last. What the reference lacks is one
/// bucket more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnDistance {
    /// [`psi`](crate::distance::psi) of smoothed counts, rare buckets joined; of a few values, of the two that differ most.
    Psi,
    /// [`jensen_shannon_distance_base2`](crate::distance::jensen_shannon_distance_base2).
    JensenShannonDistanceBase2,
    /// [`jensen_shannon_distance_nats`](crate::distance::jensen_shannon_distance_nats).
    JensenShannonDistanceNats,
    /// [`hellinger`](crate::distance::hellinger).
    Hellinger,
    /// [`total_variation`](crate::distance::total_variation).
    TotalVariation,
    /// [`l_infinity`](crate::distance::l_infinity).
    LInfinity,
    /// Of numbers: the Wasserstein distance over the reference's standard deviation, live numbers clipped to its range,
    /// and spread evenly where they fall between two of its values: off by at most the share of them in a gap times its
    /// width.
    WassersteinNormed,
}

/// What judged a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// The test or distance.
    pub by: String,
    /// Its statistic or value.
    #[serde(with = "crate::float")]
    pub value: f64,
    /// The level of a test, the lower band of a distance.
    pub limit: f64,
    /// Of a test.
    pub p_value: Option<f64>,
    /// Adjusted over all that the check tested.
    pub p_adjusted: Option<f64>,
}

impl Rule {
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Test { alpha, .. } if !(alpha > 0.0 && alpha <= 1.0) => Err(Error::invalid(format!(
                "the alpha of a test is {alpha}: want a probability above 0 up to 1"
            ))),
            Self::Distance { distance, bands } => bands.check(&format!("{distance:?}")),
            _ => Ok(()),
        }
    }
}

/// One column as the rules see it.
pub(crate) struct Compared<'a> {
    pub(crate) live: &'a LiveColumn,
    pub(crate) reference: &'a ColumnReference,
    pub(crate) grid: &'a Grid,
    pub(crate) buckets: &'a Buckets,
}

impl Compared<'_> {
    /// What a rule computes; nothing for those that need no more than the report has.
    pub(crate) fn decide(&self, rule: Rule) -> Result<Option<Decision>> {
        Ok(Some(match rule {
            Rule::EvidenceAndSize | Rule::Ignore => return Ok(None),
            Rule::Test { test, alpha } => self.test(test, alpha)?,
            Rule::Distance { distance, bands } => {
                let value = self.distance(distance)?;
                Decision::distance(name(distance), value, bands.warning)
            }
            Rule::Evidently => self.evidently()?,
        }))
    }

    fn numbers(&self, what: &str) -> Result<(&GapCounts, &Reference)> {
        match (&self.live.counts, self.grid) {
            (LiveCounts::Numbers(counts), Grid::Numbers { points, .. }) => Ok((counts, points)),
            _ => Err(Error::invalid(format!(
                "{what} needs numbers, column `{}` is a {}: choose chi_squared, g_test or a distance over categories",
                self.reference.name, self.reference.kind
            ))),
        }
    }

    fn test(&self, test: ColumnTest, alpha: f64) -> Result<Decision> {
        let (by, value, p_value) = match test {
            ColumnTest::KolmogorovSmirnov => {
                let (counts, points) = self.numbers("kolmogorov_smirnov")?;
                let (value, p_value) = counts.kolmogorov_smirnov(points)?;
                ("kolmogorov_smirnov", value, p_value)
            }
            ColumnTest::CramerVonMises => {
                let (counts, points) = self.numbers("cramer_von_mises")?;
                let result = counts.cramer_von_mises(points)?;
                ("cramer_von_mises", result.statistic, result.p_value)
            }
            ColumnTest::MannWhitney => {
                let (counts, points) = self.numbers("mann_whitney")?;
                let result = counts.mann_whitney(points, Alternative::TwoSided)?;
                ("mann_whitney", result.statistic, result.p_value)
            }
            ColumnTest::ChiSquared | ColumnTest::GTest => {
                let pooled = self.buckets.pooled();
                let (n, m) = self.buckets.sizes();
                if pooled.live.len() < 2 && self.buckets.coarse()?.1 {
                    return Err(Error::data(format!(
                        "{n} reference values and {m} in the window are too few for buckets: want 10 at least, better \
                         more; or test numbers by kolmogorov_smirnov"
                    )));
                }
                let (by, test) = if test == ColumnTest::GTest {
                    ("g_test", g_test as fn(&[u64], &[u64]) -> _)
                } else {
                    ("chi_squared", chi_squared as _)
                };
                let result: TestResult = test(&pooled.reference, &pooled.live)?;
                (by, result.statistic, pooled.p_value(false, test)?)
            }
        };
        Ok(Decision::test(by, value, p_value, alpha))
    }

    fn distance(&self, distance: ColumnDistance) -> Result<f64> {
        let (pooled, _) = self.buckets.coarse()?;
        let real = |counts: &[u64]| counts.iter().map(|count| *count as f64).collect::<Vec<_>>();
        let over = |distance: fn(&[f64], &[f64]) -> Result<f64>| {
            distance(&real(&self.buckets.reference), &real(&self.buckets.live))
        };
        match distance {
            ColumnDistance::Psi => psi(&smoothed(&pooled.reference), &smoothed(&pooled.live)),
            ColumnDistance::JensenShannonDistanceBase2 => over(jensen_shannon_distance_base2),
            ColumnDistance::JensenShannonDistanceNats => over(jensen_shannon_distance_nats),
            ColumnDistance::Hellinger => over(hellinger),
            ColumnDistance::TotalVariation => over(total_variation),
            ColumnDistance::LInfinity => over(l_infinity),
            ColumnDistance::WassersteinNormed => {
                let (counts, points) = self.numbers("wasserstein_normed")?;
                let (distance, deviation) = wasserstein(counts, points);
                Ok(if distance == 0.0 { 0.0 } else { distance / deviation })
            }
        }
    }

    fn evidently(&self) -> Result<Decision> {
        let (was, is, numeric) = match (&self.live.counts, self.grid, &self.reference.values) {
            (LiveCounts::Numbers(counts), Grid::Numbers { points, .. }, _) => {
                let (was, is) = counts.distinct(points);
                (was, is, true)
            }
            (LiveCounts::Known { counts, unseen }, _, Values::Categories(reference)) => {
                let mut was: Vec<u64> = reference.values().copied().collect();
                let mut is = counts.clone();
                if *unseen > 0 {
                    was.push(0);
                    is.push(*unseen);
                }
                (was, is, false)
            }
            _ => return Ok(Decision::distance("none", 0.0, f64::INFINITY)),
        };
        let rows = was.iter().sum::<u64>();
        let real = |counts: &[u64]| counts.iter().map(|count| *count as f64).collect::<Vec<_>>();
        Ok(match EvidentlyMethod::choose(numeric, rows, was.len()) {
            EvidentlyMethod::KolmogorovSmirnov => self.test(ColumnTest::KolmogorovSmirnov, 0.05)?,
            EvidentlyMethod::ChiSquared => {
                let p_value = chi_squared_p_as_evidently(&was, &is)?;
                Decision::test("chi_squared", p_value, p_value, 0.05)
            }
            EvidentlyMethod::TwoProportionZ => {
                let of = |counts: &[u64]| (counts[0], counts.iter().sum::<u64>());
                let result = two_proportion_z(of(&was), of(&is))?;
                Decision::test("two_proportion_z", result.statistic, result.p_value, 0.05)
            }
            EvidentlyMethod::WassersteinNormed => {
                let (counts, points) = self.numbers("wasserstein_normed")?;
                let (distance, deviation) = wasserstein(counts, points);
                Decision::distance("wasserstein_normed", distance / deviation.max(0.001), 0.1)
            }
            EvidentlyMethod::JensenShannon => {
                let distance = jensen_shannon_distance_nats(&real(&was), &real(&is))?;
                Decision::distance("jensen_shannon_distance_nats", distance, 0.1)
            }
        })
    }
}

impl Decision {
    fn test(by: &str, value: f64, p_value: f64, alpha: f64) -> Self {
        Self { by: by.into(), value, limit: alpha, p_value: Some(p_value), p_adjusted: Some(p_value) }
    }

    fn distance(by: &str, value: f64, limit: f64) -> Self {
        Self { by: by.into(), value, limit, p_value: None, p_adjusted: None }
    }
}

fn name(distance: ColumnDistance) -> &'static str {
    match distance {
        ColumnDistance::Psi => "psi",
        ColumnDistance::JensenShannonDistanceBase2 => "jensen_shannon_distance_base2",
        ColumnDistance::JensenShannonDistanceNats => "jensen_shannon_distance_nats",
        ColumnDistance::Hellinger => "hellinger",
        ColumnDistance::TotalVariation => "total_variation",
        ColumnDistance::LInfinity => "l_infinity",
        ColumnDistance::WassersteinNormed => "wasserstein_normed",
    }
}

/// The Wasserstein distance within the reference's range, and the reference's standard deviation (n).
fn wasserstein(counts: &GapCounts, points: &Reference) -> (f64, f64) {
    let (n, m) = (points.total() as f64, counts.total() as f64);
    let mut distance = 0.0;
    let intervals = points.values().windows(2).zip(points.cumulative());
    for ((pair, cumulative), (from, to)) in intervals.zip(counts.between()) {
        let (was, from, to) = (*cumulative as f64 / n, from as f64 / m, to as f64 / m);
        let mean = if was <= from || was >= to {
            (was - 0.5 * (from + to)).abs()
        } else {
            ((was - from) * (was - from) + (to - was) * (to - was)) / (2.0 * (to - from))
        };
        distance += mean * (pair[1] - pair[0]);
    }
    let mean = points.pairs().map(|(value, count)| value * (count as f64 / n)).sum::<f64>();
    let square = |(value, count): (f64, u64)| (value - mean) * (value - mean) * (count as f64 / n);
    (distance, points.pairs().map(square).sum::<f64>().sqrt())
}
