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

pub use counts::{chi_squared, g_test};
pub(crate) use kolmogorov_smirnov::{Gaps, p_value as kolmogorov_smirnov_p_value};
pub use kolmogorov_smirnov::{kolmogorov_smirnov, kolmogorov_smirnov_with};
pub use means::{epps_singleton, student_t, welch_t};
pub(crate) use means::{finite, unit};
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

impl fmt::Display for TestResult {
    /// A sentence for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { test, statistic, p_value, effect, sizes: (first, second) } = self;
        let strength = match p_value {
            p if *p < 0.001 => "very strong evidence of a difference",
            p if *p < 0.01 => "strong evidence of a difference",
            p if *p < 0.05 => "some evidence of a difference",
            _ => "no evidence of a difference",
        };
        write!(
            f,
            "{strength}: {test} = {statistic:.4}, p = {p_value:.3e}, effect {effect:.4}, {first} and {second} values"
        )
    }
}
