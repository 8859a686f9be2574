//! Are two samples drawn from the same distribution?

mod kolmogorov_smirnov;
mod proportion;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use kolmogorov_smirnov::{Gaps, p_value as kolmogorov_smirnov_p_value};
pub use kolmogorov_smirnov::{kolmogorov_smirnov, kolmogorov_smirnov_with};
pub(crate) use proportion::compare_rates;
pub use proportion::{fisher_exact, two_proportion_z};

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
    pub statistic: f64,
    /// How likely a statistic at least so extreme is if nothing differs: in 0..=1.
    pub p_value: f64,
    /// How large the difference is, whatever the sample sizes; what it measures is said by each test.
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
