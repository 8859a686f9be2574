//! Are two samples drawn from the same distribution?
//!
//! | test | takes | asks |
//! |---|---|---|
//! | [`kolmogorov_smirnov`] | samples | do the distribution functions differ anywhere |
//! | [`cramer_von_mises`], [`anderson_darling`] | samples | do they differ on the whole, or in the tails |
//! | [`mann_whitney`] | samples | does one tend to be larger |
//! | [`welch_t`], [`student_t`] | samples | do the means differ |
//! | [`epps_singleton`] | samples, discrete ones too | do the characteristic functions differ |
//! | [`energy_test`], [`mmd_test`] | samples | does anything differ, by random relabelling |
//! | [`chi_squared`], [`g_test`] | counts | do the shares of categories differ |
//! | [`fisher_exact`], [`two_proportion_z`] | hits and trials | do two rates differ |

mod counts;
mod kolmogorov_smirnov;
mod means;
mod permutation;
mod proportion;
mod ranks;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::version::versioned;

pub use counts::{chi_squared, g_test};
pub(crate) use kolmogorov_smirnov::{Gaps, p_value as kolmogorov_smirnov_p_value};
pub use kolmogorov_smirnov::{kolmogorov_smirnov, kolmogorov_smirnov_with};
pub use means::{epps_singleton, student_t, welch_t};
pub(crate) use means::{finite, unit};
pub(crate) use permutation::relabelled;
pub use permutation::{energy_test, mmd_test};
pub(crate) use proportion::compare_rates;
pub use proportion::{fisher_exact, two_proportion_z};
pub(crate) use ranks::{Tie, cramer_from_ties, from_ties as mann_whitney_from_ties};
pub use ranks::{TiedValues, anderson_darling, anderson_darling_with, cramer_von_mises, mann_whitney};

/// Which differences count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// Any.
    #[default]
    TwoSided,
    /// The first sample tends to lie below the second; for Kolmogorov-Smirnov, as in SciPy, the first
    /// distribution function lies below the second, so its values tend to be larger.
    Less,
    /// The opposite of `Less`.
    Greater,
}

/// How a p-value is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Exact where that is cheap, else asymptotic: each test says where.
    #[default]
    Auto,
    /// From the exact null distribution.
    Exact,
    /// From the limit of large samples.
    Asymptotic,
}

/// What a test found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[non_exhaustive]
pub struct TestResult {
    /// The name of the test.
    pub test: String,
    /// Its statistic.
    #[serde(with = "crate::float")]
    pub statistic: f64,
    /// How likely a statistic at least so extreme is if nothing differs: in 0..=1.
    #[serde(with = "crate::float")]
    pub p_value: f64,
    /// How large the difference is, whatever the sample sizes; what it measures is said by each test.
    #[serde(with = "crate::float")]
    pub effect: f64,
    /// The sizes of the two samples.
    pub sizes: (u64, u64),
}

versioned!(TestResult, "test result");

impl fmt::Display for TestResult {
    /// A sentence for people: how sure, how large, and the numbers behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { test, statistic, p_value, effect, sizes: (first, second) } = self;
        let size = match self.scale() {
            // J. Cohen's bands (Statistical Power Analysis, 1988) for shares and correlations, and for means.
            Some([small, medium, large]) => match effect.abs() {
                size if size >= large => "large ",
                size if size >= medium => "medium ",
                size if size >= small => "small ",
                _ => "trivial ",
            },
            None => "",
        };
        let strength = match p_value {
            p if *p < 0.001 => format!("very strong evidence of a {size}difference"),
            p if *p < 0.01 => format!("strong evidence of a {size}difference"),
            p if *p < 0.05 => format!("some evidence of a {size}difference"),
            p if p.is_nan() => "no answer".to_owned(),
            _ => "no evidence of a difference".to_owned(),
        };
        write!(
            f,
            "{strength}: {test} = {statistic:.4}, p = {p_value:.3e}, effect {effect:.4}, {first} and {second} values"
        )
    }
}

impl TestResult {
    /// From where on an effect is small, medium and large; `None` if it depends on the data's unit or has no custom.
    fn scale(&self) -> Option<[f64; 3]> {
        match self.test.as_str() {
            "kolmogorov_smirnov" | "mann_whitney" | "chi_squared" | "g_test" | "fisher_exact"
            | "two_proportion_z" => Some([0.1, 0.3, 0.5]),
            "welch_t" | "student_t" => Some([0.2, 0.5, 0.8]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_how_sure_and_how_large() {
        // A million rows each: sure, and of no matter.
        let tiny = two_proportion_z((500_000, 1_000_000), (503_000, 1_000_000)).unwrap();
        assert!(
            tiny.to_string().starts_with("very strong evidence of a trivial difference: two_proportion_z")
        );
        let large = chi_squared(&[90, 10], &[10, 90]).unwrap();
        assert!(large.to_string().starts_with("very strong evidence of a large difference"), "{large}");
        let none = chi_squared(&[9, 1], &[8, 2]).unwrap();
        assert!(none.to_string().starts_with("no evidence of a difference"), "{none}");
    }

    #[test]
    fn results_with_infinite_statistics_survive_storage() {
        let constant = |value: f64| crate::Sample::new([value, value]).unwrap();
        let infinite = welch_t(&constant(1.0), &constant(2.0)).unwrap();
        assert_eq!(infinite.statistic, f64::NEG_INFINITY);
        let json = serde_json::to_string(&infinite).unwrap();
        assert_eq!(serde_json::from_str::<TestResult>(&json).unwrap(), infinite);
        let tiny = welch_t(&constant(1.0), &crate::Sample::new([0.0, 1e-100]).unwrap()).unwrap();
        assert!(tiny.p_value >= 0.0);
    }
}
